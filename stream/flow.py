"""Dense inverse-compositional Lucas-Kanade between two face crops, in OpenCV and numpy.

Baker & Matthews, "Lucas-Kanade 20 years on" (IJCV 2004), inverse compositional update, made dense: every pixel has its
own Gaussian window, the moving image is warped by the whole field, and the gradients and structure tensors of the
reference, computed once per frame, serve every iteration and every window that starts at that frame. The field lives
on every second pixel of each level: the window is wider than that, so nothing is lost and the blurs cost a quarter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from .scene_flow import CROP_PX, FloatMap, Mask

WARM_LEVELS = 2
LEVELS = WARM_LEVELS + 1
COLD_ITERATIONS = 5
WINDOW_SIGMA_PX = 3.0
MEAN_SIGMA_PX = 6.0
PRE_BLUR_SIGMA_PX = 0.4
PULL_GREY2 = 12.0
"""Weight of the pull towards the field under the same window: 3 x the variance of 2 grey levels of noise."""

_MIDDLE = np.float32((CROP_PX - 1) / 2)
_BORDER = cv2.BORDER_REFLECT_101
_ONE = np.ones(1, np.float32)
_DERIVATIVE = np.array([1, -8, 0, 8, -1], np.float32) / 12
_HALF_SAMPLE = np.array([3, -25, 150, 150, -25, 3], np.float32) / 256


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


@dataclass(frozen=True, slots=True, eq=False)
class FlowLevel:
    """One pyramid level of a frame: the image, what it needs as moving image, and what it needs as reference."""

    image: FloatMap
    doubled: FloatMap
    gradient_x: FloatMap
    gradient_y: FloatMap
    inverse: tuple[FloatMap, FloatMap, FloatMap]
    """xx, xy, yy of the inverse structure tensor, on every second pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class FlowProducts:
    """Everything about one crop that is computed once."""

    levels: tuple[FlowLevel, ...]
    """Those of a warm start, finest first."""
    coarse: FloatMap
    """(32, 32): the image of the level that only a cold start needs."""


class FlowSolver(Protocol):
    """A flow method: products once per frame, then any number of solves between frames."""

    def prepare(self, grey: NDArray[np.uint8]) -> FlowProducts:
        """Compute what (128, 128) uint8 grey needs to be either end of a window."""
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
        return LucasKanade()
    raise ValueError(f"flow method '{method}' is unknown; known: iclk")


def _blur(image: FloatMap, sigma: float, radius: int) -> FloatMap:
    size = 2 * radius + 1
    return cast(FloatMap, cv2.GaussianBlur(image, (size, size), sigma, borderType=_BORDER))


def _halve(image: FloatMap) -> FloatMap:
    side = image.shape[0] // 2
    return cast(FloatMap, cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))


def _double(image: FloatMap, out: FloatMap | None = None) -> FloatMap:
    side = image.shape[0] * 2
    return cast(FloatMap, cv2.resize(image, (side, side), dst=out, interpolation=cv2.INTER_LINEAR))


def _window(image: FloatMap) -> FloatMap:
    """Gaussian window of `WINDOW_SIGMA_PX`, sampled on every second pixel."""
    return _blur(_halve(image), WINDOW_SIGMA_PX / 2, 4)


def _doubled(image: FloatMap) -> FloatMap:
    """The image on half pixels, so that bilinear sampling of it is accurate.

    OpenCV's cubic warp (a = -0.75) moves a ramp by 1.4 times the asked small shift, which costs 7 % of the amplitude,
    and takes four times as long; its Lanczos warp takes ten times as long.
    """
    side = image.shape[0]
    out = np.empty((2 * side, 2 * side), np.float32)
    along_x = cv2.sepFilter2D(image, -1, _HALF_SAMPLE, _ONE, anchor=(2, 0), borderType=_BORDER)
    out[::2, ::2] = image
    out[::2, 1::2] = along_x
    out[1::2, ::2] = cv2.sepFilter2D(image, -1, _ONE, _HALF_SAMPLE, anchor=(0, 2), borderType=_BORDER)
    out[1::2, 1::2] = cv2.sepFilter2D(along_x, -1, _ONE, _HALF_SAMPLE, anchor=(0, 2), borderType=_BORDER)
    return out


def _remove_local_mean(image: FloatMap) -> FloatMap:
    """Make the image blind to light: minus its Gaussian mean, taken at half the resolution."""
    mean = _blur(_halve(image), MEAN_SIGMA_PX / 2, 9)
    return cast(FloatMap, cv2.subtract(image, _double(mean)))


def _level(image: FloatMap) -> FlowLevel:
    gradient_x = cast(FloatMap, cv2.sepFilter2D(image, -1, _DERIVATIVE, _ONE, borderType=_BORDER))
    gradient_y = cast(FloatMap, cv2.sepFilter2D(image, -1, _ONE, _DERIVATIVE, borderType=_BORDER))
    xx = _window(gradient_x * gradient_x)
    xy = _window(gradient_x * gradient_y)
    yy = _window(gradient_y * gradient_y)
    xx += PULL_GREY2
    yy += PULL_GREY2
    scale = np.reciprocal(xx * yy - xy * xy)
    inverse = (yy * scale, -xy * scale, xx * scale)
    return FlowLevel(image, _doubled(image), gradient_x, gradient_y, inverse)


class _Workspace:
    """Buffers of one level, so that a solve allocates only what it returns."""

    def __init__(self, side: int) -> None:
        ramp = np.arange(side, dtype=np.float32) * 2
        self.base_x, self.base_y = (np.ascontiguousarray(grid) for grid in np.meshgrid(ramp, ramp))
        full, half = (side, side), (side // 2, side // 2)
        self.map_x, self.map_y, self.error, self.product = (np.empty(full, np.float32) for _ in range(4))
        self.step, self.pull = (np.empty(half, np.float32) for _ in range(2))


class LucasKanade:
    """`iclk`: the fast mode. Not thread-safe: one instance per thread, because it owns its buffers."""

    def __init__(self) -> None:
        self._workspaces = [_Workspace(CROP_PX >> level) for level in range(LEVELS)]

    def prepare(self, grey: NDArray[np.uint8]) -> FlowProducts:
        """Compute the products of one crop.

        Args:
            grey: (128, 128) uint8.

        Raises:
            ValueError: another shape or type.
        """
        if grey.shape != (CROP_PX, CROP_PX) or grey.dtype != np.uint8:
            raise ValueError(f"flow needs a ({CROP_PX}, {CROP_PX}) uint8 crop, got {grey.shape} {grey.dtype}")
        image = _remove_local_mean(_blur(grey.astype(np.float32), PRE_BLUR_SIGMA_PX, 1))
        levels = []
        for _ in range(WARM_LEVELS):
            levels.append(_level(image))
            image = cast(FloatMap, cv2.pyrDown(image, borderType=_BORDER))
        return FlowProducts(tuple(levels), image)

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
            initial: field of the previous window (warm start: two levels, one iteration each).
            shift_px: without `initial`, where a cold start (three levels, five iterations each) begins.
        """
        ends = [products.levels for products in (reference, moving)]
        if initial is None:
            ends = [(*products.levels, _level(products.coarse)) for products in (reference, moving)]
        top = len(ends[0]) - 1
        iterations = COLD_ITERATIONS if initial is None else 1
        grid = self._start(initial, shift_px, top)
        squared = 0.0
        for level in range(top, -1, -1):
            if level < top:
                grid = np.stack([_double(axis) for axis in grid]) * np.float32(2)
            for _ in range(iterations):
                squared = self._step(grid, ends[0][level], ends[1][level], self._workspaces[level])
        u, v = _double(grid[0]), _double(grid[1])
        return FlowField(u, v, _inside(grid), float(np.sqrt(squared)), grid)

    @staticmethod
    def _start(initial: FlowField | None, shift_px: tuple[float, float] | None, top: int) -> FloatMap:
        if initial is None:
            side = CROP_PX >> (top + 1)
            shift = np.asarray(shift_px or (0.0, 0.0), np.float32) / np.float32(1 << top)
            return np.ascontiguousarray(np.broadcast_to(shift[:, None, None], (2, side, side)))
        grid = np.stack([_halve(initial.u), _halve(initial.v)]) if initial.grid is None else initial.grid
        for _ in range(top):
            grid = np.stack([_halve(axis) for axis in grid]) * np.float32(0.5)
        return grid

    @staticmethod
    def _step(grid: FloatMap, reference: FlowLevel, moving: FlowLevel, work: _Workspace) -> float:
        """One update of the field in place; returns the mean squared difference before it."""
        np.multiply(grid[0], 2, out=work.step)
        cv2.add(work.base_x, _double(work.step), dst=work.map_x)
        np.multiply(grid[1], 2, out=work.step)
        cv2.add(work.base_y, _double(work.step), dst=work.map_y)
        # What leaves the moving image keeps the reference's value: no error, so no weight.
        np.copyto(work.error, reference.image)
        cv2.remap(
            moving.doubled,
            work.map_x,
            work.map_y,
            cv2.INTER_LINEAR,
            dst=work.error,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
        np.subtract(work.error, reference.image, out=work.error)
        along_x = _pulled(np.multiply(reference.gradient_x, work.error, out=work.product), grid[0], work)
        along_y = _pulled(np.multiply(reference.gradient_y, work.error, out=work.product), grid[1], work)
        xx, xy, yy = reference.inverse
        grid[0] -= xx * along_x + xy * along_y
        grid[1] -= xy * along_x + yy * along_y
        return float(cv2.norm(work.error, cv2.NORM_L2SQR)) / work.error.size


def _inside(grid: FloatMap) -> Mask:
    """(128, 128) bool: where the field, sampled on every second pixel, leads into the crop."""
    side = grid.shape[1]
    place = np.arange(side, dtype=np.float32) * 2 + 0.5
    distance = np.maximum(np.abs(grid[0] + (place - _MIDDLE)), np.abs(grid[1] + (place - _MIDDLE)[:, None]))
    inside = (distance <= _MIDDLE).view(np.uint8)
    return cast(Mask, cv2.resize(inside, (2 * side, 2 * side), interpolation=cv2.INTER_NEAREST).view(np.bool_))


def _pulled(slope: FloatMap, axis: FloatMap, work: _Workspace) -> FloatMap:
    """Windowed slope of the squared difference plus the pull of the axis towards its own blur, in one blur."""
    half = _halve(slope)
    np.multiply(axis, PULL_GREY2, out=work.pull)
    half -= work.pull
    half = _blur(half, WINDOW_SIGMA_PX / 2, 4)
    half += work.pull
    return half
