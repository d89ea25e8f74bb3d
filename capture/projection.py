"""From depth pixels to color pixels: rays, lens models and rounding as the vendor SDK's alignment computes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .frame import Calibration, DepthImage, Distortion, Intrinsics

Float32 = NDArray[np.float32]
_SPECIAL = {((640, 240), (320, 180)), ((640, 480), (640, 360))}
_ITERATIONS = 40
_NONE = np.iinfo(np.int32).min
"""What a float that fits no int32 truncates to."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Everything a projection needs, in float32 as the SDK computes."""

    rotation: Float32
    translation: Float32
    color: Intrinsics
    scale: np.float32


def needs_two_corners(calibration: Calibration) -> bool:
    """True where one depth pixel covers more than one color pixel; else its upper left corner stands for it."""
    depth, color = calibration.depth, calibration.color
    if ((depth.width, depth.height), (color.width, color.height)) in _SPECIAL:
        return True
    return any(ours < theirs for ours, theirs in zip(_pixels_per_degree(depth), _pixels_per_degree(color), strict=True))


def _pixels_per_degree(camera: Intrinsics) -> tuple[np.float32, np.float32]:
    """Pixels per degree of field of view, horizontally and vertically."""
    one = np.float32
    per_degree = []
    for size, centre, focal in ((camera.width, camera.ppx, camera.fx), (camera.height, camera.ppy, camera.fy)):
        left = one(centre) + one(0.5)
        angle = np.arctan2(left, one(focal)) + np.arctan2(one(size) - left, one(focal))
        per_degree.append(one(size) / (angle * one(57.2957795)))
    return per_degree[0], per_degree[1]


def geometry_of(calibration: Calibration, depth_scale_m: float) -> Geometry:
    """The calibration in float32."""
    transform = calibration.depth_to_color
    return Geometry(
        np.array(transform.rotation, np.float32).reshape(3, 3),
        np.array(transform.translation_m, np.float32),
        calibration.color,
        np.float32(depth_scale_m),
    )


def corner_pixels(
    camera: Intrinsics,
    geometry: Geometry,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    raw: DepthImage,
    offset: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Color pixel (x, y) under one corner of each depth pixel."""
    rays_x, rays_y = _rays(camera, columns.astype(np.float32), rows.astype(np.float32), np.float32(offset))
    z = raw.astype(np.float32) * geometry.scale
    x, y = z * rays_x, z * rays_y
    turn, shift = geometry.rotation, geometry.translation
    to = [turn[i, 0] * x + (turn[i, 1] * y + (turn[i, 2] * z + shift[i])) for i in range(3)]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        u, v = distort(to[0] / to[2], to[1] / to[2], geometry.color)
        u = u * np.float32(geometry.color.fx) + np.float32(geometry.color.ppx)
        v = v * np.float32(geometry.color.fy) + np.float32(geometry.color.ppy)
    half = np.float32(0.5)
    return _truncate(u + half), _truncate(v + half)


def _rays(camera: Intrinsics, columns: Float32, rows: Float32, offset: np.float32) -> tuple[Float32, Float32]:
    """Direction (x, y) at z = 1 of points of the depth image."""
    x = (columns + offset - np.float32(camera.ppx)) / np.float32(camera.fx)
    y = (rows + offset - np.float32(camera.ppy)) / np.float32(camera.fy)
    if camera.distortion is Distortion.INVERSE_BROWN_CONRADY:
        k1, k2, p1, p2, k3 = (np.float32(one) for one in camera.coeffs[:5])
        two = np.float32(2)
        r2 = x * x + y * y
        f = np.float32(1) + k1 * r2 + k2 * r2 * r2 + k3 * r2 * r2 * r2
        return x * f + two * p1 * x * y + p2 * (r2 + two * x * x), y * f + two * p2 * x * y + p1 * (r2 + two * y * y)
    if camera.distortion is Distortion.RATIONAL:
        return _undistort_rational(camera, x, y)
    return x, y


def color_rays(calibration: Calibration, offset: float) -> tuple[Float32, Float32, Float32]:
    """Rays of every depth pixel, moved by `offset` px both ways, turned into the color camera: x, y, z (Hd, Wd)."""
    camera = calibration.depth
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width].astype(np.float32)
    x, y = _rays(camera, columns, rows, np.float32(offset))
    turn = np.array(calibration.depth_to_color.rotation, np.float32).reshape(3, 3)
    turned = [turn[i, 0] * x + turn[i, 1] * y + turn[i, 2] for i in range(3)]
    return turned[0], turned[1], turned[2]


def _undistort_rational(camera: Intrinsics, x: Float32, y: Float32) -> tuple[Float32, Float32]:
    """Ideal rays of a rational lens, by fixed-point iteration on its forward model."""
    k1, k2, p1, p2, k3, k4, k5, k6 = (*camera.coeffs, 0.0, 0.0, 0.0)[:8]
    bent_x, bent_y = x.astype(np.float64), y.astype(np.float64)
    ideal_x, ideal_y = bent_x, bent_y
    for _ in range(_ITERATIONS):
        r2 = ideal_x * ideal_x + ideal_y * ideal_y
        shrink = (1 + r2 * (k4 + r2 * (k5 + r2 * k6))) / (1 + r2 * (k1 + r2 * (k2 + r2 * k3)))
        sideways = 2 * p1 * ideal_x * ideal_y + p2 * (r2 + 2 * ideal_x * ideal_x)
        down = p1 * (r2 + 2 * ideal_y * ideal_y) + 2 * p2 * ideal_x * ideal_y
        ideal_x, ideal_y = (bent_x - sideways) * shrink, (bent_y - down) * shrink
    return ideal_x.astype(np.float32), ideal_y.astype(np.float32)


def distort(x: Float32, y: Float32, camera: Intrinsics) -> tuple[Float32, Float32]:
    """Lens of the color camera, for the models that count here."""
    if camera.distortion not in (Distortion.MODIFIED_BROWN_CONRADY, Distortion.RATIONAL):
        return x, y
    c = [np.float32(one) for one in (*camera.coeffs, 0.0, 0.0, 0.0)[:8]]
    two = np.float32(2)
    r2 = x * x + y * y
    if camera.distortion is Distortion.RATIONAL:
        f = (1 + r2 * (c[0] + r2 * (c[1] + r2 * c[4]))) / (1 + r2 * (c[5] + r2 * (c[6] + r2 * c[7])))
        return (
            x * f + two * c[2] * x * y + c[3] * (r2 + two * x * x),
            y * f + two * c[3] * x * y + c[2] * (r2 + two * y * y),
        )
    f = np.float32(1) + (c[0] * r2 + (c[1] * (r2 * r2) + c[4] * (r2 * (r2 * r2))))
    x, y = x * f, y * f
    return (
        x + (two * (c[2] * (x * y)) + c[3] * (r2 + two * (x * x))),
        y + (two * (c[3] * (x * y)) + c[2] * (r2 + two * (y * y))),
    )


def _truncate(value: Float32) -> NDArray[np.int64]:
    """Towards zero, as the processor converts; what fits no int32 becomes the most negative one."""
    fits = np.abs(value) < np.float32(2**31)
    return np.where(fits, np.where(fits, value, 0).astype(np.int64), _NONE)
