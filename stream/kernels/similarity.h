/* Robust similarity between two sets of points; the model and its numbers are in key_frame.py. */
#ifndef SFAM_SIMILARITY_H
#define SFAM_SIMILARITY_H

#include <stdint.h>

#define MOST_PAIRS 256

/* Fit z -> turn z + shift from `source` to `target`, (count, 2) px, where `usable`.
 *
 * found[6]: turn and shift (real, imaginary each), median distance from the fit (px), points within `support_px` of it.
 * Returns how many points were used. */
int sfam_fit_similarity(int count, const float *source, const float *target, const uint8_t *usable, int rounds,
                        double support_px, double *found);

#endif
