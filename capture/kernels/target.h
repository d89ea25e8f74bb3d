/* How compiled loops are built: inlined into entry points that use AVX2 where the processor has it. */
#ifndef SFAM_TARGET_H
#define SFAM_TARGET_H

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static __forceinline
#endif

/* One build runs everywhere and uses AVX2 where the processor has it. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define KERNEL __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define KERNEL
#endif

INLINE float clamped(float x, float low, float high) {
    x = x > low ? x : low; /* NaN gives low */
    return x < high ? x : high;
}

#endif
