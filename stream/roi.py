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
    """Boxes on the crop, each as x, y, width, height in crop pixels."""

    upper: CropBox
    """Brows and eyes: the upper half of the network's maps."""
    lower: CropBox
    """Mouth: the lower half."""
    eyes: tuple[CropBox, CropBox]
    """Each eye from corner to corner, lid to lid."""
    upper_lip: CropBox
    jaw: CropBox
    """Below the lower lip, half way to the chin, as wide as the mouth."""


def to_crop(landmarks: Landmarks, crop: Crop) -> NDArray[np.float32]:
    """Color pixels to crop pixels, (N, 2) float32; integer coordinates are pixel centres in both."""
    corner = np.array((crop.x, crop.y), dtype=np.float32)
    return np.asarray((landmarks - corner + 0.5) * np.float32(crop.scale) - 0.5, dtype=np.float32)


class RegionFinder:
    """Regions of one face, held still while its landmarks move less than `HOLD_PX` on the crop."""

    def __init__(self) -> None:
        self._crop: Crop | None = None
        self._anchor: NDArray[np.float32] | None = None
        self._regions: Regions | None = None

    def regions(self, landmarks: Landmarks, crop: Crop) -> Regions:
        """Regions for these landmarks (color pixels) on this crop."""
        if self._regions is None or crop != self._crop or self._moved(landmarks, crop) > HOLD_PX:
            self._crop, self._anchor = crop, landmarks[17:]
            self._regions = find_regions(to_crop(landmarks, crop))
        return self._regions

    def _moved(self, landmarks: Landmarks, crop: Crop) -> float:
        """How far the inner landmarks went on the crop since the boxes were made, on average and along either axis."""
        assert self._anchor is not None
        across, down = np.add.reduce(landmarks[17:] - self._anchor, axis=0).tolist()
        return float(max(abs(across), abs(down))) / len(self._anchor) * crop.scale


def find_regions(points: NDArray[np.float32]) -> Regions:
    """Boxes for (68, 2) landmarks in crop pixels."""
    brows, mouth, lip, chin = points[17:27], points[48:68], points[57], points[8]
    brow_width, mouth_width = float(np.ptp(brows[:, 0])), float(np.ptp(mouth[:, 0]))
    below = np.array(((mouth[:, 0].min(), lip[1]), (mouth[:, 0].max(), (lip[1] + chin[1]) / 2)), dtype=np.float32)
    return Regions(
        upper=_box(np.concatenate((brows, points[36:48])), 0.06 * brow_width, 0.08 * brow_width, MIN_SIDE_PX),
        lower=_box(mouth, 0.25 * mouth_width, 0.15 * mouth_width, MIN_SIDE_PX),
        eyes=(_box(points[36:42]), _box(points[42:48])),
        upper_lip=_box(points[49:54]),
        jaw=_box(below),
    )


def _box(points: NDArray[np.float32], margin_x: float = 0.0, margin_y: float = 0.0, least: int = 2) -> CropBox:
    """Integer box around points with margins, clipped to the crop, `least` pixels wide and high or more."""
    low = np.floor(points.min(axis=0) - (margin_x, margin_y)).astype(int)
    high = np.ceil(points.max(axis=0) + (margin_x, margin_y)).astype(int) + 1
    left, top = (int(value) for value in np.clip(low, 0, CROP_PX - least))
    right, bottom = (int(value) for value in np.minimum(high, CROP_PX))
    return left, top, max(right - left, least), max(bottom - top, least)


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
