"""What dense flow computes once per crop, and the warped difference of two crops that every method starts from.

The difference loses its local mean, so that light does not look like motion. (Taking the mean from both images before
they are compared does the same inside the face; at its rim the mean of either holds another part of what is behind,
which cost a quarter of the accuracy with a moving head.) A motion field lives on every second pixel of its level: the
windows are wider than that, so nothing is lost and the blurs cost a quarter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from .scene_flow import CROP_PX, FloatMap

WARM_LEVELS = 2
LEVELS = WARM_LEVELS + 1
WINDOW_SIGMA_PX = 3.0
MEAN_SIGMA_PX = 5.0
MEAN_REACH = 3
"""Where the kernel of the mean ends, in sigmas."""
PRE_BLUR_SIGMA_PX = 0.4
PULL_GREY2 = 17.0
"""Weight of the pull towards the field under the same window: 4 x the variance of 2 grey levels of noise. 12 finds
1.5 % more of the amplitude and an eighth more noise of quiet skin; with a moving head it is a tenth less accurate."""
STEEP_GREY = 50.0
"""Gradient, grey levels per px, at which a pixel counts half; steeper ones soon hardly do. Otherwise the rim of glasses
(90 to 120) speaks for all skin within its window, though it says nothing of motion along itself: with a moving head
0.17 px were left where an expression acts, and more with more iterations. Of a bare face's pixels one or two in a
hundred are as steep. 40 is better still beside glasses, but finds less of narrow expressions of all faces."""

_BORDER = cv2.BORDER_REFLECT_101
DERIVATIVE = np.array([1, -8, 0, 8, -1], np.float32) / 12
HALF_SAMPLE = np.array([3, -25, 150, 150, -25, 3], np.float32) / 256
_DERIVATIVE_X, _HALF_SAMPLE_X = DERIVATIVE[None], HALF_SAMPLE[None]
_DERIVATIVE_Y, _HALF_SAMPLE_Y = DERIVATIVE[:, None], HALF_SAMPLE[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class FlowLevel:
    """One pyramid level of a frame: the image, and what it needs as reference."""

    image: FloatMap
    gradient: FloatMap
    """(2, side, side): along x and y, times what the pixel counts."""
    inverse: FloatMap
    """(2, 2, side / 2, side / 2): inverse structure tensor on every second pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class FlowProducts:
    """Everything about one crop that is computed once."""

    levels: tuple[FlowLevel, ...]
    """Those of a warm start, finest first."""
    coarse: FloatMap
    """(32, 32): the image of the level that only a cold start needs."""
    packed: FloatMap
    """All of it in one piece where compiled loops made it, of which the others are views; else empty."""

    def all_levels(self) -> tuple[FlowLevel, ...]:
        """The levels of a cold start, finest first."""
        return (*self.levels, flow_level(self.coarse))


def check_crop(grey: NDArray[np.uint8]) -> None:
    """Refuse what is not a (128, 128) uint8 crop.

    Raises:
        ValueError: another shape or type.
    """
    if grey.shape != (CROP_PX, CROP_PX) or grey.dtype != np.uint8:
        raise ValueError(f"flow needs a ({CROP_PX}, {CROP_PX}) uint8 crop, got {grey.shape} {grey.dtype}")


def prepare_crop(grey: NDArray[np.uint8]) -> FlowProducts:
    """Compute the products of one crop; see `flow.FlowSolver.prepare`."""
    check_crop(grey)
    image = blur(grey.astype(np.float32), PRE_BLUR_SIGMA_PX, 1)
    levels = []
    for _ in range(WARM_LEVELS):
        levels.append(flow_level(image))
        image = cast(FloatMap, cv2.pyrDown(image, borderType=_BORDER))
    return FlowProducts(tuple(levels), image, np.empty(0, np.float32))


def blur(image: FloatMap, sigma: float, radius: int) -> FloatMap:
    """Gaussian blur."""
    size = 2 * radius + 1
    return cast(FloatMap, cv2.GaussianBlur(image, (size, size), sigma, borderType=_BORDER))


def halve(image: FloatMap) -> FloatMap:
    """Mean over 2 x 2 pixels."""
    side = image.shape[0] // 2
    return cast(FloatMap, cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))


def double(image: FloatMap) -> FloatMap:
    """Twice the side, bilinear."""
    side = image.shape[0] * 2
    return cast(FloatMap, cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR))


def window(image: FloatMap, sigma_px: float = WINDOW_SIGMA_PX) -> FloatMap:
    """Gaussian window, sampled on every second pixel."""
    return blur(halve(image), sigma_px / 2, 4)


def _double_exactly(image: FloatMap, tall: FloatMap, out: FloatMap) -> None:
    """The image on half pixels, so that bilinear sampling of it is accurate; `tall` holds what is half done.

    OpenCV's cubic warp (a = -0.75) moves a ramp by 1.4 times the asked small shift, which costs 7 % of the amplitude,
    and takes four times as long; its Lanczos warp takes ten times as long.
    """
    tall[::2] = image
    tall[1::2] = cv2.filter2D(image, -1, _HALF_SAMPLE_Y, anchor=(0, 2), borderType=_BORDER)
    out[:, ::2] = tall
    out[:, 1::2] = cv2.filter2D(tall, -1, _HALF_SAMPLE_X, anchor=(2, 0), borderType=_BORDER)


def local_mean(image: FloatMap) -> FloatMap:
    """Gaussian mean of an image of any level, taken at half its resolution."""
    sigma = MEAN_SIGMA_PX / 2 * len(image) / CROP_PX
    return double(blur(halve(image), sigma, round(MEAN_REACH * sigma)))


def gradient_of(image: FloatMap) -> FloatMap:
    """(2, side, side): derivatives along x and y."""
    gradient = np.empty((2, *image.shape), np.float32)
    cv2.filter2D(image, -1, _DERIVATIVE_X, dst=gradient[0], borderType=_BORDER)
    cv2.filter2D(image, -1, _DERIVATIVE_Y, dst=gradient[1], borderType=_BORDER)
    return gradient


def flow_level(image: FloatMap) -> FlowLevel:
    """Products of one pyramid level."""
    x, y = gradient = gradient_of(image)
    steep = (x * x + y * y) * np.float32(STEEP_GREY**-2)
    counted = gradient / (1 + steep * steep)
    xx, xy, yy = window(x * counted[0]), window(x * counted[1]), window(y * counted[1])
    xx += PULL_GREY2
    yy += PULL_GREY2
    inverse = np.array(((yy, -xy), (-xy, xx)))
    inverse /= xx * yy - xy * xy
    return FlowLevel(image, counted, inverse)


class Warp:
    """Warped difference of two images of one level; owns the buffers.

    The moving image on half pixels is one of them, made once for all iterations: kept with every frame it would be
    half of all memory that a window touches, and what does not fit the cache costs as much as the arithmetic.
    """

    def __init__(self, side: int) -> None:
        ramp = np.arange(side, dtype=np.float32) * 2
        self._base = np.stack(np.meshgrid(ramp, ramp))
        self._map, self._product = (np.empty((2, side, side), np.float32) for _ in range(2))
        self._twice, self._slopes = (np.empty((2, side // 2, side // 2), np.float32) for _ in range(2))
        self._tall, self._doubled = np.empty((2 * side, side), np.float32), np.empty((2 * side, 2 * side), np.float32)
        self._holds: FlowLevel | None = None
        self.error = np.empty((side, side), np.float32)
        """Moving image under the last motion minus reference, grey levels, local mean removed."""

    def difference(self, grid: FloatMap, reference: FlowLevel, moving: FlowLevel) -> None:
        """Fill `error` for a motion grid (2, side / 2, side / 2) px."""
        if self._holds is not moving:
            _double_exactly(moving.image, self._tall, self._doubled)
            self._holds = moving
        np.multiply(grid, 2, out=self._twice)
        for axis, place in zip(self._twice, self._map, strict=True):
            cv2.resize(axis, place.shape, dst=place, interpolation=cv2.INTER_LINEAR)
        self._map += self._base
        # What leaves the moving image keeps the reference's value: no error, so no weight.
        np.copyto(self.error, reference.image)
        cv2.remap(
            self._doubled,
            self._map[0],
            self._map[1],
            cv2.INTER_LINEAR,
            dst=self.error,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
        np.subtract(self.error, reference.image, out=self.error)
        np.subtract(self.error, local_mean(self.error), out=self.error)

    def slopes(self, reference: FlowLevel) -> FloatMap:
        """Gradient times `error` on every second pixel, not yet windowed; (2, side / 2, side / 2), overwritten."""
        np.multiply(reference.gradient, self.error, out=self._product)
        for product, slope in zip(self._product, self._slopes, strict=True):
            cv2.resize(product, slope.shape, dst=slope, interpolation=cv2.INTER_AREA)
        return self._slopes

    def mean_square(self) -> float:
        """Mean squared `error`."""
        return float(cv2.norm(self.error, cv2.NORM_L2SQR)) / self.error.size
