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

STRIDE_PX = 5
MIN_POINTS = 30
ITERATIONS = 5
LARGE_TURN_RAD = 0.01
"""Above it the exact model is visited a second time."""
SIGMA_PX = 0.08
SIGMA_MM = 0.3
UNKNOWN_DEPTH_MM = 600.0
"""Distance assumed where the face has no depth at all: u and v can still be corrected, w is not valid anyway."""

_BROWS, _MOUTH = slice(17, 27), slice(48, 68)
PRIOR = np.diag([1e-2] * 3 + [1e-6] * 3)
"""Keeps the system solvable on a plane; far below what any face point weighs."""
SIGMAS = np.array([SIGMA_PX, SIGMA_MM])
SHARPNESS = np.array([4.0, 9.0])
"""In-plane and depth misfits weigh a quarter where their square is this many times the median square."""
SMALLEST = 1e-6 * SIGMAS**2


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
    """Grid points of the face in camera coordinates, and the linear model of their motion about their centre."""

    rays: Reals
    """(3, N): x / z, y / z, 1."""
    depth_mm: Reals
    pivot: Reals
    model: Reals
    """(6, 3 N): du, dv, dw of each point by rotation (rad) and translation (mm)."""


def _points(rows: NDArray[np.intp], columns: NDArray[np.intp], depth_mm: Reals, camera: CropCamera) -> _Points:
    count = len(rows)
    rays = np.ones((3, count))
    a, b = rays[0], rays[1]
    a[:] = (columns - camera.cx) / camera.fx
    b[:] = (rows - camera.cy) / camera.fy
    space = rays * depth_mm
    pivot: Reals = space.sum(axis=1) / count
    space -= pivot[:, None]
    x, y, z = space
    model = np.zeros((6, 3, count))
    u, v, w = model[:, 0], model[:, 1], model[:, 2]
    u[0], u[1], u[2], u[3], u[5] = -a * y, z + a * x, -y, 1.0, -a
    v[0], v[1], v[2], v[4], v[5] = -z - b * y, b * x, x, 1.0, -b
    w[0], w[1], w[5] = y, -x, 1.0
    u *= camera.fx / depth_mm
    v *= camera.fy / depth_mm
    return _Points(rays, depth_mm, pivot, model.reshape(6, 3 * count))


def _exact(points: _Points, parameters: Reals, camera: CropCamera) -> Reals:
    """(3 N,) u, v, w that the motion gives the points: rotate, shift, project."""
    rotation = cv2.Rodrigues(parameters[:3])[0]
    offset = points.pivot + parameters[3:] - rotation @ points.pivot
    moved = rotation @ points.rays
    moved *= points.depth_mm
    moved += offset[:, None]
    flow = np.empty_like(moved)
    np.subtract(moved[2], points.depth_mm, out=flow[2])
    moved[:2] /= moved[2]
    moved[:2] -= points.rays[:2]
    np.multiply(moved[0], camera.fx, out=flow[0])
    np.multiply(moved[1], camera.fy, out=flow[1])
    return flow.reshape(-1)


def _median(values: Reals) -> float:
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _robust_weights(misfit: Reals, w_weight: Reals) -> Reals:
    """(3 N,) Geman-McClure weights over sigma squared; u and v of a point share theirs."""
    squares = np.square(misfit).reshape(3, -1)
    squares[0] += squares[1]
    weights = squares[::2]
    middle = weights.shape[1] // 2
    medians = np.partition(weights, middle, axis=1)[:, middle]
    weights *= (1.0 / np.maximum(SHARPNESS * medians, SMALLEST))[:, None]
    weights += 1.0
    weights *= SIGMAS[:, None]
    np.square(np.reciprocal(weights, out=weights), out=weights)
    squares[1] = squares[0]
    squares[2] *= w_weight
    return squares.reshape(-1)


def _solve(model: Reals, weights: Reals, measured: Reals) -> Reals:
    weighted = model * weights
    right = (weighted @ measured)[:, None]
    _, solution = cv2.solve(weighted @ model.T + PRIOR, right, flags=cv2.DECOMP_CHOLESKY)
    return cast(Reals, solution[:, 0])


def _fit(points: _Points, measured: Reals, w_weight: Reals, camera: CropCamera) -> tuple[Reals, Reals]:
    """Parameters (6,) and the misfit (3 N,)."""
    weights = np.full((3, len(w_weight)), SIGMA_PX**-2)
    np.multiply(w_weight, SIGMA_MM**-2, out=weights[2])
    parameters = _solve(points.model, weights.reshape(-1), measured)
    for _ in range(ITERATIONS):
        weights = _robust_weights(measured - parameters @ points.model, w_weight)
        parameters = _solve(points.model, weights, measured)
    large = np.abs(parameters[:3]).max() > LARGE_TURN_RAD
    for _ in range(2 if large else 1):
        misfit = measured - _exact(points, parameters, camera)
        step = _solve(points.model, weights, misfit)
        parameters = parameters + step
    return parameters, misfit - step @ points.model


def _known_depth(depth_mm: Reals) -> Reals:
    known = depth_mm > 0
    if known.all():
        return depth_mm
    return np.where(known, depth_mm, depth_mm[known].mean() if known.any() else UNKNOWN_DEPTH_MM)


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
        start = STRIDE_PX // 2
        step = slice(start, None, STRIDE_PX)
        rows, columns = np.nonzero(mask[step, step])
        if len(rows) < MIN_POINTS:
            return HeadMotion()
        rows, columns = rows * STRIDE_PX + start, columns * STRIDE_PX + start
        places = rows * CROP_PX + columns
        depth, valid = (image.take(places).astype(np.float64) for image in (depth_mm, w_valid))
        measured = np.concatenate([image.take(places) for image in (field.u, field.v, w)]).astype(np.float64)
        points = _points(rows, columns, _known_depth(depth), camera)
        parameters, misfit = _fit(points, measured, valid, camera)
        u, v, _ = misfit.reshape(3, -1)
        residual = float(np.sqrt(_median(u * u + v * v)))
        rotation, translation = parameters[:3].tolist(), parameters[3:].tolist()
        return HeadMotion(tuple(rotation), tuple(translation), tuple(points.pivot.tolist()), residual)

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
        w = (turn[2, 0] * along_x + turn[2, 2]) + turn[2, 1] * along_y
        w *= depth_mm
        w += offset[2]
        scale = w + depth_mm
        np.reciprocal(scale, out=scale)
        # u = fx (dX - x/z dZ) / (z + dZ); its factor of z is a plane in x/z and y/z times one of them, and so for v.
        u = (turn[0, 1] - turn[2, 1] * along_x) * along_y
        u += turn[0, 2] + (turn[0, 0] - turn[2, 2] - turn[2, 0] * along_x) * along_x
        v = (turn[1, 0] - turn[2, 0] * along_y) * along_x
        v += turn[1, 2] + (turn[1, 1] - turn[2, 2] - turn[2, 1] * along_y) * along_y
        for image, shift, focal in (
            (u, offset[0] - offset[2] * along_x, camera.fx),
            (v, offset[1] - offset[2] * along_y, camera.fy),
        ):
            image *= depth_mm
            image += shift
            image *= scale
            image *= np.float32(focal)
        return u, v, w
