#include "depth_change.h"

#include <math.h>

#include "order.h"

#define SIZE (HALF * HALF)
#define BEHIND_MM 100.0f
#define MOST_CHANGE_MM 40.0f
#define LEAST_SHARE 0.3f
#define SUNKEN_MM -1e38f

SELECTION(nth_float, float)

/* A Gaussian of sigma 1, and the twiced one of sigma 2.4, from the middle tap on. */
static const float SHAPE[4] = {0.39905028f, 0.242036229f, 0.0540055826f, 0.00443304818f};
static const float AVERAGE[11] = {0.214508459f,    0.191901849f,    0.135864223f,    0.0725397685f,
                                  0.0241585644f,   -0.00175744425f, -0.0100118463f,  -0.00927054852f,
                                  -0.00601164419f, -0.00319451174f, -0.00147263905f};

/* Depth from which on a pixel is not the face: behind the middle of the crop; beyond all numbers if nothing is there. */
static float background_mm(const float *depth) {
    float known[SIZE / 4];
    int count = 0;
    for (int y = CROP / 4; y < 3 * CROP / 4; y += 2)
        for (int x = CROP / 4; x < 3 * CROP / 4; x += 2)
            if (depth[y * CROP + x] > 0) known[count++] = depth[y * CROP + x];
    return count ? nth_float(known, count, (count - 1) / 2) + BEHIND_MM : INFINITY;
}

/* Sum of a half image, by columns first so that it is vector code. */
INLINE double sum_of(const float *half) {
    float columns[HALF] = {0};
    double sum = 0;
    for (int y = 0; y < HALF; y++)
        for (int x = 0; x < HALF; x++) columns[x] += half[y * HALF + x];
    for (int x = 0; x < HALF; x++) sum += columns[x];
    return sum;
}

KERNEL double sfam_smooth_depth(const float *depth_mm, float *half_mm, float *sunken, float *shape_mm) {
    float face[CROP * CROP], counts[CROP * CROP], total[SIZE], share[SIZE], scratch[SIZE], shape[SIZE];
    const float limit = background_mm(depth_mm);
    int found = 0;
    for (int i = 0; i < CROP * CROP; i++) {
        const float depth = depth_mm[i];
        found += depth > 0;
        counts[i] = (depth > 0) & !(depth > limit) ? 1.0f : 0.0f;
        face[i] = (depth > 0) & !(depth > limit) ? depth : 0.0f;
    }
    halve(face, total, CROP);
    halve(counts, share, CROP);
    const double present = sum_of(share), sum = sum_of(total);
    for (int i = 0; i < SIZE; i++) {
        float mean = total[i] / (share[i] > 0.25f ? share[i] : 0.25f);
        half_mm[i] = share[i] < 0.5f ? 0.0f : mean;
        sunken[i] = share[i] < 0.5f ? SUNKEN_MM : mean;
    }
    const float fill = 1e-3f * (present ? (float)(sum / present) : 0.0f);
    convolve(total, total, scratch, HALF, 3, SHAPE);
    convolve(share, share, scratch, HALF, 3, SHAPE);
    for (int i = 0; i < SIZE; i++) shape[i] = (total[i] + fill) / (share[i] + 1e-3f);
    for (int y = 0; y < CROP; y++) doubled_row(shape, HALF, y, shape_mm + y * CROP);
    return (double)found / (CROP * CROP);
}

/* Depth where the flow leads from one pixel of the half grid; far behind the camera where that is a hole or outside. */
INLINE float sample(const float *sunken, float px, float py) {
    const float last = HALF - 1, x = clamped(px, 0, last), y = clamped(py, 0, last);
    const int32_t left = (int32_t)x, top = (int32_t)y;
    const float across = x - (float)left, down = y - (float)top;
    const int32_t at = top * HALF + left, right = across > 0, below = down > 0 ? HALF : 0;
    const float upper = sunken[at] + across * (sunken[at + right] - sunken[at]);
    const float lower = sunken[at + below] + across * (sunken[at + below + right] - sunken[at + below]);
    return (x == px) & (y == py) ? upper + down * (lower - upper) : SUNKEN_MM;
}

KERNEL void sfam_depth_change(const float *half_mm, const float *sunken, const float *grid, float *w, uint8_t *valid) {
    float change[SIZE], weight[SIZE], scratch[SIZE], row[CROP];
    for (int y = 0; y < HALF; y++) {
        for (int x = 0; x < HALF; x++) {
            const int i = y * HALF + x;
            float moved = sample(sunken, (float)x + 0.5f * grid[i], (float)y + 0.5f * grid[SIZE + i]);
            float difference = moved - half_mm[i];
            int counts = fabsf(difference) < MOST_CHANGE_MM;
            weight[i] = counts ? 1.0f : 0.0f;
            change[i] = counts ? difference : 0.0f;
        }
    }
    convolve(change, change, scratch, HALF, 10, AVERAGE);
    convolve(weight, weight, scratch, HALF, 10, AVERAGE);
    for (int i = 0; i < SIZE; i++) change[i] /= weight[i] > 0.05f ? weight[i] : 0.05f;
    for (int y = 0; y < CROP; y++) {
        doubled_row(weight, HALF, y, row);
        doubled_row(change, HALF, y, w + y * CROP);
        for (int x = 0; x < CROP; x++) {
            valid[y * CROP + x] = row[x] > LEAST_SHARE;
            w[y * CROP + x] = row[x] > LEAST_SHARE ? w[y * CROP + x] : 0.0f;
        }
    }
}
