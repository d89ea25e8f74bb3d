"""`quality`: windowed flow regularised by total variation, solved primal-dual, with part of its shrinkage given back.

Combined local-global flow (Bruhn, Weickert & Schnoerr, IJCV 2005: a Gaussian-windowed structure tensor as data term)
under isotropic total variation of both components (Chambolle & Pock, JMIV 2011, algorithm 1). Total variation keeps
quiet skin at rest, which a window alone cannot, but shrinks what moves; the last linearisation therefore adds a
multiple of the residual slope back (Bregman iteration: Osher et al., MMS 2005), which returns most of the amplitude.

Light that changes by a gain scales the picture's texture, which the local mean does not take away: the moving image is
brought to the reference's local contrast before each linearisation (golden pairs under a gain of 1.03: 0.036 px instead
of 0.045; one gain for the whole image does the same there, but costs 4 % with a moving head).

Not reached: w of 0.07 mm on the face and 0.11 mm where it moves from single depth frames (0.106 and 0.140 on the golden
pairs: white noise of 1 mm under the kernel; three frames averaged at both ends give 0.063 and 0.096); w of 0.13 mm with
a moving head (0.154, for the same reason; 0.138 on a hundred drawn pairs). The head's residual reaches its bar on the
golden pairs (0.043 of 0.045 px) and not before a wall (0.055 on drawn pairs; 0.047 six pixels inside the silhouette).
The amplitude of expressions 0.6 times as wide is at the edge of its bar (0.89 of 0.92; half the total variation finds
0.03 more but doubles the noise of quiet skin). Of the bars that must hold, the worst of twelve heads misses two: 0.69
of that amplitude beside glasses (0.85), and 0.105 px where dark skin moves (0.10). That steep gradients count less (see
`flow_products`) brought the worst head's residual from 0.090 to 0.072 px on the face and from 0.161 to 0.119 px where
an expression acts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .flow import FlowField, LucasKanade, cold_grid, field_of, warm_grid
from .flow_products import FlowLevel, FlowProducts, blur, double, gradient_of, halve, local_mean, window
from .scene_flow import CROP_PX, FloatMap

WINDOW_SIGMA_PX = 2.5
VARIATION_GREY2 = 8.0
"""Weight of the total variation against the squared difference, grey levels squared per px of motion."""
GIVEN_BACK = 1.5
COLD_LINEARISATIONS, COLD_ITERATIONS = 3, 40
WARM_LINEARISATIONS, WARM_ITERATIONS = 2, 50
PRIMAL_STEP = 0.02
DUAL_STEP = 1 / (8 * PRIMAL_STEP)
"""The product of both steps with the squared norm of the gradient (8) may not exceed 1."""

CONTRAST_SIGMA_PX = 12.0
CONTRAST_GREY2 = 4.0
"""Added to both contrasts: the noise of skin without texture is no contrast."""

_SIDE = CROP_PX // 2


class PrimalDual:
    """The quality mode; same contract and products as the fast one. Not thread-safe."""

    def __init__(self) -> None:
        self._coarse = LucasKanade()
        self._warp = self._coarse.warps[0]
        self._dual = np.zeros((2, 2, _SIDE, _SIDE), np.float32)
        self._slope = np.zeros((2, 2, _SIDE, _SIDE), np.float32)
        self._lead, self._divergence = (np.zeros((2, _SIDE, _SIDE), np.float32) for _ in range(2))
        self._length = np.empty((_SIDE, _SIDE), np.float32)

    def prepare(self, grey: NDArray[np.uint8]) -> FlowProducts:
        """Compute the products of one crop; see `FlowSolver.prepare`."""
        return self._coarse.prepare(grey)

    def solve(
        self,
        reference: FlowProducts,
        moving: FlowProducts,
        *,
        initial: FlowField | None = None,
        shift_px: tuple[float, float] | None = None,
    ) -> FlowField:
        """Motion from reference to moving: Lucas-Kanade down to the finest level, there primal-dual."""
        if initial is None:
            grid = self._coarse.coarse(reference, moving, cold_grid(shift_px))
            rounds, iterations = COLD_LINEARISATIONS, COLD_ITERATIONS
        else:
            grid, rounds, iterations = warm_grid(initial), WARM_LINEARISATIONS, WARM_ITERATIONS
        finest = reference.levels[0]
        texture = finest.image - local_mean(finest.image)
        tensor, contrast = _tensor(finest), _contrast(texture)
        self._dual[:] = 0
        for left in range(rounds - 1, -1, -1):
            self._warp.difference(grid, finest, moving.levels[0])
            _match_contrast(self._warp.error, texture, contrast)
            slope = np.stack([blur(axis, WINDOW_SIGMA_PX / 2, 4) for axis in self._warp.slopes(finest)])
            if not left:
                slope *= np.float32(1 + GIVEN_BACK)
            grid = self._minimise(grid, tensor, slope, iterations)
        return field_of(grid, self._warp.mean_square())

    def _minimise(
        self, start: FloatMap, tensor: tuple[FloatMap, FloatMap, FloatMap], slope: FloatMap, iterations: int
    ) -> FloatMap:
        """Minimum of the quadratic model around `start` plus total variation."""
        xx, xy, yy = tensor
        weight = np.float32(1 / PRIMAL_STEP)
        scale = np.reciprocal((xx + weight) * (yy + weight) - xy * xy)
        inverse = np.stack([(yy + weight) * scale, (xx + weight) * scale])
        across = -xy * scale
        target = np.stack([xx * start[0] + xy * start[1], xy * start[0] + yy * start[1]]) - slope
        field, swapped = start.copy(), np.empty_like(start)
        lead, change = self._lead, self._divergence
        np.copyto(lead, field)
        for _ in range(iterations):
            self._ascend(lead)
            self._diverge(change)
            # proximal step: (tensor + 1 / step) field = target + (field + step div) / step
            np.negative(field, out=lead)
            change += target
            field *= weight
            change += field
            np.multiply(change[::-1], across, out=swapped)
            np.multiply(change, inverse, out=field)
            field += swapped
            lead += field
            lead += field
        return field

    def _ascend(self, lead: FloatMap) -> None:
        """Dual step along the gradient of the extrapolated field, then back into the ball of the norm."""
        dual, slope, length = self._dual, self._slope, self._length
        np.subtract(lead[:, :, 1:], lead[:, :, :-1], out=slope[0, :, :, :-1])
        np.subtract(lead[:, 1:], lead[:, :-1], out=slope[1, :, :-1])
        slope *= np.float32(DUAL_STEP)
        dual += slope
        flat = dual.reshape(4, _SIDE, _SIDE)
        np.einsum("nij,nij->ij", flat, flat, out=length)
        np.sqrt(length, out=length)
        length *= np.float32(1 / VARIATION_GREY2)
        np.maximum(length, 1, out=length)
        dual /= length
        slope[0, :, :, -1] = 0
        slope[1, :, -1] = 0

    def _diverge(self, out: FloatMap) -> None:
        """Divergence of the dual field, the negative adjoint of the forward difference."""
        along_x, along_y = self._dual
        np.add(along_x, along_y, out=out)
        out[:, :, 1:] -= along_x[:, :, :-1]
        out[:, 1:] -= along_y[:, :-1]


def _tensor(level: FlowLevel) -> tuple[FloatMap, FloatMap, FloatMap]:
    """xx, xy, yy of the structure tensor on every second pixel."""
    x, y = gradient_of(level.image)
    along_x, along_y = level.gradient
    products = x * along_x, x * along_y, y * along_y
    xx, xy, yy = (window(product, WINDOW_SIGMA_PX) for product in products)
    return xx, xy, yy


def _contrast(image: FloatMap) -> FloatMap:
    """Mean square of the image around every second pixel, grey levels squared."""
    return blur(halve(image * image), CONTRAST_SIGMA_PX / 2, 15) + np.float32(CONTRAST_GREY2)


def _match_contrast(error: FloatMap, reference: FloatMap, contrast: FloatMap) -> None:
    """Replace `error` by that of the warped image in the reference's own local contrast; both without local mean."""
    warped = error + reference
    np.multiply(warped, double(np.sqrt(contrast / _contrast(warped))), out=error)
    error -= reference
