/* Change of depth along the flow; the numbers and their reasons are in depth_change.py. */
#ifndef SFAM_DEPTH_CHANGE_H
#define SFAM_DEPTH_CHANGE_H

#include <stdint.h>

#include "square.h"

/* Depth (128, 128) mm, 0 = hole -> half and sunken (64, 64), shape (128, 128). Returns the share of pixels with depth. */
double sfam_smooth_depth(const float *depth_mm, float *half_mm, float *sunken, float *shape_mm);

/* Reference's half, moving's sunken, grid (2, 64, 64) px -> w (128, 128) mm, valid (128, 128). */
void sfam_depth_change(const float *half_mm, const float *sunken, const float *grid, float *w, uint8_t *valid);

#endif
