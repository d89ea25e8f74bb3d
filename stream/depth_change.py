"""Change of depth along the flow: depth warped by (u, v) minus depth, averaged over a hole-aware Gaussian.

Normalised convolution (Knutsson & Westin, CVPR 1993) of the warp difference. The two depths are differenced (on
every second pixel) before they are averaged widely: a hole at one end then drops out of both, where averaging first
would tilt the mean down the face's slope.
The kernel is, along x and y, twice a Gaussian minus that Gaussian applied twice ("twicing", Tukey 1977): against a
plain Gaussian of the same noise it loses far less of a narrow peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from .compiled import kernels
from .flow import FlowField
from .scene_flow import CROP_PX, FloatMap, Mask

SIGMA_PX = 4.8
SHAPE_SIGMA_PX = 2.0
MIN_SHARE = 0.3
"""Below this share of depth under the kernel, w is not known."""
MAX_CHANGE_MM = 40.0
"""A larger difference is an edge or a matching error, not skin or head motion within one window."""
BEHIND_MM = 100.0
"""What lies further than this behind the middle of the crop is not the face: it counts as a hole. At the silhouette the
wall would otherwise mix with the cheek; with it the error of w on the face is 0.17 mm instead of 0.11."""
MIDDLE = slice(CROP_PX // 4, 3 * CROP_PX // 4, 2)

SUNKEN_MM = -1e38
"""So deep that interpolation with a hole is either exact (its share is 0) or far out, never rounded in between."""
_BORDER = cv2.BORDER_REFLECT_101


@dataclass(frozen=True, slots=True, eq=False)
class DepthProducts:
    """What is computed once per depth crop."""

    half_mm: FloatMap
    """(64, 64) float32: depth averaged over what is there of 2 x 2 pixels, 0 where most is hole or background."""
    sunken: FloatMap
    """(64, 64) float32: the same with holes far behind the camera, so that a sample that touches one shows it."""
    share: float
    """Share of pixels with depth, 0..1."""
    shape_mm: FloatMap
    """(128, 128) float32: smoothed depth; holes filled, with the mean depth where nothing is near."""


_HALF = (CROP_PX // 2, CROP_PX // 2)


def _halve(image: FloatMap) -> FloatMap:
    return cast(FloatMap, cv2.resize(image, (CROP_PX // 2, CROP_PX // 2), interpolation=cv2.INTER_AREA))


def _blur(half: FloatMap, sigma_px: float) -> FloatMap:
    """Gaussian blur of a map that is sampled on every second pixel."""
    size = 2 * int(np.ceil(1.4 * sigma_px)) + 1
    return cast(FloatMap, cv2.GaussianBlur(half, (size, size), sigma_px / 2, borderType=_BORDER))


def _twiced_gaussian(sigma: float) -> FloatMap:
    """Twice a Gaussian minus the Gaussian of its own convolution, summing to 1."""
    reach = np.arange(-round(4 * sigma), round(4 * sigma) + 1) / sigma
    kernel = 2 * np.exp(-(reach**2) / 2) - np.exp(-(reach**2) / 4) / np.sqrt(2)
    return np.asarray(kernel / kernel.sum(), np.float32)


KERNEL = _twiced_gaussian(SIGMA_PX / 2)


def _average(half: FloatMap) -> FloatMap:
    return cast(FloatMap, cv2.sepFilter2D(half, -1, KERNEL, KERNEL, borderType=_BORDER))


def _double(image: FloatMap) -> FloatMap:
    return cast(FloatMap, cv2.resize(image, (CROP_PX, CROP_PX), interpolation=cv2.INTER_LINEAR))


def smooth_depth(depth_mm: FloatMap) -> DepthProducts:
    """Prepare one depth crop.

    Args:
        depth_mm: (128, 128) float32, mm, 0 = hole.

    Raises:
        ValueError: another shape.
    """
    if depth_mm.shape != (CROP_PX, CROP_PX):
        raise ValueError(f"depth change needs a ({CROP_PX}, {CROP_PX}) crop, got {depth_mm.shape}")
    if kernels is None:
        return _smooth_depth(depth_mm)
    half, sunken = np.empty(_HALF, np.float32), np.empty(_HALF, np.float32)
    shape = np.empty((CROP_PX, CROP_PX), np.float32)
    share = kernels.smooth_depth(np.ascontiguousarray(depth_mm, np.float32), half, sunken, shape)
    return DepthProducts(half, sunken, share, shape)


def _smooth_depth(depth_mm: FloatMap) -> DepthProducts:
    """`smooth_depth` without compiled loops."""
    found = int(np.count_nonzero(depth_mm > 0))
    depth = _face_only(np.ascontiguousarray(depth_mm, np.float32))
    present = depth > 0
    weight = present.astype(np.float32)
    count = int(np.count_nonzero(present))
    mean = float(depth.sum()) / count if count else 0.0
    total, share = _halve(depth), _halve(weight)
    shape = (_blur(total, SHAPE_SIGMA_PX) + np.float32(1e-3 * mean)) / (_blur(share, SHAPE_SIGMA_PX) + np.float32(1e-3))
    hole = share < np.float32(0.5)
    half: FloatMap = np.divide(total, np.maximum(share, np.float32(0.25)), dtype=np.float32)
    sunken = half.copy()
    half[hole], sunken[hole] = 0, SUNKEN_MM
    return DepthProducts(half, sunken, found / depth.size, _double(shape))


def _face_only(depth: FloatMap) -> FloatMap:
    """Depth without what lies far behind the middle of the crop."""
    middle = depth[MIDDLE, MIDDLE]
    known = middle[middle > 0]
    if not len(known):
        return depth
    limit = np.partition(known, (len(known) - 1) // 2)[(len(known) - 1) // 2] + np.float32(BEHIND_MM)
    return cast(FloatMap, cv2.threshold(depth, float(limit), 0.0, cv2.THRESH_TOZERO_INV)[1])


_RAMP = np.arange(CROP_PX // 2, dtype=np.float32)
_COLUMN, _ROW = (np.ascontiguousarray(grid) for grid in np.meshgrid(_RAMP, _RAMP))


def _grid(field: FlowField) -> FloatMap:
    """(2, 64, 64) px."""
    return np.stack((_halve(field.u), _halve(field.v))) if field.grid is None else field.grid


def _sample(sunken: FloatMap, field: FlowField) -> FloatMap:
    """(64, 64) depth where the flow leads; far behind the camera where that is a hole or outside the crop."""
    u, v = _grid(field)
    warped = cv2.remap(
        sunken,
        cv2.scaleAdd(u, 0.5, _COLUMN),
        cv2.scaleAdd(v, 0.5, _ROW),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=SUNKEN_MM,
    )
    return cast(FloatMap, warped)


def depth_change(reference: DepthProducts, moving: DepthProducts, field: FlowField) -> tuple[FloatMap, Mask]:
    """Change of depth of the point seen at each pixel of the reference.

    Args:
        reference: products of the earlier depth crop.
        moving: products of the later depth crop.
        field: flow from the earlier crop to the later one.

    Returns:
        w: (128, 128) float32, mm, positive away from the camera; 0 where not valid.
        valid: (128, 128) bool: enough depth at both ends around the pixel.
    """
    if kernels is None:
        return _depth_change(reference, moving, field)
    w, valid = np.empty((CROP_PX, CROP_PX), np.float32), np.empty((CROP_PX, CROP_PX), np.bool_)
    kernels.depth_change(reference.half_mm, moving.sunken, _grid(field), w, valid)
    return w, valid


def _depth_change(reference: DepthProducts, moving: DepthProducts, field: FlowField) -> tuple[FloatMap, Mask]:
    """`depth_change` without compiled loops."""
    difference = _sample(moving.sunken, field)
    difference -= reference.half_mm
    weight = (np.abs(difference) < np.float32(MAX_CHANGE_MM)).astype(np.float32)
    difference *= weight
    total = _average(weight)
    w: FloatMap = np.divide(_average(difference), np.maximum(total, np.float32(0.05)), dtype=np.float32)
    valid = _double(total) > np.float32(MIN_SHARE)
    full: FloatMap = _double(w) * valid
    return full, valid
