#include "head_motion.h"

#include <math.h>
#include <stdlib.h>

#include "order.h"

#define UNKNOWNS 6
#define ITERATIONS 5
#define WARM_ITERATIONS 2
#define LARGE_TURN_RAD 0.01
#define UNKNOWN_DEPTH_MM 600.0
#define LANES 8
#define ROOM (3 * MOST_POINTS + LANES)

static const double SIGMA[2] = {0.08, 0.3}, SHARPNESS[2] = {4.0, 9.0};
static const double PRIOR[UNKNOWNS] = {1e-2, 1e-2, 1e-2, 1e-6, 1e-6, 1e-6};

SELECTION(nth_double, double)

typedef struct {
    int count;
    Camera camera;
    double pivot[3];
    double a[MOST_POINTS], b[MOST_POINTS], depth[MOST_POINTS];
    double known[MOST_POINTS];
    /* u, v, w of each point by rotation (rad) and translation (mm), and at last what was measured; zeros behind. */
    double model[UNKNOWNS + 1][ROOM];
    double measured[ROOM], misfit[ROOM];
} Points;

static void fill_holes(double *depth, int count) {
    double sum = 0;
    int known = 0;
    for (int i = 0; i < count; i++) {
        if (depth[i] > 0) {
            sum += depth[i];
            known++;
        }
    }
    if (known == count) return;
    const double mean = known ? sum / known : UNKNOWN_DEPTH_MM;
    for (int i = 0; i < count; i++)
        if (!(depth[i] > 0)) depth[i] = mean;
}

/* The linear model of the points' motion about their centre. */
static void set_model(Points *p) {
    const int n = p->count;
    double sum[3] = {0, 0, 0};
    for (int i = 0; i < n; i++) {
        sum[0] += p->a[i] * p->depth[i];
        sum[1] += p->b[i] * p->depth[i];
        sum[2] += p->depth[i];
    }
    for (int k = 0; k < 3; k++) p->pivot[k] = sum[k] / n;
    for (int k = 0; k <= UNKNOWNS; k++) memset(p->model[k] + 3 * n, 0, LANES * sizeof(double));
    for (int i = 0; i < n; i++) {
        const double a = p->a[i], b = p->b[i], depth = p->depth[i];
        const double x = a * depth - p->pivot[0], y = b * depth - p->pivot[1], z = depth - p->pivot[2];
        const double s = p->camera.fx / depth, t = p->camera.fy / depth;
        const double u[UNKNOWNS] = {-a * y * s, (z + a * x) * s, -y * s, s, 0, -a * s};
        const double v[UNKNOWNS] = {(-z - b * y) * t, b * x * t, x * t, 0, t, -b * t};
        const double w[UNKNOWNS] = {y, -x, 0, 0, 0, 1};
        for (int k = 0; k < UNKNOWNS; k++) {
            p->model[k][i] = u[k];
            p->model[k][n + i] = v[k];
            p->model[k][2 * n + i] = w[k];
        }
    }
    memcpy(p->model[UNKNOWNS], p->measured, 3 * (size_t)n * sizeof(double));
}

INLINE double dot(const double *x, const double *y, int n) {
    double lanes[LANES] = {0}, sum = 0;
    for (int i = 0; i < n; i += LANES)
        for (int k = 0; k < LANES; k++) lanes[k] += x[i + k] * y[i + k];
    for (int k = 0; k < LANES; k++) sum += lanes[k];
    return sum;
}

/* Solve a symmetric positive system in place by Cholesky's decomposition; false where it is not positive. */
static int solve_system(double m[UNKNOWNS][UNKNOWNS], double *x) {
    for (int j = 0; j < UNKNOWNS; j++) {
        for (int i = j; i < UNKNOWNS; i++) {
            double sum = m[i][j];
            for (int k = 0; k < j; k++) sum -= m[i][k] * m[j][k];
            if (i == j && !(sum > 0)) return 0;
            m[i][j] = i == j ? sqrt(sum) : sum / m[j][j];
        }
    }
    for (int i = 0; i < UNKNOWNS; i++) {
        for (int k = 0; k < i; k++) x[i] -= m[i][k] * x[k];
        x[i] /= m[i][i];
    }
    for (int i = UNKNOWNS - 1; i >= 0; i--) {
        for (int k = i + 1; k < UNKNOWNS; k++) x[i] -= m[k][i] * x[k];
        x[i] /= m[i][i];
    }
    return 1;
}

/* Weighted least squares: parameters, and the misfit they leave. */
INLINE void solve(Points *p, const double *weights, double *parameters) {
    const int n = 3 * p->count, whole = (n + LANES - 1) / LANES * LANES;
    double weighted[ROOM], system[UNKNOWNS][UNKNOWNS];
    for (int i = n; i < whole; i++) weighted[i] = 0;
    for (int row = 0; row < UNKNOWNS; row++) {
        for (int i = 0; i < n; i++) weighted[i] = p->model[row][i] * weights[i];
        for (int column = 0; column <= row; column++) system[row][column] = dot(weighted, p->model[column], whole);
        system[row][row] += PRIOR[row];
        parameters[row] = dot(weighted, p->model[UNKNOWNS], whole);
    }
    if (!solve_system(system, parameters)) memset(parameters, 0, UNKNOWNS * sizeof(double));
    memcpy(p->misfit, p->model[UNKNOWNS], (size_t)n * sizeof(double));
    for (int k = 0; k < UNKNOWNS; k++)
        for (int i = 0; i < n; i++) p->misfit[i] -= parameters[k] * p->model[k][i];
}

/* Upper median of the squared misfit in the image (0) or in depth (1). */
static double median_square(const Points *p, int in_depth) {
    double squares[MOST_POINTS];
    const double *u = p->misfit, *v = u + p->count, *w = v + p->count;
    for (int i = 0; i < p->count; i++) squares[i] = in_depth ? w[i] * w[i] : u[i] * u[i] + v[i] * v[i];
    return nth_double(squares, p->count, p->count / 2);
}

/* Geman-McClure weights over sigma squared; u and v of a point share theirs. */
INLINE void reweigh(const Points *p, double *weights) {
    const int n = p->count;
    const double *u = p->misfit, *v = u + n, *w = v + n;
    double scale[2];
    for (int k = 0; k < 2; k++) {
        double soft = SHARPNESS[k] * median_square(p, k), least = 1e-6 * SIGMA[k] * SIGMA[k];
        scale[k] = SIGMA[k] / (soft > least ? soft : least);
    }
    for (int i = 0; i < n; i++) {
        double image = 1 / (SIGMA[0] + scale[0] * (u[i] * u[i] + v[i] * v[i]));
        double depth = 1 / (SIGMA[1] + scale[1] * w[i] * w[i]);
        weights[i] = weights[n + i] = image * image;
        weights[2 * n + i] = depth * depth * p->known[i];
    }
}

/* Rotation matrix of a rotation vector. */
static void rotate(const double *vector, double r[3][3]) {
    const double angle = sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]);
    const double s = angle > 1e-12 ? sin(angle) / angle : 1, c = angle > 1e-12 ? (1 - cos(angle)) / (angle * angle) : 0.5;
    const double x = vector[0], y = vector[1], z = vector[2], cosine = cos(angle);
    const double m[3][3] = {{cosine + c * x * x, c * x * y - s * z, c * x * z + s * y},
                            {c * x * y + s * z, cosine + c * y * y, c * y * z - s * x},
                            {c * x * z - s * y, c * y * z + s * x, cosine + c * z * z}};
    memcpy(r, m, sizeof(m));
}

/* What was measured less what the motion exactly gives the points: rotated, shifted, projected. */
static void set_remainder(Points *p, const double *parameters) {
    const int n = p->count;
    double r[3][3], offset[3], *left = p->model[UNKNOWNS];
    rotate(parameters, r);
    for (int k = 0; k < 3; k++)
        offset[k] = p->pivot[k] + parameters[3 + k] - r[k][0] * p->pivot[0] - r[k][1] * p->pivot[1] - r[k][2] * p->pivot[2];
    for (int i = 0; i < n; i++) {
        const double a = p->a[i], b = p->b[i], depth = p->depth[i];
        double x = (r[0][0] * a + r[0][1] * b + r[0][2]) * depth + offset[0];
        double y = (r[1][0] * a + r[1][1] * b + r[1][2]) * depth + offset[1];
        double z = (r[2][0] * a + r[2][1] * b + r[2][2]) * depth + offset[2];
        left[i] = p->measured[i] - (x / z - a) * p->camera.fx;
        left[n + i] = p->measured[n + i] - (y / z - b) * p->camera.fy;
        left[2 * n + i] = p->measured[2 * n + i] - (z - depth);
    }
}

INLINE void begin_weights(const Points *p, int warm, double *weights) {
    const int n = p->count;
    for (int i = 0; i < n; i++) {
        if (!warm) {
            weights[i] = weights[n + i] = 1 / (SIGMA[0] * SIGMA[0]);
            weights[2 * n + i] = 1 / (SIGMA[1] * SIGMA[1]);
        }
        weights[2 * n + i] *= p->known[i];
    }
}

KERNEL int sfam_fit_head(int count, const int32_t *places, Camera camera, const float *u, const float *v, const float *w,
                         const uint8_t *known, const float *depth_mm, int warm, double *weights, double *found) {
    /* Not on the stack: a thread's may be no larger than this. */
    Points *p = malloc(sizeof(Points));
    if (!p) return 0;
    p->count = count;
    p->camera = camera;
    for (int i = 0; i < count; i++) {
        const int place = places[i];
        p->a[i] = (place % CROP - camera.cx) / camera.fx;
        p->b[i] = (place / CROP - camera.cy) / camera.fy;
        p->depth[i] = depth_mm[place];
        p->known[i] = known[place] ? 1 : 0;
        p->measured[i] = u[place];
        p->measured[count + i] = v[place];
        p->measured[2 * count + i] = w[place];
    }
    fill_holes(p->depth, count);
    set_model(p);
    begin_weights(p, warm, weights);
    double parameters[UNKNOWNS], more[UNKNOWNS];
    solve(p, weights, parameters);
    for (int k = 0; k < (warm ? WARM_ITERATIONS : ITERATIONS); k++) {
        reweigh(p, weights);
        solve(p, weights, parameters);
    }
    const double turn = fmax(fmax(fabs(parameters[0]), fabs(parameters[1])), fabs(parameters[2]));
    for (int k = 0; k < (turn > LARGE_TURN_RAD ? 2 : 1); k++) {
        set_remainder(p, parameters);
        solve(p, weights, more);
        for (int j = 0; j < UNKNOWNS; j++) parameters[j] += more[j];
    }
    memcpy(found, parameters, sizeof(parameters));
    memcpy(found + UNKNOWNS, p->pivot, sizeof(p->pivot));
    found[9] = sqrt(median_square(p, 0));
    free(p);
    return 1;
}

/* Depth with its mean where there is none; itself where there is some everywhere. */
INLINE const float *known_depth(const float *depth_mm, float *filled) {
    int known = 0;
    for (int i = 0; i < CROP * CROP; i++) known += depth_mm[i] > 0;
    if (known == CROP * CROP) return depth_mm;
    double sum = 0;
    for (int i = 0; i < CROP * CROP; i++) sum += depth_mm[i] > 0 ? depth_mm[i] : 0;
    const float mean = known ? (float)(sum / known) : (float)UNKNOWN_DEPTH_MM;
    for (int i = 0; i < CROP * CROP; i++) filled[i] = depth_mm[i] > 0 ? depth_mm[i] : mean;
    return filled;
}

KERNEL void sfam_induced(const float *depth_mm, Camera camera, const double *turned, const double *shifted, float *flow) {
    float filled[CROP * CROP], a[CROP];
    const float *depth = known_depth(depth_mm, filled);
    for (int x = 0; x < CROP; x++) a[x] = (float)((x - camera.cx) / camera.fx);
    for (int y = 0; y < CROP; y++) {
        const double b = (y - camera.cy) / camera.fy;
        float even[2][3], linear[2][3], square[2][3];
        for (int set = 0; set < 2; set++) {
            for (int axis = 0; axis < 3; axis++) {
                const double *k = (set ? shifted : turned) + 6 * axis;
                even[set][axis] = (float)(k[0] + b * (k[2] + b * k[5]));
                linear[set][axis] = (float)(k[1] + b * k[4]);
                square[set][axis] = (float)k[3];
            }
        }
        const float *z = depth + y * CROP;
        float *u = flow + y * CROP, *v = u + CROP * CROP, *w = v + CROP * CROP;
        for (int x = 0; x < CROP; x++) {
            float moved[3];
            for (int axis = 0; axis < 3; axis++)
                moved[axis] = (even[0][axis] + a[x] * (linear[0][axis] + a[x] * square[0][axis])) * z[x] +
                              even[1][axis] + a[x] * (linear[1][axis] + a[x] * square[1][axis]);
            const float share = 1.0f / (moved[2] + z[x]);
            u[x] = moved[0] * share;
            v[x] = moved[1] * share;
            w[x] = moved[2];
        }
    }
}
