"""Rigid head motion: a robust six-parameter fit to scene flow, and the exact flow it induces.

Iteratively reweighted least squares with Geman-McClure weights (Black & Rangarajan, IJCV 1996) on u, v and w of a
grid of face points that expressions seldom move. The fit is linear in rotation and translation; what the linear model
lacks is added once from the exact one, so that the motion found is exact for the sizes a window can show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from .compiled import Kernels, kernels
from .scene_flow import CROP_PX, FloatMap, HeadMotion, Mask

Reals = NDArray[np.float64]

STRIDE_PX = 5
MIN_POINTS = 30
ITERATIONS = 5
WARM_ITERATIONS = 2
"""Enough where the weights of the window before, of the same points, are at hand."""
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
    """(7, 3 N): du, dv, dw of each point by rotation (rad) and translation (mm), and what was measured."""


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Grid points of a mask, the same while the face's regions and the crop stay."""

    mask: Mask
    camera: CropCamera
    flat: NDArray[np.int32]
    """(N,): index into a flat crop."""
    rays: Reals


def _places(mask: Mask, camera: CropCamera) -> _Places:
    start = STRIDE_PX // 2
    step = slice(start, None, STRIDE_PX)
    rows, columns = np.nonzero(mask[step, step])
    rows, columns = rows * STRIDE_PX + start, columns * STRIDE_PX + start
    rays = np.stack(((columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones(len(rows))))
    return _Places(mask, camera, np.asarray(rows * CROP_PX + columns, np.int32), rays)


def _points(places: _Places, depth_mm: Reals, measured: Reals) -> _Points:
    camera, rays, count = places.camera, places.rays, len(places.flat)
    a, b = rays[0], rays[1]
    space = rays * depth_mm
    pivot: Reals = space.sum(axis=1) / count
    space -= pivot[:, None]
    x, y, z = space
    model = np.zeros((7, 3, count))
    u, v, w = model[:, 0], model[:, 1], model[:, 2]
    u[0], u[1], u[2], u[3], u[5] = -a * y, z + a * x, -y, 1.0, -a
    v[0], v[1], v[2], v[4], v[5] = -z - b * y, b * x, x, 1.0, -b
    w[0], w[1], w[5] = y, -x, 1.0
    u *= camera.fx / depth_mm
    v *= camera.fy / depth_mm
    model[6] = measured.reshape(3, count)
    return _Points(rays, depth_mm, pivot, model.reshape(7, 3 * count))


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
    weights *= (SIGMAS / np.maximum(SHARPNESS * medians, SMALLEST))[:, None]
    weights += SIGMAS[:, None]
    np.square(np.reciprocal(weights, out=weights), out=weights)
    squares[1] = squares[0]
    squares[2] *= w_weight
    return squares.reshape(-1)


def _solve(model: Reals, weights: Reals) -> Reals:
    """(7,) weighted least squares: the negated parameters and 1, so that times the model it gives the misfit."""
    sums = (model * weights) @ model.T
    _, solution = cv2.solve(sums[:6, :6] + PRIOR, sums[:6, 6:], flags=cv2.DECOMP_CHOLESKY)
    return np.append(-solution[:, 0], 1.0)


def _fit(points: _Points, w_weight: Reals, camera: CropCamera, warm: Reals | None) -> tuple[Reals, Reals, Reals]:
    """Parameters (6,), the misfit (3 N,) and the weights (3 N,); begins with the weights `warm` where given."""
    model, measured = points.model, points.model[6].copy()
    if warm is None:
        weights = np.full((3, len(w_weight)), SIGMA_PX**-2)
        weights[2] = SIGMA_MM**-2
    else:
        weights = warm.reshape(3, -1)
    weights[2] *= w_weight
    found = _solve(model, weights.reshape(-1))
    for _ in range(ITERATIONS if warm is None else WARM_ITERATIONS):
        weights = _robust_weights(found @ model, w_weight)
        found = _solve(model, weights)
    parameters = -found[:6]
    large = np.abs(parameters[:3]).max() > LARGE_TURN_RAD
    for _ in range(2 if large else 1):
        np.subtract(measured, _exact(points, parameters, camera), out=model[6])
        found = _solve(model, weights)
        parameters -= found[:6]
    return parameters, found @ model, weights


def _known_depth(depth_mm: Reals) -> Reals:
    known = depth_mm > 0
    if known.all():
        return depth_mm
    return np.where(known, depth_mm, depth_mm[known].mean() if known.any() else UNKNOWN_DEPTH_MM)


class HeadMotionFit:
    """Finds the head's motion in scene flow, and the scene flow of a head's motion.

    A fit with the mask and camera of the one before begins with its weights: one instance per stream of windows.
    """

    def __init__(self) -> None:
        self._places: _Places | None = None
        self._weights: Reals | None = None
        self._camera: CropCamera | None = None
        self._powers: FloatMap = np.zeros((6, 0), np.float32)

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
        places = self._places
        if places is None or places.mask is not mask or places.camera != camera:
            places = self._places = _places(mask, camera)
            self._weights = None
        if len(places.flat) < MIN_POINTS:
            return HeadMotion()
        if kernels is not None:
            return self._fit_compiled(kernels, places, field, w, w_valid, depth_mm)
        depth, valid = (image.take(places.flat).astype(np.float64) for image in (depth_mm, w_valid))
        measured = np.concatenate([image.take(places.flat) for image in (field.u, field.v, w)]).astype(np.float64)
        points = _points(places, _known_depth(depth), measured)
        parameters, misfit, self._weights = _fit(points, valid, camera, self._weights)
        u, v, _ = misfit.reshape(3, -1)
        residual = float(np.sqrt(_median(u * u + v * v)))
        rotation, translation = parameters[:3].tolist(), parameters[3:].tolist()
        return HeadMotion(tuple(rotation), tuple(translation), tuple(points.pivot.tolist()), residual)

    def _fit_compiled(
        self, loops: Kernels, places: _Places, field: FlowLike, w: FloatMap, w_valid: Mask, depth_mm: FloatMap
    ) -> HeadMotion:
        """`fit` by compiled loops."""
        warm, camera = self._weights is not None, places.camera
        if self._weights is None:
            self._weights = np.empty(3 * len(places.flat))
        found = np.empty(10)
        fx, fy, cx, cy = _pinhole(camera)
        u, v, w = (np.ascontiguousarray(image) for image in (field.u, field.v, w))
        loops.fit_head(
            places.flat,
            fx,
            fy,
            cx,
            cy,
            u,
            v,
            w,
            np.ascontiguousarray(w_valid),
            np.ascontiguousarray(depth_mm),
            warm,
            self._weights,
            found,
        )
        rx, ry, rz, tx, ty, tz, px, py, pz, residual = found.tolist()
        return HeadMotion((rx, ry, rz), (tx, ty, tz), (px, py, pz), residual)

    def induced(
        self, motion: HeadMotion, depth_mm: FloatMap, camera: CropCamera
    ) -> tuple[FloatMap, FloatMap, FloatMap]:
        """Scene flow of every pixel if only the head moved: u, v px and w mm, each (128, 128) float32."""
        rotation = cv2.Rodrigues(np.asarray(motion.rotation_rad))[0]
        pivot = np.asarray(motion.pivot_mm)
        offset = pivot + motion.translation_mm - rotation @ pivot
        turned, shifted = _image_motion(rotation - np.eye(3), offset, camera)
        if kernels is not None:
            flow = np.empty((3, CROP_PX, CROP_PX), np.float32)
            kernels.induced(np.ascontiguousarray(depth_mm), *_pinhole(camera), turned, shifted, flow)
            return flow[0], flow[1], flow[2]
        known = depth_mm > 0
        if not known.all():
            mean = float(depth_mm[known].mean()) if known.any() else UNKNOWN_DEPTH_MM
            depth_mm = np.where(known, depth_mm, np.float32(mean))
        if self._camera != camera:
            self._camera, self._powers = camera, _powers(camera)
        flow, still = (np.float32(weights) @ self._powers for weights in (turned, shifted))
        flow = flow.reshape(3, CROP_PX, CROP_PX)
        flow *= depth_mm
        flow += still.reshape(3, CROP_PX, CROP_PX)
        w = flow[2]
        flow[:2] /= w + depth_mm
        return flow[0], flow[1], w


def _powers(camera: CropCamera) -> FloatMap:
    """(6, 128 * 128) float32: 1, a, b, a a, a b, b b of every pixel, with a = x / z and b = y / z."""
    ramp = np.arange(CROP_PX)
    a = np.tile((ramp - camera.cx) / camera.fx, CROP_PX)
    b = np.repeat((ramp - camera.cy) / camera.fy, CROP_PX)
    return np.stack((np.ones_like(a), a, b, a * a, a * b, b * b)).astype(np.float32)


def _pinhole(camera: CropCamera) -> tuple[float, float, float, float]:
    return camera.fx, camera.fy, camera.cx, camera.cy


def _image_motion(turn: Reals, offset: Reals, camera: CropCamera) -> Reals:
    """(2, 3, 6): u, v, w of a rotation (less the identity) and a shift, as weights of `_powers`.

    u = fx (dX - a dZ) / (z + dZ) with dX, dZ = z times a plane in a and b, plus the shift: the first set is what is
    multiplied by z, the second what is not; both are still to be divided by z + dZ where it is u or v.
    """
    (xa, xb, x1), (ya, yb, y1), (za, zb, z1) = turn.tolist()
    ox, oy, oz = offset.tolist()
    turned = [[x1, xa - z1, xb, -za, -zb, 0], [y1, ya, yb - z1, 0, -za, -zb], [z1, za, zb, 0, 0, 0]]
    shifted = [[ox, -oz, 0, 0, 0, 0], [oy, 0, -oz, 0, 0, 0], [oz, 0, 0, 0, 0, 0]]
    scale = np.array((camera.fx, camera.fy, 1.0))[:, None]
    return np.asarray(np.array((turned, shifted)) * scale)
