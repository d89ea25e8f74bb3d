/* Rigid head motion; the model, the numbers and their reasons are in head_motion.py. */
#ifndef SFAM_HEAD_MOTION_H
#define SFAM_HEAD_MOTION_H

#include <stdint.h>

#include "square.h"

#define MOST_POINTS 1024

/* The pinhole of the crop, px. */
typedef struct {
    double fx, fy, cx, cy;
} Camera;

/* Fit to u, v (px), w (mm) and depth (mm), all (128, 128), at `count` flat places of the crop.
 *
 * known (128, 128): where w counts. weights (3, count): of the last fit of the same places if `warm`; overwritten.
 * found[10]: rotation vector (rad), translation (mm), pivot (mm), residual (px). Returns 0 where there was no memory. */
int sfam_fit_head(int count, const int32_t *places, Camera camera, const float *u, const float *v, const float *w,
                  const uint8_t *known, const float *depth_mm, int warm, double *weights, double *found);

/* Scene flow (3, 128, 128) of a motion; turned and shifted are (3, 6) weights of 1, a, b, a a, a b, b b. */
void sfam_induced(const float *depth_mm, Camera camera, const double *turned, const double *shifted, float *flow);

#endif
