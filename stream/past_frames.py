"""What is kept of each past frame for one face, and both ends of a window cut from it with the same crop.

Kept are a grey region and the depth of the same region with a margin around the crop of that time. When the crop
moves, the cuts and flow products of earlier frames are made again for the new crop, on demand.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .depth_change import DepthProducts, smooth_depth
from .face import GreyImage, Landmarks
from .flow import FlowProducts, FlowSolver
from .grey_frame import cut
from .roi import Regions
from .scene_flow import CROP_PX, Crop, FloatMap

MARGIN = 0.15
"""Region kept around the crop, on each side, as a share of the crop's side."""
DEPTH_MARGIN = 0.05
"""The same for depth, whose alignment costs by the pixel; where a moved crop reaches further there is a hole."""
AVERAGE_ABOVE_PX = 160
"""Crop side from which grey is averaged over its pixels; below, linear interpolation is five times as fast and measures
motion alike (flow noise +2 %, amplitude equal on a crop of 152 px)."""
SHRINK_DEPTH_BELOW = 0.6
"""Scale below which depth is averaged over its pixels rather than picked: large faces hold more than one per pixel."""

MOST_FRAMES = 512
"""Frames kept whatever their times say."""

DepthRegion = NDArray[np.uint16]


Box = tuple[int, int, int, int]
"""x, y, width, height in color pixels."""


def region_box(crop: Crop) -> Box:
    """Region of grey kept for a crop."""
    return _around(crop, MARGIN)


def depth_box(crop: Crop) -> Box:
    """Region of depth kept for a crop."""
    return _around(crop, DEPTH_MARGIN)


def _around(crop: Crop, margin: float) -> Box:
    width = round(margin * crop.size)
    return crop.x - width, crop.y - width, crop.size + 2 * width, crop.size + 2 * width


@dataclass(slots=True, eq=False)
class PastFrame:
    """One frame of one face."""

    sequence: int
    t_ns: int
    landmarks_px: Landmarks
    """(68, 2) float32, color pixels."""
    way: complex
    """x + iy, color pixels: only differences between frames mean anything, how far the tracker saw the face go."""
    box: Box
    """Of `grey`."""
    grey: GreyImage
    """(side, side) uint8."""
    depth_box: Box
    depth: DepthRegion
    """(side, side) uint16 of `depth_box` on the color grid, 0 = no data."""
    depth_scale_m: float
    light: tuple[Regions, float] | None = None
    """Mean grey level of the network's regions, and for which regions."""
    cut_crop: Crop | None = None
    products: FlowProducts | None = None
    depth_mm: FloatMap | None = None
    shape: DepthProducts | None = None

    def forget_cut(self) -> None:
        """Free what was cut; it can be cut again."""
        self.cut_crop, self.products, self.depth_mm, self.shape = None, None, None, None

    def holds(self, crop: Crop) -> bool:
        """Whether this region covers a crop."""
        x, y, width, height = self.box
        return crop.x >= x and crop.y >= y and crop.x + crop.size <= x + width and crop.y + crop.size <= y + height


def cut_grey(region: GreyImage, x: int, y: int, size: int) -> GreyImage:
    """(128, 128) uint8 from a square of a region; averaged over pixels when shrinking much, else linear."""
    part = region[y : y + size, x : x + size]
    method = cv2.INTER_AREA if size > AVERAGE_ABOVE_PX else cv2.INTER_LINEAR
    return cv2.resize(part, (CROP_PX, CROP_PX), interpolation=method).astype(np.uint8, copy=False)


def cut_depth(region: DepthRegion, x: int, y: int, size: int, depth_scale_m: float) -> FloatMap:
    """(128, 128) float32 mm, 0 = hole, as outside the region; no value ever mixes with a hole."""
    inside = min(x, y) >= 0 and y + size <= region.shape[0] and x + size <= region.shape[1]
    part = region[y : y + size, x : x + size] if inside else cut(region, x, y, size, size, cv2.BORDER_CONSTANT)
    millimetres = np.float32(1000.0 * depth_scale_m)
    if CROP_PX / size >= SHRINK_DEPTH_BELOW:
        nearest = cv2.resize(part, (CROP_PX, CROP_PX), interpolation=cv2.INTER_NEAREST_EXACT)
        return np.asarray(nearest * millimetres, dtype=np.float32)
    values = cv2.resize(part.astype(np.float32), (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA)
    known = cv2.resize((part > 0).astype(np.float32), (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA)
    mean = np.divide(values, known, out=np.zeros_like(values), where=known > 0.5)
    return np.asarray(mean * millimetres, dtype=np.float32)


def mean_depth(depths: list[FloatMap]) -> FloatMap:
    """Mean over frames where each is known, 0 where none is."""
    if len(depths) == 1:
        return depths[0]
    stack = np.stack(depths)
    known = (stack > 0).sum(axis=0)
    total = stack.sum(axis=0, dtype=np.float32)
    return np.asarray(np.divide(total, known, out=np.zeros_like(total), where=known > 0), dtype=np.float32)


class PastFrames:
    """The last frames of one face, oldest first, over a bounded time and number.

    Args:
        solver: makes the flow products.
        buffer_ns: frames older than this are dropped.
        products_ns: flow products (700 kB a frame) are kept for this long and made again when an older one is asked.
        depth_mean_frames: depth of an end is the mean over its frame and the ones before it, this many in all.
    """

    def __init__(self, solver: FlowSolver, buffer_ns: int, products_ns: int, depth_mean_frames: int) -> None:
        self._solver = solver
        self._buffer_ns = buffer_ns
        self._products_ns = products_ns
        self._mean = depth_mean_frames
        self.frames: deque[PastFrame] = deque()
        self.times_ns: list[int] = []
        """Capture times of `frames`, ascending."""
        self._cuts: deque[PastFrame] = deque()

    def clear(self) -> None:
        """Forget everything."""
        self.frames.clear()
        self.times_ns.clear()
        self._cuts.clear()

    def add(self, frame: PastFrame) -> None:
        """Append the newest frame and drop what is too old."""
        self.frames.append(frame)
        self.times_ns.append(frame.t_ns)
        while frame.t_ns - self.times_ns[0] > self._buffer_ns or len(self.times_ns) > MOST_FRAMES:
            self.frames.popleft()
            del self.times_ns[0]
        for _ in range(len(self._cuts)):
            past = self._cuts.popleft()
            if frame.t_ns - past.t_ns > self._products_ns:
                past.forget_cut()
            else:
                self._cuts.append(past)

    def index_of(self, sequence: int) -> int | None:
        """Index of a frame by its number."""
        return next((index for index, frame in enumerate(self.frames) if frame.sequence == sequence), None)

    def end(self, index: int, crop: Crop) -> tuple[FlowProducts, DepthProducts] | None:
        """Flow and depth products of a frame on this crop; None where its region does not cover the crop."""
        past = self.frames[index]
        products = self._cut(past, crop)
        if products is None:
            return None
        if past.shape is None:
            earlier = (self.frames[i] for i in range(index, max(index - self._mean, -1), -1))
            depths = [frame.depth_mm for frame in earlier if self._cut(frame, crop) is not None]
            past.shape = smooth_depth(mean_depth([depth for depth in depths if depth is not None]))
        return products, past.shape

    def _cut(self, past: PastFrame, crop: Crop) -> FlowProducts | None:
        """Cut one frame with a crop, unless that has been done already."""
        if past.cut_crop == crop and past.products is not None:
            return past.products
        if not past.holds(crop):
            return None
        if past.products is None:
            self._cuts.append(past)
        x, y = crop.x - past.box[0], crop.y - past.box[1]
        past.products = self._solver.prepare(cut_grey(past.grey, x, y, crop.size))
        x, y = crop.x - past.depth_box[0], crop.y - past.depth_box[1]
        past.depth_mm = cut_depth(past.depth, x, y, crop.size, past.depth_scale_m)
        past.cut_crop, past.shape = crop, None
        return past.products


def grey_region(grey: GreyImage, box: Box) -> GreyImage:
    """A copy of a box of the image; beyond the image's edge the edge is repeated."""
    return cut(grey, *box, cv2.BORDER_REPLICATE)


def depth_region(depth: DepthRegion, box: Box) -> DepthRegion:
    """A copy of a box of depth that lies on the color grid; beyond the image's edge there is no depth."""
    return cut(depth, *box, cv2.BORDER_CONSTANT)
