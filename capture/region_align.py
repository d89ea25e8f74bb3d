"""Depth of the region of a face on the color image's grid: `align_depth` for one box, at a fraction of its cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from .compiled_align import AlignKernel, kernel, layer_cells
from .frame import Calibration, DepthImage, Distortion
from .projection import Float32, color_rays, distort, needs_two_corners

Box = tuple[int, int, int, int]
"""x, y, width, height in color pixels."""
_GRID = 8
_MARGIN = 2


@dataclass(slots=True)
class _Window:
    """Working arrays for one box: the depth pixels that can land in it and everything computed from them."""

    box: Box
    rows: slice
    columns: slice
    maps: list[tuple[Float32, Float32, Float32]]
    raw: DepthImage
    z: Float32
    below: Float32
    pixel: tuple[Float32, Float32]
    corner: list[tuple[NDArray[np.int32], NDArray[np.int32]]]
    cell: NDArray[np.int32]
    target: NDArray[np.intp]
    layers: NDArray[np.uint16]
    spread: NDArray[np.uint16]
    result: NDArray[np.uint16]


class RegionAligner:
    """Aligns one box of each frame by the rule of `align_depth`, at a fraction of its cost.

    Intrinsics, rotation and scale are folded into three maps per corner, so that a corner costs three products, three
    sums and two divisions. A depth pixel that covers n x m color pixels is written once, into a layer for its size; the
    minimum filter of that size then spreads the layer, which is what writing every covered pixel would give.
    Built once per calibration; holds its buffers, so it is not to be shared by threads.
    """

    def __init__(self, calibration: Calibration, depth_scale_m: float, *, near_m: float = 0.15) -> None:
        """Prepare for frames of one calibration and depth unit.

        Args:
            calibration: of the frames.
            depth_scale_m: metres per depth unit.
            near_m: parts nearer to the camera than this may be missing in a box.
        """
        self._calibration = calibration
        self._window: _Window | None = None
        if calibration.depth_aligned:
            return
        two = needs_two_corners(calibration)
        self._shift = np.array(calibration.depth_to_color.translation_m, np.float32)
        self._folded = calibration.color.distortion not in (Distortion.MODIFIED_BROWN_CONRADY, Distortion.RATIONAL)
        scale = np.float32(depth_scale_m)
        self._two = two
        self._corners = self._corner_maps(scale)
        # A pixel's lower right corner is the upper left one of the next row's next pixel.
        ends = (slice(None, -1), slice(1, None)) if two else (slice(None, -1),)
        self._maps = [(below[end, end], u[end, end], v[end, end]) for below, u, v in [self._corners] for end in ends]
        self._add = self._additions()
        self._reach: tuple[Box, tuple[slice, slice]] | None = None
        self._layers = np.empty(0, np.uint16)
        self._lattice = self._project_lattice(near_m / depth_scale_m)
        self._sizes = self._covered_sizes() if two else ((1, 1), (1, 1))

    def align(self, depth: DepthImage, box: Box) -> DepthImage:
        """Depth on a box of color pixels.

        Args:
            depth: (Hd, Wd) uint16 as sensed.
            box: x, y, width, height; what lies outside the color image is 0.

        Returns:
            (height, width) uint16 in the unit of `depth`, 0 = no data.
        """
        color = self._calibration.color
        x, y, width, height = box
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, color.width), min(y + height, color.height)
        out = np.zeros((height, width), np.uint16)
        if right <= left or bottom <= top:
            return out
        if self._calibration.depth_aligned:
            inner = depth[top:bottom, left:right]
        else:
            inner = self._align_inside(depth, (left, top, right - left, bottom - top))
        out[top - y : bottom - y, left - x : right - x] = inner
        return out

    def _align_inside(self, depth: DepthImage, box: Box) -> DepthImage:
        """The same for a box within the color image; the result is a buffer that the next call overwrites."""
        if kernel is not None and self._folded:
            return self._align_compiled(kernel, depth, box)
        if self._window is None or self._window.box != box:
            self._window = self._open_window(box)
        window = self._window
        np.subtract(depth[window.rows, window.columns], 1, out=window.raw)  # 0 wraps to 65535, which never wins
        np.copyto(window.z, depth[window.rows, window.columns])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for corner in range(len(window.maps)):
                self._project(window, corner)
        self._aim(window)
        window.layers.fill(65535)
        np.minimum.at(window.layers.reshape(-1), window.target.reshape(-1), window.raw.reshape(-1))
        self._spread(window)
        np.add(window.result, 1, out=window.result)
        _, _, width, height = box
        pad_x, pad_y = self._sizes[0][1] - 1, self._sizes[1][1] - 1
        return window.result[pad_y : pad_y + height, pad_x : pad_x + width]

    def _align_compiled(self, loop: AlignKernel, depth: DepthImage, box: Box) -> DepthImage:
        """`_align_inside` by the compiled loop."""
        usual_x, usual_y = (least for least, _ in self._sizes)
        if self._reach is None or self._reach[0] != box:
            self._reach = (box, self._reaching(box))
            self._layers = np.empty(layer_cells(box[2], box[3], usual_x), np.uint16)
        rows, columns = self._reach[1]
        out = np.empty((box[3], box[2]), np.uint16)
        height, width = depth.shape
        add_z, add_x, add_y = self._add
        loop.align(
            np.ascontiguousarray(depth),
            width,
            height,
            self._corners,
            float(add_z),
            float(add_x),
            float(add_y),
            self._two,
            rows.start,
            rows.stop,
            columns.start,
            columns.stop,
            *box,
            usual_x,
            usual_y,
            self._layers,
            out,
        )
        return out

    def _project(self, window: _Window, corner: int) -> None:
        """Color pixel under one corner of every depth pixel of the window."""
        u, v = window.pixel
        for out, factor, add in zip((window.below, u, v), window.maps[corner], self._add, strict=True):
            np.multiply(window.z, factor, out=out)
            np.add(out, add, out=out)
        np.divide(u, window.below, out=u)
        np.divide(v, window.below, out=v)
        if not self._folded:
            color = self._calibration.color
            x, y = distort(u, v, color)
            np.add(x * np.float32(color.fx), np.float32(color.ppx + 0.5), out=u)
            np.add(y * np.float32(color.fy), np.float32(color.ppy + 0.5), out=v)
        np.copyto(window.corner[corner][0], u, casting="unsafe")
        np.copyto(window.corner[corner][1], v, casting="unsafe")

    def _aim(self, window: _Window) -> None:
        """Cell of the layers that every depth pixel is written to; cells outside collect at the far edges."""
        x, y, _, _ = window.box
        _, rows, columns = window.layers.shape
        (least_x, most_x), (least_y, most_y) = self._sizes
        x0, y0 = window.corner[0]
        cell = window.cell
        cell.fill(0)
        if len(window.corner) > 1:
            x1, y1 = window.corner[1]
            for first, last, least, most, stride in (
                (y0, y1, least_y, most_y, most_x - least_x + 1),
                (x0, x1, least_x, most_x, 1),
            ):
                if most > least:
                    np.subtract(last, first, out=last)
                    np.subtract(last, least - 1, out=last)
                    np.clip(last, 0, most - least, out=last)
                    np.multiply(last, stride, out=last)
                    np.add(cell, last, out=cell)
        for at, begin, pad, length in ((y0, y, most_y - 1, rows), (x0, x, most_x - 1, columns)):
            np.subtract(at, begin - pad, out=at)
            np.clip(at, -1, length - 1, out=at)  # -1 is the far edge of the row (or layer) before
            np.multiply(cell, length, out=cell)
            np.add(cell, at, out=cell if at is y0 else window.target)

    def _spread(self, window: _Window) -> None:
        """Minimum over the layers, each spread right and down over its size."""
        (least_x, most_x), (least_y, most_y) = self._sizes
        sizes = product(range(least_y, most_y + 1), range(least_x, most_x + 1))
        for at, ((down, right), layer) in enumerate(zip(sizes, window.layers, strict=True)):
            target = window.spread if at else window.result
            if right == down == 1:
                np.copyto(target, layer)
            else:
                cv2.erode(layer, np.ones((down, right), np.uint8), dst=target, anchor=(right - 1, down - 1))
            if at:
                cv2.min(window.result, window.spread, dst=window.result)

    def _corner_maps(self, scale: np.float32) -> Float32:
        """(3, Hd + 1, Wd + 1): what a raw depth is multiplied with for the divisor, u and v, at every pixel corner."""
        color, depth = self._calibration.color, self._calibration.depth
        one_more = replace(depth, width=depth.width + 1, height=depth.height + 1)
        x, y, z = color_rays(replace(self._calibration, depth=one_more), -0.5)
        if self._folded:
            x = x * np.float32(color.fx) + z * np.float32(color.ppx + 0.5)
            y = y * np.float32(color.fy) + z * np.float32(color.ppy + 0.5)
        return np.stack((z * scale, x * scale, y * scale))

    def _additions(self) -> tuple[np.float32, np.float32, np.float32]:
        """What is added to these products: the translation, folded alike."""
        color = self._calibration.color
        x, y, z = self._shift
        if self._folded:
            x = x * np.float32(color.fx) + z * np.float32(color.ppx + 0.5)
            y = y * np.float32(color.fy) + z * np.float32(color.ppy + 0.5)
        return np.float32(z), np.float32(x), np.float32(y)

    def _project_lattice(self, near: float) -> list[list[Float32]]:
        """[corner][u or v]: smallest and largest pixel of every 8th depth pixel between `near` and far away."""
        lattice = []
        for maps in self._maps:
            below, over_u, over_v = (_coarse(one) for one in maps)
            ends = []
            for z in (np.float32(near), np.float32(65535)):
                with np.errstate(divide="ignore", invalid="ignore"):
                    u = (z * over_u + self._add[1]) / (z * below + self._add[0])
                    v = (z * over_v + self._add[2]) / (z * below + self._add[0])
                if not self._folded:
                    color = self._calibration.color
                    u, v = distort(u, v, color)
                    u, v = u * np.float32(color.fx) + color.ppx, v * np.float32(color.fy) + color.ppy
                ends.append((u, v))
            (u_near, v_near), (u_far, v_far) = ends
            lattice.append(
                [
                    np.minimum(u_near, u_far),
                    np.maximum(u_near, u_far),
                    np.minimum(v_near, v_far),
                    np.maximum(v_near, v_far),
                    u_far,
                    v_far,
                ]
            )
        return lattice

    def _covered_sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Fewest and most color pixels that one depth pixel covers, across and down."""
        first, last = self._lattice
        ranges = []
        for far in (4, 5):
            ratio = last[far] - first[far]
            ratio = ratio[np.isfinite(ratio)]
            least, most = float(np.percentile(ratio, 2)), float(np.percentile(ratio, 98))
            ranges.append((max(1, int(np.floor(least + 0.02)) + 1), max(1, int(np.ceil(most - 0.02)) + 1)))
        return ranges[0], ranges[1]

    def _open_window(self, box: Box) -> _Window:
        """Buffers for a new box; a face's box stays for many frames."""
        rows, columns = self._reaching(box)
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        (least_x, most_x), (least_y, most_y) = self._sizes
        padded = (box[3] + most_y, box[2] + most_x)  # room for pixels that begin before the box, and a far edge
        layers = (most_x - least_x + 1) * (most_y - least_y + 1)
        corners = range(len(self._maps))
        return _Window(
            box=box,
            rows=rows,
            columns=columns,
            maps=[
                tuple(np.ascontiguousarray(one[rows, columns]) for one in maps)  # type: ignore[misc]
                for maps in self._maps
            ],
            raw=np.empty(shape, np.uint16),
            z=np.empty(shape, np.float32),
            below=np.empty(shape, np.float32),
            pixel=(np.empty(shape, np.float32), np.empty(shape, np.float32)),
            corner=[(np.empty(shape, np.int32), np.empty(shape, np.int32)) for _ in corners],
            cell=np.empty(shape, np.int32),
            target=np.empty(shape, np.intp),
            layers=np.empty((layers, *padded), np.uint16),
            spread=np.empty(padded, np.uint16),
            result=np.empty(padded, np.uint16),
        )

    def _reaching(self, box: Box) -> tuple[slice, slice]:
        """Rows and columns of depth pixels that can land in the box at any distance from `near_m` on."""
        x, y, width, height = box
        u_least, u_most, v_least, v_most = self._lattice[0][:4]
        widest = max(size for axis in self._sizes for size in axis)
        slack = _MARGIN + max(widest, _GRID * widest - min(width, height))  # a small box may lie between lattice points
        hit = (u_most >= x - slack) & (u_least <= x + width + slack)
        hit &= (v_most >= y - slack) & (v_least <= y + height + slack)
        depth = self._calibration.depth
        return _span(np.flatnonzero(hit.any(axis=1)), depth.height), _span(np.flatnonzero(hit.any(axis=0)), depth.width)


def _coarse(image: Float32) -> Float32:
    """Every 8th pixel, and the last row and column."""
    rows, columns = image.shape
    at_rows = np.unique([*range(0, rows, _GRID), rows - 1])
    at_columns = np.unique([*range(0, columns, _GRID), columns - 1])
    return np.asarray(image[np.ix_(at_rows, at_columns)], np.float32)


def _span(hits: NDArray[np.intp], size: int) -> slice:
    """Pixels between the lattice points that were hit, one lattice step more on each side."""
    if not len(hits):
        return slice(0, 0)
    return slice(max(0, (int(hits[0]) - 1) * _GRID), min(size, (int(hits[-1]) + 1) * _GRID + 1))
