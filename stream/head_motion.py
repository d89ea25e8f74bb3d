"""Rigid head motion: a robust six-parameter fit to scene flow, and the exact flow it induces.

Iteratively reweighted least squares with Geman-McClure weights (Black & Rangarajan, IJCV 1996) on u, v and w of a
grid of face points that expressions seldom move. The fit is linear in rotation and translation; what the linear model
lacks is added once from the exact one, so that the motion found is exact for the sizes a window can show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from .scene_flow import CROP_PX, FloatMap, HeadMotion, Mask

Reals = NDArray[np.float64]

STRIDE_PX = 4
MIN_POINTS = 40
ITERATIONS = 5
SIGMA_PX = 0.08
SIGMA_MM = 0.6
UNKNOWN_DEPTH_MM = 600.0
"""Distance assumed where the face has no depth at all: u and v can still be corrected, w is not valid anyway."""

_BROWS, _MOUTH = slice(17, 27), slice(48, 68)
_PRIOR = np.diag([1e-2] * 3 + [1e-6] * 3)
"""Keeps the system solvable on a plane; far below what any face point weighs."""


class FlowLike(Protocol):
    """Anything with u and v, (128, 128) float32 px."""

    @property
    def u(self) -> FloatMap:
        """Motion to the right."""
        ...

    @property
    def v(self) -> FloatMap:
        """Motion downwards."""
        ...


@dataclass(frozen=True, slots=True)
class CropCamera:
    """Pinhole of the 128 x 128 crop, px; integer coordinates are pixel centres."""

    fx: float
    fy: float
    cx: float
    cy: float


def rigid_mask(landmarks_crop: NDArray[np.floating]) -> Mask:
    """Where the face moves with the head: hull of the landmarks without the boxes of brows and mouth.

    Args:
        landmarks_crop: (68, 2) px of the crop, iBUG order.

    Returns:
        (128, 128) bool.
    """
    points = np.asarray(landmarks_crop, np.float32)
    mask = np.zeros((CROP_PX, CROP_PX), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    margin = 0.05 * float(np.ptp(points[:, 0]))
    for part in (points[_BROWS], points[_MOUTH]):
        left, top = np.maximum(np.floor(part.min(axis=0) - margin), 0).astype(int)
        right, bottom = np.maximum(np.ceil(part.max(axis=0) + margin), 0).astype(int)
        mask[top : bottom + 1, left : right + 1] = 0
    return mask.astype(np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """Grid points of the face in camera coordinates about their centre, and the linear model there."""

    rays: Reals
    """(3, N): x / z, y / z, 1."""
    depth_mm: Reals
    pivot: Reals
    model: Reals
    """(6, 3 N): du, dv, dw of each point by rotation (rad) and translation (mm)."""


def _points(rows: NDArray[np.intp], columns: NDArray[np.intp], depth_mm: Reals, camera: CropCamera) -> _Points:
    rays = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones(len(rows))])
    space = rays * depth_mm
    pivot: Reals = space.mean(axis=1)
    x, y, z = np.subtract(space, pivot[:, None], dtype=np.float64)
    a, b, _ = rays
    count = len(rows)
    model = np.zeros((6, 3, count))
    to_px_x, to_px_y = camera.fx / depth_mm, camera.fy / depth_mm
    for row, (in_u, in_v, in_w) in enumerate(
        (
            (-a * y, -z - b * y, y),
            (z + a * x, b * x, -x),
            (-y, x, None),
            (1.0, 0.0, None),
            (0.0, 1.0, None),
            (-a, -b, 1.0),
        )
    ):
        model[row, 0], model[row, 1] = to_px_x * in_u, to_px_y * in_v
        if in_w is not None:
            model[row, 2] = in_w
    return _Points(rays, depth_mm, pivot, model.reshape(6, 3 * count))


def _exact(points: _Points, parameters: Reals, camera: CropCamera) -> Reals:
    """(3 N,) u, v, w that the motion gives the points: rotate, shift, project."""
    rotation = cv2.Rodrigues(parameters[:3])[0]
    offset = points.pivot + parameters[3:] - rotation @ points.pivot
    moved = (rotation @ points.rays) * points.depth_mm + offset[:, None]
    u = camera.fx * (moved[0] / moved[2] - points.rays[0])
    v = camera.fy * (moved[1] / moved[2] - points.rays[1])
    return np.concatenate([u, v, moved[2] - points.depth_mm])


def _median(values: Reals) -> float:
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _robust_weights(misfit: Reals, w_weight: Reals) -> Reals:
    """(3 N,) Geman-McClure weights of squared, sigma-scaled misfits; u and v of a point share theirs."""
    count = len(w_weight)
    squares = misfit * misfit
    in_plane = (squares[:count] + squares[count : 2 * count]) / SIGMA_PX**2
    in_depth = squares[2 * count :] / SIGMA_MM**2
    plane = 1 / (1 + in_plane / max(4 * _median(in_plane), 1e-6)) ** 2
    depth = w_weight / (1 + in_depth / max(9 * _median(in_depth), 1e-6)) ** 2
    return np.concatenate([plane / SIGMA_PX**2, plane / SIGMA_PX**2, depth / SIGMA_MM**2])


def _solve(model: Reals, weights: Reals, measured: Reals) -> Reals:
    weighted = model * weights
    return cast(Reals, np.linalg.solve(weighted @ model.T + _PRIOR, weighted @ measured))


class HeadMotionFit:
    """Finds the head's motion in scene flow, and the scene flow of a head's motion."""

    def __init__(self) -> None:
        ramp = np.arange(CROP_PX, dtype=np.float32)
        self._columns, self._rows = ramp[None, :], ramp[:, None]

    def fit(
        self, field: FlowLike, w: FloatMap, w_valid: Mask, depth_mm: FloatMap, camera: CropCamera, mask: Mask
    ) -> HeadMotion:
        """Fit rotation and translation about the centre of the masked face points.

        Args:
            field: u, v (128, 128) px.
            w: (128, 128) mm.
            w_valid: (128, 128) bool; where False only u and v count.
            depth_mm: (128, 128) smoothed depth of the reference, mm; <= 0 is unknown and takes the mean of the rest.
            camera: of the crop.
            mask: (128, 128) bool, see `rigid_mask`.

        Returns:
            The motion; no motion with a NaN residual when fewer than `MIN_POINTS` grid points are left.
        """
        step = slice(STRIDE_PX // 2, None, STRIDE_PX)
        rows, columns = np.nonzero(mask[step, step])
        if len(rows) < MIN_POINTS:
            return HeadMotion()

        def pick(image: NDArray[np.generic]) -> Reals:
            return image[step, step][rows, columns].astype(np.float64)

        offset = STRIDE_PX // 2
        points = _points(rows * STRIDE_PX + offset, columns * STRIDE_PX + offset, _known_depth(pick(depth_mm)), camera)
        measured = np.concatenate([pick(field.u), pick(field.v), pick(w)])
        parameters, misfit = _fit(points, measured, pick(w_valid), camera)
        count = len(rows)
        residual = np.sqrt(misfit[:count] ** 2 + misfit[count : 2 * count] ** 2)
        rotation, translation = parameters[:3].tolist(), parameters[3:].tolist()
        return HeadMotion(tuple(rotation), tuple(translation), tuple(points.pivot.tolist()), _median(residual))

    def induced(
        self, motion: HeadMotion, depth_mm: FloatMap, camera: CropCamera
    ) -> tuple[FloatMap, FloatMap, FloatMap]:
        """Scene flow of every pixel if only the head moved: u, v px and w mm, each (128, 128) float32."""
        rotation = cv2.Rodrigues(np.asarray(motion.rotation_rad))[0]
        pivot = np.asarray(motion.pivot_mm)
        offset = (pivot + motion.translation_mm - rotation @ pivot).astype(np.float32)
        known = depth_mm > 0
        if not known.all():
            mean = float(depth_mm[known].mean()) if known.any() else UNKNOWN_DEPTH_MM
            depth_mm = np.where(known, depth_mm, np.float32(mean))
        along_x = (self._columns - np.float32(camera.cx)) / np.float32(camera.fx)
        along_y = (self._rows - np.float32(camera.cy)) / np.float32(camera.fy)
        turn = (rotation - np.eye(3)).astype(np.float32)
        gain = [(turn[i, 0] * along_x + turn[i, 2]) + turn[i, 1] * along_y for i in range(3)]
        change = [gain[i] * depth_mm + offset[i] for i in range(3)]
        scale = np.float32(1) / (change[2] + depth_mm)
        u = (change[0] - along_x * change[2]) * (scale * np.float32(camera.fx))
        v = (change[1] - along_y * change[2]) * (scale * np.float32(camera.fy))
        return u, v, change[2]


def _known_depth(depth_mm: Reals) -> Reals:
    known = depth_mm > 0
    if known.all():
        return depth_mm
    return np.where(known, depth_mm, depth_mm[known].mean() if known.any() else UNKNOWN_DEPTH_MM)


def _fit(points: _Points, measured: Reals, w_weight: Reals, camera: CropCamera) -> tuple[Reals, Reals]:
    """Parameters (6,) and the misfit (3 N,) of the exact model."""
    weights = np.concatenate([np.full(2 * len(w_weight), SIGMA_PX**-2), w_weight * SIGMA_MM**-2])
    parameters = _solve(points.model, weights, measured)
    for _ in range(ITERATIONS):
        weights = _robust_weights(measured - parameters @ points.model, w_weight)
        parameters = _solve(points.model, weights, measured)
    for _ in range(2):
        misfit = measured - _exact(points, parameters, camera)
        parameters = parameters + _solve(points.model, weights, misfit)
    return parameters, measured - _exact(points, parameters, camera)
