#include "lucas_kanade.h"

#include <math.h>
#include <stdlib.h>

#define COARSE (HALF / 2)
#define COLD_ITERATIONS 12
#define WARM_ITERATIONS 2
#define PULL 17.0f
#define STEEP 50.0f

/* Gaussians of sigma 0.4 and 1.5, and of the local mean on the half grids of the three levels, from the middle tap on. */
static const float PRE_BLUR[2] = {0.919224213f, 0.0403878933f};
static const float MEAN_FINE[9] = {0.159675942f, 0.147399472f, 0.115948532f, 0.077722625f, 0.0443958679f, 0.0216097888f, 0.00896337113f, 0.00316814549f, 0.000954227085f};
static const float MEAN_MIDDLE[5] = {0.319224234f, 0.23180437f, 0.0887562444f, 0.0179195767f, 0.00190769133f};
static const float MEAN_COARSE[3] = {0.637744264f, 0.177316694f, 0.00381117432f};
static const float WINDOW[5] = {0.266559975f, 0.213444542f, 0.109586082f, 0.0360749697f, 0.00761441917f};
static const float HALF_SAMPLE[3] = {150.0f / 256, -25.0f / 256, 3.0f / 256};

/* Derivative over five pixels along x and y, (2, n, n). */
INLINE void differentiate(const float *image, float *gradient, int n) {
    float padded[CROP + 4];
    const float near = 8.0f / 12, far = 1.0f / 12;
    for (int y = 0; y < n; y++) {
        pad_row(image + y * n, padded, n, 2);
        float *along_x = gradient + y * n, *along_y = along_x + n * n;
        const float *up = image + mirrored(y - 1, n) * n, *down = image + mirrored(y + 1, n) * n;
        const float *above = image + mirrored(y - 2, n) * n, *below = image + mirrored(y + 2, n) * n;
        for (int x = 0; x < n; x++) {
            along_x[x] = near * (padded[x + 3] - padded[x + 1]) - far * (padded[x + 4] - padded[x]);
            along_y[x] = near * (down[x] - up[x]) - far * (below[x] - above[x]);
        }
    }
}

/* Inverse of the windowed structure tensor plus the pull, (2, 2, n / 2, n / 2); the gradient is left as its pixels count. */
INLINE void invert_tensor(float *gradient, float *inverse, float *scratch, int n) {
    const int h = n / 2, size = h * h;
    float *xx = inverse, *xy = inverse + size, *yy = inverse + 3 * size;
    float px[2 * CROP], py[2 * CROP];
    for (int y = 0; y < h; y++) {
        float *gx = gradient + 2 * y * n, *gy = gx + n * n;
        memcpy(px, gx, 2 * n * sizeof(float));
        memcpy(py, gy, 2 * n * sizeof(float));
        for (int x = 0; x < 2 * n; x++) {
            float steep = (px[x] * px[x] + py[x] * py[x]) * (1.0f / (STEEP * STEEP)), counts = 1.0f / (1.0f + steep * steep);
            gx[x] = px[x] * counts;
            gy[x] = py[x] * counts;
        }
        for (int x = 0; x < h; x++) {
            float x0 = px[2 * x], x1 = px[2 * x + 1], x2 = px[n + 2 * x], x3 = px[n + 2 * x + 1];
            float y0 = py[2 * x], y1 = py[2 * x + 1], y2 = py[n + 2 * x], y3 = py[n + 2 * x + 1];
            float s0 = gy[2 * x], s1 = gy[2 * x + 1], s2 = gy[n + 2 * x], s3 = gy[n + 2 * x + 1];
            xx[y * h + x] = 0.25f * (x0 * gx[2 * x] + x1 * gx[2 * x + 1] + x2 * gx[n + 2 * x] + x3 * gx[n + 2 * x + 1]);
            xy[y * h + x] = 0.25f * (x0 * s0 + x1 * s1 + x2 * s2 + x3 * s3);
            yy[y * h + x] = 0.25f * (y0 * s0 + y1 * s1 + y2 * s2 + y3 * s3);
        }
    }
    convolve(xx, xx, scratch, h, 4, WINDOW);
    convolve(xy, xy, scratch, h, 4, WINDOW);
    convolve(yy, yy, scratch, h, 4, WINDOW);
    float *yx = inverse + 2 * size;
    for (int i = 0; i < size; i++) {
        float a = xx[i] + PULL, b = xy[i], c = yy[i] + PULL;
        float scale = 1.0f / (a * c - b * b);
        xx[i] = c * scale;
        xy[i] = yx[i] = -b * scale;
        yy[i] = a * scale;
    }
}

/* What one level needs besides its image, behind it. */
INLINE void finish_level(float *level, float *scratch, int n) {
    float *gradient = level + n * n;
    differentiate(level, gradient, n);
    invert_tensor(gradient, level + 3 * n * n, scratch, n);
}

/* Every second pixel of the image under (1 4 6 4 1) / 16 along both axes. */
INLINE void pyramid_down(const float *in, float *out, int n) {
    const int h = n / 2;
    for (int y = 0; y < h; y++) {
        const float *a = in + mirrored(2 * y - 2, n) * n, *b = in + mirrored(2 * y - 1, n) * n, *c = in + 2 * y * n;
        const float *d = in + mirrored(2 * y + 1, n) * n, *e = in + mirrored(2 * y + 2, n) * n;
        float row[CROP], padded[CROP + 4];
        for (int x = 0; x < n; x++) row[x] = a[x] + e[x] + 4 * (b[x] + d[x]) + 6 * c[x];
        pad_row(row, padded, n, 2);
        for (int x = 0; x < h; x++) {
            const float *p = padded + 2 * x;
            out[y * h + x] = (p[0] + p[4] + 4 * (p[1] + p[3]) + 6 * p[2]) * (1.0f / 256);
        }
    }
}

KERNEL void sfam_prepare(const uint8_t *grey, float *products) {
    float scratch[CROP * CROP];
    float *fine = products, *middle = fine + LEVEL_FLOATS(CROP), *coarse = middle + LEVEL_FLOATS(HALF);
    for (int i = 0; i < CROP * CROP; i++) fine[i] = grey[i];
    convolve(fine, fine, scratch, CROP, 1, PRE_BLUR);
    finish_level(fine, scratch, CROP);
    pyramid_down(fine, middle, CROP);
    finish_level(middle, scratch, HALF);
    pyramid_down(middle, coarse, HALF);
}

/* An n x n image on half pixels, (2 n, 2 n), so that bilinear sampling of it is accurate. */
INLINE void double_exactly(const float *image, float *doubled, int n) {
    float padded[CROP + 6];
    for (int y = 0; y < 2 * n; y++) {
        const float *middle = image + y / 2 * n;
        if (y % 2) {
            const float *taps[6];
            for (int k = 0; k < 6; k++) taps[k] = image + mirrored(y / 2 + k - 2, n) * n;
            float row[CROP];
            for (int x = 0; x < n; x++)
                row[x] = HALF_SAMPLE[0] * (taps[2][x] + taps[3][x]) + HALF_SAMPLE[1] * (taps[1][x] + taps[4][x]) +
                         HALF_SAMPLE[2] * (taps[0][x] + taps[5][x]);
            pad_row(row, padded, n, 3);
        } else {
            pad_row(middle, padded, n, 3);
        }
        float *out = doubled + y * 2 * n;
        for (int x = 0; x < n; x++) {
            const float *p = padded + x + 3;
            out[2 * x] = p[0];
            out[2 * x + 1] = HALF_SAMPLE[0] * (p[0] + p[1]) + HALF_SAMPLE[1] * (p[-1] + p[2]) + HALF_SAMPLE[2] * (p[-2] + p[3]);
        }
    }
}

/* Weights of a place and its right neighbour among 0 .. last, and the left one's index; none for what lies outside. */
INLINE int32_t taps(float place, float last, float *first, float *second) {
    const float inside = clamped(place, -1, last + 0.9999f);
    const int32_t left = (int32_t)(inside + 1) - 1;
    const float share = inside - (float)left;
    const int before = left < 0, behind = left >= (int32_t)last;
    *first = before ? share : behind ? 0.0f : 1.0f - share;
    *second = before ? 0.0f : behind ? 1.0f - share : share;
    return before ? 0 : behind ? (int32_t)last - 1 : left;
}

/* Moving image under the motion minus the reference, for one row; what lies outside keeps the reference's value. */
INLINE void warp_row(const float *doubled, const float *reference, const float *u, const float *v, int y, int n,
                     float *error) {
    const float last = (float)(2 * n - 1);
    float left[CROP], right[CROP], upper[CROP], lower[CROP];
    int32_t place[CROP];
    for (int x = 0; x < n; x++) {
        int32_t column = taps(2 * ((float)x + u[x]), last, left + x, right + x);
        int32_t row = taps(2 * ((float)y + v[x]), last, upper + x, lower + x);
        place[x] = row * 2 * n + column;
    }
    for (int x = 0; x < n; x++) {
        const float *p = doubled + place[x], *q = p + 2 * n;
        error[x] = upper[x] * (left[x] * p[0] + right[x] * p[1]) + lower[x] * (left[x] * q[0] + right[x] * q[1]) -
                   (upper[x] + lower[x]) * (left[x] + right[x]) * reference[x];
    }
}

/* Gaussian mean of an n x n image on its half grid. */
INLINE void local_mean(const float *image, float *mean, float *scratch, int n) {
    halve(image, mean, n);
    if (n == CROP) convolve(mean, mean, scratch, HALF, 8, MEAN_FINE);
    else if (n == HALF) convolve(mean, mean, scratch, HALF / 2, 4, MEAN_MIDDLE);
    else convolve(mean, mean, scratch, COARSE / 2, 2, MEAN_COARSE);
}

/* Moving image under the field minus the reference, without its local mean; returns the mean of the squares. */
INLINE float differ(const float *grid, const float *reference, const float *doubled, float *error, float *scratch, int n) {
    const int h = n / 2;
    float u[CROP], v[CROP], row[CROP], mean[HALF * HALF];
    double total = 0;
    for (int y = 0; y < n; y++) {
        doubled_row(grid, h, y, u);
        doubled_row(grid + h * h, h, y, v);
        warp_row(doubled, reference + y * n, u, v, y, n, error + y * n);
    }
    local_mean(error, mean, scratch, n);
    for (int y = 0; y < n; y++) {
        float squares = 0, *line = error + y * n;
        doubled_row(mean, h, y, row);
        for (int x = 0; x < n; x++) {
            line[x] -= row[x];
            squares += line[x] * line[x];
        }
        total += squares;
    }
    return (float)(total / (n * n));
}

/* One update of a field (2, n / 2, n / 2) in place; returns the mean squared difference before it. */
INLINE float step(float *grid, const float *level, const float *doubled, int n) {
    const int h = n / 2, size = h * h;
    const float *gx = level + n * n, *gy = gx + n * n, *inverse = level + 3 * n * n;
    float pull[2 * HALF * HALF], between[HALF * HALF], error[CROP * CROP];
    const float mean_square = differ(grid, level, doubled, error, between, n);
    for (int j = 0; j < h; j++) {
        const float *x0 = gx + 2 * j * n, *x1 = x0 + n, *y0 = gy + 2 * j * n, *y1 = y0 + n;
        const float *e0 = error + 2 * j * n, *e1 = e0 + n;
        float *along_x = pull + j * h, *along_y = along_x + size;
        for (int i = 0; i < h; i++) {
            float a = e0[2 * i], b = e0[2 * i + 1], c = e1[2 * i], d = e1[2 * i + 1];
            along_x[i] = 0.25f * (x0[2 * i] * a + x0[2 * i + 1] * b + x1[2 * i] * c + x1[2 * i + 1] * d) -
                         PULL * grid[j * h + i];
            along_y[i] = 0.25f * (y0[2 * i] * a + y0[2 * i + 1] * b + y1[2 * i] * c + y1[2 * i + 1] * d) -
                         PULL * grid[size + j * h + i];
        }
    }
    convolve(pull, pull, between, h, 4, WINDOW);
    convolve(pull + size, pull + size, between, h, 4, WINDOW);
    for (int i = 0; i < size; i++) {
        float a = pull[i] + PULL * grid[i], b = pull[size + i] + PULL * grid[size + i];
        grid[i] -= inverse[i] * a + inverse[size + i] * b;
        grid[size + i] -= inverse[size + i] * a + inverse[3 * size + i] * b;
    }
    return mean_square;
}

/* The field on the next finer level, in its px; n is the side of the coarser grid. */
INLINE void finer(const float *grid, float *out, int n) {
    for (int axis = 0; axis < 2; axis++) {
        for (int y = 0; y < 2 * n; y++) {
            float *row = out + axis * 4 * n * n + y * 2 * n;
            doubled_row(grid + axis * n * n, n, y, row);
            for (int x = 0; x < 2 * n; x++) row[x] *= 2;
        }
    }
}

/* The field at full size, and where it stays inside the crop. */
INLINE void spread(const float *grid, float *u, float *v, uint8_t *valid) {
    const float middle = (CROP - 1) / 2.0f;
    for (int y = 0; y < CROP; y++) {
        doubled_row(grid, HALF, y, u + y * CROP);
        doubled_row(grid + HALF * HALF, HALF, y, v + y * CROP);
        const float *gu = grid + y / 2 * HALF, *gv = gu + HALF * HALF;
        for (int x = 0; x < HALF; x++) {
            float across = fabsf(gu[x] + (2 * x + 0.5f - middle)), down = fabsf(gv[x] + (y / 2 * 2 + 0.5f - middle));
            uint8_t inside = (across <= middle) & (down <= middle);
            valid[y * CROP + 2 * x] = valid[y * CROP + 2 * x + 1] = inside;
        }
    }
}

INLINE void solve_coarse(const float *reference, const float *moving, float shift_u, float shift_v, float *doubled,
                         float *grid) {
    float coarse[LEVEL_FLOATS(COARSE)], scratch[COARSE * COARSE], small[2 * COARSE / 2 * COARSE / 2];
    const int offset = LEVEL_FLOATS(CROP) + LEVEL_FLOATS(HALF), size = COARSE / 2 * (COARSE / 2);
    memcpy(coarse, reference + offset, COARSE * COARSE * sizeof(float));
    finish_level(coarse, scratch, COARSE);
    for (int i = 0; i < size; i++) {
        small[i] = shift_u / 4;
        small[size + i] = shift_v / 4;
    }
    double_exactly(moving + offset, doubled, COARSE);
    for (int k = 0; k < COLD_ITERATIONS; k++) step(small, coarse, doubled, COARSE);
    finer(small, grid, COARSE / 2);
}

KERNEL double sfam_solve(const float *reference, const float *moving, int warm, float shift_u, float shift_v, float *grid,
                         float *u, float *v, uint8_t *valid) {
    float middle[2 * COARSE * COARSE];
    /* Not on the stack: a thread's may be no larger than this. */
    float *doubled = malloc(4 * CROP * CROP * sizeof(float));
    if (!doubled) return -1;
    const float *below = reference + LEVEL_FLOATS(CROP);
    if (warm) {
        halve(grid, middle, HALF);
        halve(grid + HALF * HALF, middle + COARSE * COARSE, HALF);
        for (int i = 0; i < 2 * COARSE * COARSE; i++) middle[i] *= 0.5f;
    } else {
        solve_coarse(reference, moving, shift_u, shift_v, doubled, middle);
    }
    double_exactly(moving + LEVEL_FLOATS(CROP), doubled, HALF);
    for (int k = 0; k < (warm ? WARM_ITERATIONS : COLD_ITERATIONS); k++) step(middle, below, doubled, HALF);
    finer(middle, grid, COARSE);
    double_exactly(moving, doubled, CROP);
    float mean_square = 0;
    for (int k = 0; k < (warm ? WARM_ITERATIONS : COLD_ITERATIONS); k++) mean_square = step(grid, reference, doubled, CROP);
    spread(grid, u, v, valid);
    free(doubled);
    return mean_square;
}
