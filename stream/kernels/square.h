/* Filters on square float images, written so that the compiler turns every inner loop into vector code.
 *
 * Borders mirror without repeating the edge (OpenCV's BORDER_REFLECT_101); halving and doubling are OpenCV's INTER_AREA
 * and INTER_LINEAR. All sizes are constants where these are used, so everything here is unrolled into its caller. */
#ifndef SFAM_SQUARE_H
#define SFAM_SQUARE_H

#include <stddef.h>
#include <string.h>

#include "../../capture/kernels/target.h"

#define CROP 128
#define HALF (CROP / 2)
#define MOST_RADIUS 10

INLINE int mirrored(int i, int n) {
    if (i < 0) i = -i;
    return i >= n ? 2 * n - 2 - i : i;
}

/* A row with its mirrored margins: padded[radius + x] = row[x]. */
INLINE void pad_row(const float *row, float *padded, int n, int radius) {
    memcpy(padded + radius, row, (size_t)n * sizeof(float));
    for (int j = 1; j <= radius; j++) {
        padded[radius - j] = row[j];
        padded[radius + n - 1 + j] = row[n - 1 - j];
    }
}

/* Symmetric separable filter; half_kernel[0] is the middle tap. `between` holds n * n floats; out may be in. */
INLINE void convolve(const float *in, float *out, float *between, int n, int radius, const float *half_kernel) {
    float padded[CROP + 2 * MOST_RADIUS];
    for (int y = 0; y < n; y++) {
        pad_row(in + y * n, padded, n, radius);
        float *row = between + y * n;
        for (int x = 0; x < n; x++) {
            float sum = half_kernel[0] * padded[x + radius];
            for (int j = 1; j <= radius; j++) sum += half_kernel[j] * (padded[x + radius - j] + padded[x + radius + j]);
            row[x] = sum;
        }
    }
    for (int y = 0; y < n; y++) {
        float *row = out + y * n;
        float sum[CROP];
        const float *middle = between + y * n;
        for (int x = 0; x < n; x++) sum[x] = half_kernel[0] * middle[x];
        for (int j = 1; j <= radius; j++) {
            const float *above = between + mirrored(y - j, n) * n, *below = between + mirrored(y + j, n) * n;
            for (int x = 0; x < n; x++) sum[x] += half_kernel[j] * (above[x] + below[x]);
        }
        memcpy(row, sum, (size_t)n * sizeof(float));
    }
}

/* Mean over 2 x 2 pixels of an n x n image. */
INLINE void halve(const float *in, float *out, int n) {
    for (int y = 0; y < n / 2; y++) {
        const float *a = in + 2 * y * n, *b = a + n;
        for (int x = 0; x < n / 2; x++) out[y * (n / 2) + x] = 0.25f * (a[2 * x] + a[2 * x + 1] + b[2 * x] + b[2 * x + 1]);
    }
}

/* Row y of an n x n image doubled bilinearly; `row` holds 2 n floats. */
INLINE void doubled_row(const float *in, int n, int y, float *row) {
    float padded[HALF + 2];
    int near = y / 2, far = y % 2 ? near + 1 : near - 1;
    far = far < 0 ? 0 : far > n - 1 ? n - 1 : far;
    const float *a = in + near * n, *b = in + far * n;
    for (int x = 0; x < n; x++) padded[x + 1] = 0.75f * a[x] + 0.25f * b[x];
    padded[0] = padded[1];
    padded[n + 1] = padded[n];
    for (int x = 0; x < n; x++) {
        row[2 * x] = 0.75f * padded[x + 1] + 0.25f * padded[x];
        row[2 * x + 1] = 0.75f * padded[x + 1] + 0.25f * padded[x + 2];
    }
}

#endif
