/* Dense inverse-compositional Lucas-Kanade on 128 x 128 crops; the numbers and their reasons are in flow_products.py. */
#ifndef SFAM_LUCAS_KANADE_H
#define SFAM_LUCAS_KANADE_H

#include <stdint.h>

#include "square.h"

/* One level of side n holds image (n n), gradient (2 n n) and inverse tensor (4 planes of n n / 4). */
#define LEVEL_FLOATS(n) (4 * (n) * (n))
/* Both levels of a warm start and the image of the one that only a cold start needs. */
#define PRODUCT_FLOATS (LEVEL_FLOATS(CROP) + LEVEL_FLOATS(HALF) + HALF / 2 * (HALF / 2))
#define GRID_FLOATS (2 * HALF * HALF)

/* grey (128, 128) -> products. */
void sfam_prepare(const uint8_t *grey, float *products);

/* Warm solve where `grid` holds the last field, else cold from a translation. grid (2, 64, 64) is the solved field,
 * u and v (128, 128) the same at full size, valid (128, 128). Returns the mean squared difference last
 * seen, -1 where there was no memory. */
double sfam_solve(const float *reference, const float *moving, int warm, float shift_u, float shift_v, float *grid,
                  float *u, float *v, uint8_t *valid);

#endif
