"""Exact pairs for flow tests: the golden archive, and textured planes moved by known amounts."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

SIDE = 128


@lru_cache(maxsize=4)
def texture(seed: int = 3) -> NDArray[np.float64]:
    """(192, 192) spline coefficients of a smooth random image, mean 120, spread 30 grey levels."""
    noise = np.random.default_rng(seed).normal(size=(192, 192))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.2)
    return np.asarray(spline_filter(120 + 30 * smooth / smooth.std(), order=3))


def seen(
    u: NDArray[np.floating] | float = 0.0, v: NDArray[np.floating] | float = 0.0, seed: int = 3
) -> NDArray[np.uint8]:
    """(128, 128) image of the texture after every point moved by the constant or slowly varying (u, v) px."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    image = map_coordinates(texture(seed), [rows - v + 32, columns - u + 32], order=3, prefilter=False)
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def inner(border: int = 16) -> tuple[slice, slice]:
    """The crop without its border."""
    return slice(border, SIDE - border), slice(border, SIDE - border)
