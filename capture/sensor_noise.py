"""What a depth camera adds to the truth: color noise, depth noise, steps and holes; random access by frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

STEREO_PX_MM = 425.0 * 50.0
"""Focal length times baseline of the stereo camera that `quantised` depth comes from."""
BANK_SHAPE = (1100, 1800)
"""Noise is cut from banks of this size at a random place and sign: two frames share none unless the places agree."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Strength of the sensor's noise; `Noise.none()` gives the exact rendering."""

    rgb_sigma: float = 2.0
    depth_sigma_mm: float = 1.0
    depth_model: Literal["white", "correlated", "quantised"] = "white"
    """quantised: correlated, and in the steps of a stereo camera's disparity, which grow with the distance squared."""
    correlation_px: float = 1.5
    """Gaussian sigma of the spatial correlation of `correlated` depth noise, as stereo matching leaves it."""
    disparity_step_px: float = 1 / 16
    """Smallest change of disparity of `quantised` depth: 1 mm at 0.6 m."""
    depth_step_mm: float = 1.0
    holes: float = 0.03
    """Share of depth pixels without data, in blobs."""

    @classmethod
    def none(cls) -> Noise:
        """No noise, no steps in crop-level depth, no holes."""
        return cls(rgb_sigma=0.0, depth_sigma_mm=0.0, depth_step_mm=0.0, holes=0.0)


@lru_cache(maxsize=1)
def _color_bank() -> NDArray[np.float32]:
    return np.random.default_rng(90210).standard_normal(1 << 22, dtype=np.float32)


@lru_cache(maxsize=4)
def _depth_bank(correlation_px: float) -> NDArray[np.float32]:
    white = np.random.default_rng(90211).standard_normal(BANK_SHAPE, dtype=np.float32)
    if correlation_px <= 0.0:
        return white
    soft = np.asarray(cv2.GaussianBlur(white, (0, 0), correlation_px), dtype=np.float32)
    return np.asarray(soft / soft.std(), dtype=np.float32)


@lru_cache(maxsize=4)
def _hole_bank(share: float) -> NDArray[np.bool_]:
    field = np.random.default_rng(90212).standard_normal(BANK_SHAPE, dtype=np.float32)
    field = np.asarray(cv2.GaussianBlur(field, (0, 0), 1.1), dtype=np.float32)
    return np.asarray(field > np.quantile(field, 1.0 - share))


def sense_color(
    light: NDArray[np.float32], noise: Noise, gain: float, offset: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """`light` (H, W, 3) float32 times gain plus offset plus noise, rounded to uint8."""
    if noise.rgb_sigma <= 0.0:
        return np.asarray(cv2.convertScaleAbs(np.maximum(light * gain + offset, 0.0)), dtype=np.uint8)
    bank = _color_bank()
    start = int(rng.integers(bank.size - light.size))
    grain = bank[start : start + light.size].reshape(light.shape)
    sign = 1.0 if rng.integers(2) else -1.0
    return np.asarray(cv2.addWeighted(light, gain, grain, sign * noise.rgb_sigma, offset, dtype=cv2.CV_8U), np.uint8)


def sense_depth(depth_mm: NDArray[np.float32], noise: Noise, rng: np.random.Generator) -> NDArray[np.float32]:
    """Depth in mm as the sensor would give it: (H, W) float32, 0 = hole."""
    sensed = depth_mm
    if noise.depth_sigma_mm > 0.0:
        bank = _depth_bank(0.0 if noise.depth_model == "white" else noise.correlation_px)
        sign = noise.depth_sigma_mm if rng.integers(2) else -noise.depth_sigma_mm
        sensed = np.asarray(cv2.scaleAdd(_window(bank, depth_mm.shape, rng), sign, depth_mm), dtype=np.float32)
    if noise.depth_model == "quantised" and noise.disparity_step_px > 0.0:
        sensed = _in_disparity_steps(sensed, noise.disparity_step_px)
    if noise.depth_step_mm > 0.0:
        sensed = np.rint(sensed * np.float32(1.0 / noise.depth_step_mm)) * np.float32(noise.depth_step_mm)
    if noise.holes > 0.0:
        sensed = np.where(_window(_hole_bank(noise.holes), depth_mm.shape, rng), np.float32(0.0), sensed)
    return sensed


def _in_disparity_steps(depth_mm: NDArray[np.float32], step_px: float) -> NDArray[np.float32]:
    """Depth whose disparity is a whole number of steps; holes stay holes."""
    known = depth_mm > 0.0
    steps = np.rint(STEREO_PX_MM / step_px / np.where(known, depth_mm, np.float32(1.0)))
    return np.asarray(np.where(known, STEREO_PX_MM / step_px / np.maximum(steps, 1.0), 0.0), dtype=np.float32)


def _window(bank: NDArray[np.generic], shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    top = int(rng.integers(bank.shape[0] - shape[0]))
    left = int(rng.integers(bank.shape[1] - shape[1]))
    return bank[top : top + shape[0], left : left + shape[1]]  # type: ignore[return-value]
