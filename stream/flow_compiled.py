"""`iclk` by compiled loops: the arithmetic of `flow.LucasKanade`, one call for products and one for a solve."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .compiled import PRODUCT_FLOATS, Kernels
from .flow import FlowField, warm_grid
from .flow_products import LEVELS, WARM_LEVELS, FlowLevel, FlowProducts, check_crop
from .scene_flow import CROP_PX, FloatMap

_SHAPE = (CROP_PX, CROP_PX)
_GRID = (2, CROP_PX // 2, CROP_PX // 2)


class CompiledLucasKanade:
    """The fast mode where compiled loops are at hand: same contract and, but for rounding, same field."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels

    def prepare(self, grey: NDArray[np.uint8]) -> FlowProducts:
        """Compute the products of one crop; see `FlowSolver.prepare`."""
        check_crop(grey)
        packed = np.empty(PRODUCT_FLOATS, np.float32)
        self._kernels.prepare(np.ascontiguousarray(grey), packed)
        return _unpacked(packed)

    def solve(
        self,
        reference: FlowProducts,
        moving: FlowProducts,
        *,
        initial: FlowField | None = None,
        shift_px: tuple[float, float] | None = None,
    ) -> FlowField:
        """Motion from reference to moving; see `FlowSolver.solve`."""
        grid = np.empty(_GRID, np.float32) if initial is None else warm_grid(initial)
        u, v, valid = np.empty(_SHAPE, np.float32), np.empty(_SHAPE, np.float32), np.empty(_SHAPE, np.bool_)
        shift_u, shift_v = shift_px or (0.0, 0.0)
        mean_square = self._kernels.solve(
            reference.packed, moving.packed, initial is not None, shift_u, shift_v, grid, u, v, valid
        )
        return FlowField(u, v, valid, math.sqrt(mean_square), grid)


def _unpacked(packed: FloatMap) -> FlowProducts:
    """Packed products with views of their parts."""
    levels, begin = [], 0
    for level in range(WARM_LEVELS):
        side = CROP_PX >> level
        planes = packed[begin : begin + 4 * side * side].reshape(4, side, side)
        inverse = planes[3].reshape(2, 2, side // 2, side // 2)
        levels.append(FlowLevel(planes[0], planes[1:3], inverse))
        begin += 4 * side * side
    coarse = CROP_PX >> (LEVELS - 1)
    return FlowProducts(tuple(levels), packed[begin:].reshape(coarse, coarse), packed)
