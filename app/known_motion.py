"""Known motion put into real images: skin at brow and mouth moves by a Gaussian field, in the picture and in depth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.stream.scene_flow import CROP_PX, FloatMap

SIGMA_PX = 8.0
"""Width of the fields: the middle of what expressions show on the crop."""
FINER = 5
"""Odd, so that every pixel's middle is one of the larger image's too."""


def no_motion() -> FloatMap:
    """The field of a face at rest, (128, 128) px."""
    return np.zeros((CROP_PX, CROP_PX), np.float32)


def places(landmarks: NDArray[np.float32]) -> tuple[FloatMap, FloatMap]:
    """Gaussian windows (128, 128) of height 1: at the left brow's middle, and at the left corner of the mouth."""
    rows, columns = np.mgrid[0:CROP_PX, 0:CROP_PX].astype(np.float32)
    brow, mouth = landmarks[17:22].mean(axis=0), landmarks[48]
    width = 2 * SIGMA_PX**2
    near, low = (np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / width).astype(np.float32) for x, y in (brow, mouth))
    return near, low


def motion_lengths(landmarks: NDArray[np.float32], size_px: float) -> FloatMap:
    """Length of the motion at each pixel, px of the crop."""
    brow, mouth = places(landmarks)
    return np.asarray(np.float32(size_px) * np.maximum(brow, mouth), np.float32)


def true_means(landmarks: NDArray[np.float32], size: float) -> list[float]:
    """True mean motion over the half-peak area of each place."""
    return [size * float(place[place > 0.5].mean()) for place in places(landmarks)]


def came_from(push: FloatMap, along: tuple[float, float]) -> tuple[FloatMap, FloatMap]:
    """Columns and rows that are seen at each pixel once each point x has moved to x + push(x) along a direction."""
    height, width = push.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    back = push
    for _ in range(3):  # what is seen at y came from y - push of where it came from
        there = columns - along[0] * back, rows - along[1] * back
        back = np.asarray(cv2.remap(push, *there, cv2.INTER_LINEAR), np.float32)
    return columns - along[0] * back, rows - along[1] * back


def moved_skin(grey: NDArray[np.uint8], push: FloatMap, along: tuple[float, float]) -> NDArray[np.uint8]:
    """A grey image with its points moved: what does not move stays the very same.

    Sampled in an image `FINER` times as large, as OpenCV rounds places to 1/32 px; within 0.1 grey levels of cubic
    splines.
    """
    columns, rows = ((place + 0.5) * FINER - 0.5 for place in came_from(push, along))
    fine = cv2.resize(grey.astype(np.float32), None, fx=FINER, fy=FINER, interpolation=cv2.INTER_LANCZOS4)
    moved = cv2.remap(fine, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(np.rint(moved), 0, 255), np.uint8)


def moved_depth(depth_mm: FloatMap, field: FloatMap, along: tuple[float, float], mm_per_px: float) -> FloatMap:
    """Depth that went along with the skin, and away by its own field; holes stay holes."""
    moved = np.asarray(cv2.remap(depth_mm, *came_from(field, along), cv2.INTER_NEAREST), np.float32)
    return np.asarray(moved + field * np.float32(mm_per_px) * (moved > 0), np.float32)
