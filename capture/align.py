"""Depth onto the color image's grid, exactly as the vendor SDK does it; `region_align.py` does a face's box fast.

Frames carry depth as sensed; whoever needs it on color pixels aligns it here, so that results depend neither on an
SDK's version nor on a vendor. A depth pixel is a small square: its corners are projected into the color image, every
color pixel in between takes its raw value (the depth camera's z, not the color camera's), and the nearest one wins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .frame import Calibration, DepthImage
from .projection import corner_pixels, geometry_of, needs_two_corners


def align_depth(depth: DepthImage, calibration: Calibration, depth_scale_m: float) -> DepthImage:
    """Depth on the color image's pixel grid, pixel for pixel what `rs.align` of SDK 2.58.4 and later gives.

    Same order of float32 operations as the SDK's SSE path, with its properties: of the color camera's lens models only
    'modified Brown-Conrady' is applied, of the depth camera's only the inverse one. `Distortion.RATIONAL`, which the
    SDK does not know, is applied on both sides.

    Args:
        depth: (Hd, Wd) uint16 as sensed.
        calibration: of the frame.
        depth_scale_m: metres per unit.

    Returns:
        (H, W) uint16 in the same unit, 0 = no data; `depth` itself when it is already aligned.
    """
    if calibration.depth_aligned:
        return depth
    _check_shape(depth, calibration)
    color = calibration.color
    geometry = geometry_of(calibration, depth_scale_m)
    rows, columns = np.nonzero(depth)
    raw = depth[rows, columns]
    first = corner_pixels(calibration.depth, geometry, rows, columns, raw, -0.5)
    last = (
        corner_pixels(calibration.depth, geometry, rows, columns, raw, 0.5) if needs_two_corners(calibration) else first
    )
    nearest = np.full(color.height * color.width, 65535, np.uint16)  # value - 1, so that 65535 means none
    _fill(nearest, color.width, color.height, first, last, raw - np.uint16(1))
    return (nearest + np.uint16(1)).reshape(color.height, color.width)


def _fill(
    nearest: NDArray[np.uint16],
    width: int,
    height: int,
    first: tuple[NDArray[np.int64], NDArray[np.int64]],
    last: tuple[NDArray[np.int64], NDArray[np.int64]],
    raw: NDArray[np.uint16],
) -> None:
    """Write each value into all pixels from its first to its last corner, keeping the smaller where two meet."""
    x0, y0 = np.maximum(first[0], 0), np.maximum(first[1], 0)
    x1, y1 = np.minimum(last[0], width - 1), np.minimum(last[1], height - 1)
    inside = (x0 <= x1) & (y0 <= y1)
    x0, y0, x1, y1, raw = x0[inside], y0[inside], x1[inside], y1[inside], raw[inside]
    down = 0
    while len(raw):
        x, wide, flat, value = x0, x1, y0 + down, raw
        base = flat * width
        while len(value):
            np.minimum.at(nearest, base + x, value)
            more = x < wide
            x, wide, base, value = x[more] + 1, wide[more], base[more], value[more]
        down += 1
        more = y0 + down <= y1
        x0, y0, x1, y1, raw = x0[more], y0[more], x1[more], y1[more], raw[more]


def _check_shape(depth: DepthImage, calibration: Calibration) -> None:
    """Refuse an image of another size than the calibration's."""
    expected = (calibration.depth.height, calibration.depth.width)
    if depth.shape != expected:
        raise ValueError(f"depth is {depth.shape}, its calibration says {expected}")
