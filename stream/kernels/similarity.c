#include "similarity.h"

#include <math.h>
#include <string.h>

#include "order.h"

SELECTION(nth_distance, double)

typedef struct {
    double re, im;
} Complex;

static Complex times(Complex a, Complex b) {
    Complex c = {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
    return c;
}

/* Weighted least squares; coordinates are relative to their means, which keeps the sums exact. */
static void solve(int n, const Complex *s, const Complex *t, const double *weights, Complex *turn, Complex *shift) {
    double total = 0, squares = 0;
    Complex ms = {0, 0}, mt = {0, 0}, inner = {0, 0};
    for (int i = 0; i < n; i++) {
        const double w = weights[i];
        total += w;
        ms.re += w * s[i].re;
        ms.im += w * s[i].im;
        mt.re += w * t[i].re;
        mt.im += w * t[i].im;
        inner.re += w * (s[i].re * t[i].re + s[i].im * t[i].im);
        inner.im += w * (s[i].re * t[i].im - s[i].im * t[i].re);
        squares += w * (s[i].re * s[i].re + s[i].im * s[i].im);
    }
    ms.re /= total;
    ms.im /= total;
    mt.re /= total;
    mt.im /= total;
    const double spread = squares - total * (ms.re * ms.re + ms.im * ms.im) + 1e-9;
    turn->re = (inner.re - total * (ms.re * mt.re + ms.im * mt.im)) / spread;
    turn->im = (inner.im - total * (ms.re * mt.im - ms.im * mt.re)) / spread;
    const Complex moved = times(*turn, ms);
    shift->re = mt.re - moved.re;
    shift->im = mt.im - moved.im;
}

int sfam_fit_similarity(int count, const float *source, const float *target, const uint8_t *usable, int rounds,
                        double support_px, double *found) {
    Complex s[MOST_PAIRS], t[MOST_PAIRS], at = {0, 0}, to = {0, 0}, turn = {1, 0}, shift = {0, 0};
    double weights[MOST_PAIRS], distance[MOST_PAIRS], sorted[MOST_PAIRS], middle = 0;
    int n = 0, supporting = 0;
    for (int i = 0; i < count; i++) {
        if (!usable[i]) continue;
        const Complex from = {source[2 * i], source[2 * i + 1]}, there = {target[2 * i], target[2 * i + 1]};
        s[n] = from;
        t[n] = there;
        weights[n++] = 1;
        at.re += from.re;
        at.im += from.im;
        to.re += there.re;
        to.im += there.im;
    }
    if (!n) return 0;
    for (int i = 0; i < n; i++) {
        s[i].re -= at.re / n;
        s[i].im -= at.im / n;
        t[i].re -= to.re / n;
        t[i].im -= to.im / n;
    }
    for (int k = 0; k < rounds; k++) {
        solve(n, s, t, weights, &turn, &shift);
        for (int i = 0; i < n; i++) {
            const Complex moved = times(turn, s[i]);
            distance[i] = sorted[i] = hypot(moved.re + shift.re - t[i].re, moved.im + shift.im - t[i].im);
        }
        middle = nth_distance(sorted, n, n / 2);
        const double scale = 0.5 / fmax(1.4826 * middle, 0.05);
        for (int i = 0; i < n; i++) {
            const double far = 1 + distance[i] * scale * distance[i] * scale;
            weights[i] = 1 / (far * far);
        }
    }
    for (int i = 0; i < n; i++) supporting += distance[i] < support_px;
    const Complex origin = {at.re / n, at.im / n}, turned = times(turn, origin);
    const double result[6] = {turn.re, turn.im, shift.re + to.re / n - turned.re, shift.im + to.im / n - turned.im, middle,
                              supporting};
    memcpy(found, result, sizeof(result));
    return n;
}
