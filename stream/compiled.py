"""The compiled loops of motion, and what they take; None where they were not built.

The same arithmetic as the NumPy and OpenCV code beside each caller, which remains for machines without a compiler and
as the reference that tests compare with. Why there are compiled loops at all: OpenCV spends 5 to 40 us on each of some
ninety small images a frame, most of it on calling and on memory; one pass in C over what the cache holds costs a fifth.

Arrays are C-contiguous; sizes are checked, a wrong one is a ValueError. Other threads run meanwhile.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from .scene_flow import FloatMap, Mask

PRODUCT_FLOATS = 4 * (128 * 128 + 64 * 64) + 32 * 32
"""Length of a frame's packed products: two levels of image, gradient and inverse tensor, and the coarse image."""


class Kernels(Protocol):
    """What the extension module offers; all float maps are float32."""

    def prepare(self, grey: NDArray[np.uint8], products: FloatMap) -> None:
        """Grey (128, 128) -> packed products."""
        ...

    def solve(
        self,
        reference: FloatMap,
        moving: FloatMap,
        warm: bool,
        shift_u: float,
        shift_v: float,
        grid: FloatMap,
        u: FloatMap,
        v: FloatMap,
        valid: Mask,
    ) -> float:
        """Packed products -> grid (2, 64, 64), which a warm solve begins with, u, v, valid (128, 128); mean square."""
        ...

    def smooth_depth(self, depth_mm: FloatMap, half_mm: FloatMap, sunken: FloatMap, shape_mm: FloatMap) -> float:
        """Depth (128, 128) -> half, sunken (64, 64), shape (128, 128); the share of pixels with depth."""
        ...

    def depth_change(self, half_mm: FloatMap, sunken: FloatMap, grid: FloatMap, w: FloatMap, valid: Mask) -> None:
        """Both ends and the field (2, 64, 64) -> w, valid (128, 128)."""
        ...

    def fit_head(
        self,
        places: NDArray[np.int32],
        fx: float,
        fy: float,
        cx: float,
        cy: float,
        u: FloatMap,
        v: FloatMap,
        w: FloatMap,
        known: Mask,
        depth_mm: FloatMap,
        warm: bool,
        weights: NDArray[np.float64],
        found: NDArray[np.float64],
    ) -> None:
        """Flat places (N,) of (128, 128) maps -> weights (3, N), found (10,): rotation, shift, pivot, residual."""
        ...

    def induced(
        self,
        depth_mm: FloatMap,
        fx: float,
        fy: float,
        cx: float,
        cy: float,
        turned: NDArray[np.float64],
        shifted: NDArray[np.float64],
        flow: FloatMap,
    ) -> None:
        """Depth (128, 128) and two sets of weights (3, 6) -> u, v, w (3, 128, 128)."""
        ...

    def fit_similarity(
        self,
        source: FloatMap,
        target: FloatMap,
        usable: Mask,
        rounds: int,
        support_px: float,
        found: NDArray[np.float64],
    ) -> int:
        """Points (N, 2) px -> found (6,): turn, shift (re, im each), median distance, points near; number used."""
        ...


def _load() -> Kernels | None:
    try:
        return cast(Kernels, import_module("._kernels", __package__))
    except ImportError:
        return None


kernels = _load()
