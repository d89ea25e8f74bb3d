"""The network's regions: brows and eyes above, mouth below, cut from the maps of a scene flow.

Boxes are integers on the crop and stay where they are until the landmarks have moved clearly, so that no jitter of
landmarks moves what the network sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .face import Landmarks
from .flow_window import MAP_PX
from .scene_flow import CROP_PX, Crop, SceneFlow

HALF_PX = MAP_PX // 2
HOLD_PX = 1.5
"""Crop pixels that the landmarks must move before the boxes follow."""
MIN_SIDE_PX = 8

CropBox = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Regions:
    """Both regions on the crop, each as x, y, width, height in crop pixels."""

    upper: CropBox
    lower: CropBox


def to_crop(landmarks: Landmarks, crop: Crop) -> NDArray[np.float32]:
    """Color pixels to crop pixels, (N, 2) float32; integer coordinates are pixel centres in both."""
    corner = np.array((crop.x, crop.y), dtype=np.float32)
    return np.asarray((landmarks - corner + 0.5) * np.float32(crop.scale) - 0.5, dtype=np.float32)


class RegionFinder:
    """Regions of one face, held still while its landmarks move less than `HOLD_PX` on the crop."""

    def __init__(self) -> None:
        self._crop: Crop | None = None
        self._anchor: NDArray[np.float32] | None = None
        self._regions = Regions((0, 0, CROP_PX, HALF_PX), (0, HALF_PX, CROP_PX, HALF_PX))

    def regions(self, landmarks: Landmarks, crop: Crop) -> Regions:
        """Regions for these landmarks (color pixels) on this crop."""
        points = to_crop(landmarks, crop)[17:]
        moved = np.inf if self._anchor is None else float(np.abs((points - self._anchor).mean(axis=0)).max())
        if crop != self._crop or moved > HOLD_PX:
            self._crop, self._anchor = crop, points
            self._regions = Regions(_upper(points), _lower(points))
        return self._regions


def _upper(inner: NDArray[np.float32]) -> CropBox:
    """Brows and eyes (landmarks 17-26 and 36-47), `inner` being landmarks 17-67."""
    width = float(np.ptp(inner[0:10, 0]))
    points = np.concatenate((inner[0:10], inner[19:31]))
    return _box(points, 0.06 * width, 0.08 * width)


def _lower(inner: NDArray[np.float32]) -> CropBox:
    """Mouth (landmarks 48-67) with the skin beside the lip corners."""
    width = float(np.ptp(inner[31:51, 0]))
    return _box(inner[31:51], 0.25 * width, 0.15 * width)


def _box(points: NDArray[np.float32], margin_x: float, margin_y: float) -> CropBox:
    """Integer box around points with margins, clipped to the crop and never empty."""
    low = np.floor(points.min(axis=0) - (margin_x, margin_y)).astype(int)
    high = np.ceil(points.max(axis=0) + (margin_x, margin_y)).astype(int) + 1
    left, top = (int(value) for value in np.clip(low, 0, CROP_PX - MIN_SIDE_PX))
    right, bottom = (int(value) for value in np.minimum(high, CROP_PX))
    return left, top, max(right - left, MIN_SIDE_PX), max(bottom - top, MIN_SIDE_PX)


def cut_maps(flow: SceneFlow, regions: Regions) -> NDArray[np.float32]:
    """The network's input (3, 42, 42) float32: u px, v px, w mm; upper region in rows 0-20, lower in rows 21-41.

    Values keep their units; each region is brought to 21x42 by area averaging.
    """
    maps = np.empty((3, MAP_PX, MAP_PX), dtype=np.float32)
    for channel, field in enumerate((flow.u, flow.v, flow.w)):
        for row, (x, y, width, height) in ((0, regions.upper), (HALF_PX, regions.lower)):
            part = field[y : y + height, x : x + width]
            maps[channel, row : row + HALF_PX] = cv2.resize(part, (MAP_PX, HALF_PX), interpolation=cv2.INTER_AREA)
    return maps
