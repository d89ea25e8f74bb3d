"""Dense inverse-compositional Lucas-Kanade between two face crops, and the contract of every flow method.

Baker & Matthews, "Lucas-Kanade 20 years on" (IJCV 2004), inverse compositional update, made dense: every pixel has its
own Gaussian window, the moving image is warped by the whole field, and the gradients and structure tensors of the
reference, computed once per frame, serve every iteration and every window that starts at that frame.

Not reached: the worst of twelve drawn heads misses five of fifteen bars (benchmarks/results/flow_seeds.md): 0.113 px
where an expression acts (bar 0.10), 0.69 of the amplitude of narrow expressions (0.85), with a moving head 0.088 px on
the face, 0.076 well inside it (0.07) and 0.130 px where an expression acts (0.115). Noise is not why: without any,
0.104 of 0.115 px and 0.163 of 0.172 were left (before steep gradients counted less). Dark skin (head 9) has too little
texture for the pull, glasses (3, 11) have it where it says least. Tried on these heads, before -> after:
- weaker pulls (with gradients limited in another way): 15 gives 0.111 px where it acts and 0.050 px of noise on quiet
  skin, 12 gives 0.106 and 0.055 (bar 0.05);
- 40 cold iterations instead of 12: 0.126 -> 0.137 px, moving head 0.103 -> 0.116;
- gradients without local mean, as the difference is: moving head 0.174 -> 0.187 px;
- half of the last residual slope given back, as the quality mode does: 0.111 -> 0.108 px, noise 0.050 -> 0.053;
- a local mean of sigma 7: 0.111 -> 0.110 px, changed light 0.071 -> 0.078;
- the head's fit weighted by texture: 0.103 -> 0.104 to 0.111 px. With the true head motion 0.170 of 0.174 px are left;
- weights that leave the background out of the windows: 0.0956 -> 0.0946 px on a moving face (of an earlier state).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from .compiled import kernels
from .flow_products import (
    LEVELS,
    PULL_GREY2,
    WINDOW_SIGMA_PX,
    FlowLevel,
    FlowProducts,
    Warp,
    blur,
    double,
    halve,
    prepare_crop,
)
from .scene_flow import CROP_PX, FloatMap, Mask

__all__ = ["FlowField", "FlowProducts", "FlowSolver", "LucasKanade", "open_flow"]

COLD_ITERATIONS = 12
WARM_ITERATIONS = 2

_MIDDLE = np.float32((CROP_PX - 1) / 2)


@dataclass(frozen=True, slots=True, eq=False)
class FlowField:
    """Motion from a reference crop to a later one: `moving(x + u, y + v)` shows the point of `reference(x, y)`."""

    u: FloatMap
    """(128, 128) float32, px of the crop, positive to the right."""
    v: FloatMap
    """(128, 128) float32, px of the crop, positive downwards."""
    valid: Mask
    """(128, 128) bool: the point is inside the moving crop."""
    residual_grey: float
    """Root mean square of the difference that the last iteration saw, grey levels, local mean removed."""
    grid: FloatMap | None = None
    """(2, 64, 64) float32: the field as solved, px of the crop; kept for the next warm start."""


class FlowSolver(Protocol):
    """A flow method: products once per frame, then any number of solves between frames."""

    def prepare(self, grey: NDArray[np.uint8]) -> FlowProducts:
        """Compute what a crop needs to be either end of a window.

        Args:
            grey: (128, 128) uint8.

        Raises:
            ValueError: another shape or type.
        """
        ...

    def solve(
        self,
        reference: FlowProducts,
        moving: FlowProducts,
        *,
        initial: FlowField | None = None,
        shift_px: tuple[float, float] | None = None,
    ) -> FlowField:
        """Motion from reference to moving; warm from `initial`, else cold from a translation (zero by default)."""
        ...


def open_flow(method: str) -> FlowSolver:
    """Solver of the named method.

    Raises:
        ValueError: the method is unknown.
    """
    if method == "iclk":
        if kernels is None:
            return LucasKanade()
        from .flow_compiled import CompiledLucasKanade

        return CompiledLucasKanade(kernels)
    if method == "quality":
        from .flow_quality import PrimalDual

        return PrimalDual()
    raise ValueError(f"flow method '{method}' is unknown; known: iclk, quality")


def cold_grid(shift_px: tuple[float, float] | None) -> FloatMap:
    """Start on the coarsest level: one translation everywhere, (2, 16, 16) px of that level."""
    side = CROP_PX >> LEVELS
    shift = np.asarray(shift_px or (0.0, 0.0), np.float32) / np.float32(1 << (LEVELS - 1))
    return np.ascontiguousarray(np.broadcast_to(shift[:, None, None], (2, side, side)))


def warm_grid(initial: FlowField) -> FloatMap:
    """A copy of a solved field on its grid, (2, 64, 64) px."""
    return np.stack([halve(initial.u), halve(initial.v)]) if initial.grid is None else initial.grid.copy()


def coarser(grid: FloatMap) -> FloatMap:
    """The field on the next coarser level, in its px."""
    return np.stack([halve(axis) for axis in grid]) * np.float32(0.5)


def finer(grid: FloatMap) -> FloatMap:
    """The field on the next finer level, in its px."""
    return np.stack([double(axis) for axis in grid]) * np.float32(2)


def field_of(grid: FloatMap, mean_square: float) -> FlowField:
    """The solved field at full resolution."""
    side = grid.shape[1]
    place = np.arange(side, dtype=np.float32) * 2 + 0.5 - _MIDDLE
    distance = np.maximum(np.abs(grid[0] + place), np.abs(grid[1] + place[:, None]))
    inside = (distance <= _MIDDLE).view(np.uint8)
    valid = cv2.resize(inside, (2 * side, 2 * side), interpolation=cv2.INTER_NEAREST).view(np.bool_)
    return FlowField(double(grid[0]), double(grid[1]), cast(Mask, valid), float(np.sqrt(mean_square)), grid)


class LucasKanade:
    """`iclk`: the fast mode, without compiled loops. Not thread-safe: it owns its buffers."""

    def __init__(self) -> None:
        self.warps = [Warp(CROP_PX >> level) for level in range(LEVELS)]
        self._pulls = [np.empty((2, CROP_PX >> level + 1, CROP_PX >> level + 1), np.float32) for level in range(LEVELS)]

    def prepare(self, grey: NDArray[np.uint8]) -> FlowProducts:
        """Compute the products of one crop; see `FlowSolver.prepare`."""
        return prepare_crop(grey)

    def solve(
        self,
        reference: FlowProducts,
        moving: FlowProducts,
        *,
        initial: FlowField | None = None,
        shift_px: tuple[float, float] | None = None,
    ) -> FlowField:
        """Motion from reference to moving.

        Args:
            reference: products of the earlier crop.
            moving: products of the later crop.
            initial: field of the previous window (warm start: two levels, two iterations each). Passing it through the
                coarser level also smooths it, which keeps noise from piling up over a stream.
            shift_px: without `initial`, where a cold start (three levels, twelve iterations each) begins.
        """
        if initial is None:
            grid = self.coarse(reference, moving, cold_grid(shift_px))
            for _ in range(COLD_ITERATIONS):
                self.step(grid, reference.levels[0], moving.levels[0], 0)
        else:
            grid = coarser(warm_grid(initial))
            for _ in range(WARM_ITERATIONS):
                self.step(grid, reference.levels[1], moving.levels[1], 1)
            grid = finer(grid)
            for _ in range(WARM_ITERATIONS):
                self.step(grid, reference.levels[0], moving.levels[0], 0)
        return field_of(grid, self.warps[0].mean_square())

    def coarse(self, reference: FlowProducts, moving: FlowProducts, grid: FloatMap) -> FloatMap:
        """Bring a start on the coarsest level to the finest, all iterations of the levels above it done."""
        ends = reference.all_levels(), moving.all_levels()
        for level in range(LEVELS - 1, 0, -1):
            for _ in range(COLD_ITERATIONS):
                self.step(grid, ends[0][level], ends[1][level], level)
            grid = finer(grid)
        return grid

    def step(self, grid: FloatMap, reference: FlowLevel, moving: FlowLevel, level: int) -> None:
        """One update of the field in place."""
        warp, pull = self.warps[level], self._pulls[level]
        warp.difference(grid, reference, moving)
        # Slope of the windowed square plus the pull of the field towards its own blur, in one blur.
        np.multiply(grid, PULL_GREY2, out=pull)
        slopes = warp.slopes(reference)
        slopes -= pull
        for axis, slope in zip(pull, slopes, strict=True):
            axis += blur(slope, WINDOW_SIGMA_PX / 2, 4)
        grid -= reference.inverse[:, 0] * pull[0]
        grid -= reference.inverse[:, 1] * pull[1]
