"""Following a face from a key frame: pyramidal Lucas-Kanade of well-textured points and a robust similarity.

Points are always followed from the key frame to the current frame, never from frame to frame, so nothing drifts;
the similarity (Umeyama's model, fitted by reweighted least squares with Geman-McClure weights) moves the landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .compiled import kernels
from .face import Landmarks
from .grey_frame import GreyFrame

POINTS = 24
WINDOW = (17, 17)
LEVELS = 2
CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 0.01)
REGION_FACES = 1.5
"""Side of the followed region in face widths."""
FIT_PX = 1.5
"""A point further than this from the fit (at a face width of 130 px) does not support it."""
BACK_PX = 0.7
"""Largest forward-backward error of a point that is kept."""
FIT_ROUNDS = 4

Points = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Similarity:
    """z -> turn * z + shift on complex pixels (x + iy), from the key frame to a later frame."""

    turn: complex = 1.0 + 0.0j
    shift: complex = 0.0j

    def move(self, points: Points) -> Points:
        """(N, 2) float32 points moved."""
        a, b = self.turn.real, self.turn.imag
        moved = points @ np.array(((a, b), (-b, a))) + (self.shift.real, self.shift.imag)
        return np.asarray(moved, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Fix:
    """Where the key frame's face is in another frame."""

    motion: Similarity
    share: float
    """Points that support the motion, of those the key frame began with, 0..1."""
    spread_px: float
    """Median distance of the points from the fit, color pixels."""


class KeyFrame:
    """One frame with a known face, from which later frames are measured."""

    def __init__(self, grey: GreyFrame, landmarks: Landmarks) -> None:
        self.landmarks = landmarks
        self.face_px = max(float(np.ptp(landmarks[:17, 0])), 16.0)
        centre = (landmarks.min(axis=0) + landmarks.max(axis=0)) / 2
        self._centre = complex(float(centre[0]), float(centre[1]))
        self._side = round(REGION_FACES * self.face_px)
        corner = (round(centre[0] - self._side / 2), round(centre[1] - self._side / 2))
        region = self._region(grey, corner)
        points = self._textured_points(region, landmarks - _row(corner))
        self._local = points.reshape(-1, 1, 2)
        self._points = points + _row(corner)
        self._count = len(points)
        self._alive = np.ones(self._count, dtype=bool)
        self._image = region
        self.look = self._thumbnail(grey, Similarity())
        """(32, 32) float32 view of the face, zero mean and unit spread."""

    def locate(self, grey: GreyFrame, guess: Similarity, check: bool) -> Fix | None:
        """Find the key frame's face in `grey`, beginning at `guess`; None when too few points are left.

        Args:
            grey: of the key frame's size.
            guess: motion from the key frame to about here.
            check: also follow the points back and drop for good those that do not return.
        """
        if self._alive.sum() < 6:
            return None
        middle = self._centre * guess.turn + guess.shift
        corner = (round(middle.real - self._side / 2), round(middle.imag - self._side / 2))
        if not (-self._side < corner[0] < grey.shape[1] and -self._side < corner[1] < grey.shape[0]):
            return None
        region = self._region(grey, corner)
        start = (guess.move(self._points) - _row(corner)).reshape(-1, 1, 2)
        found, status = _follow(self._image, region, self._local, start)
        if check:
            back, returned = _follow(region, self._image, found, self._local.copy())
            near = np.abs(back - self._local).max(axis=(1, 2)) < BACK_PX * self._unit
            self._alive &= status & returned & near
        return self._fit(found.reshape(-1, 2) + _row(corner), status & self._alive)

    def likeness(self, grey: GreyFrame, motion: Similarity) -> float:
        """Normalised correlation of the face now with the key frame's, -1..1; light gain and offset do not matter."""
        return float((self.look * self._thumbnail(grey, motion)).mean())

    @property
    def _unit(self) -> float:
        """Pixel tolerances grow with the face."""
        return max(self.face_px / 130.0, 0.5)

    def _region(self, grey: GreyFrame, corner: tuple[int, int]) -> NDArray[np.uint8]:
        return grey.region(corner[0], corner[1], self._side, self._side)

    def _fit(self, found: Points, usable: NDArray[np.bool_]) -> Fix | None:
        """Robust similarity from the key frame's points to where they were found."""
        if usable.sum() < 6:
            return None
        if kernels is not None:
            fit = np.empty(6)
            support_px = FIT_PX * self._unit
            kernels.fit_similarity(self._points, found, usable, FIT_ROUNDS, support_px, fit)
            real, imaginary, x, y, middle, near = fit.tolist()
            return Fix(Similarity(complex(real, imaginary), complex(x, y)), near / self._count, middle)
        return self._fit_slowly(found, usable)

    def _fit_slowly(self, found: Points, usable: NDArray[np.bool_]) -> Fix:
        """`_fit` without compiled loops."""
        points = np.concatenate((self._points, found), axis=1)[usable].astype(np.float64)
        origin = points.mean(axis=0)
        points -= origin  # keeps the sums below exact
        source, target = points.view(np.complex128).T
        inner, square = source.conj() * target, np.abs(source) ** 2
        terms = np.column_stack((np.ones(len(points)), points, inner.real, inner.imag, square))
        weights = np.ones(len(points))
        for _ in range(FIT_ROUNDS):
            total, sx, sy, tx, ty, real, imaginary, squares = (weights @ terms).tolist()
            mean_source, mean_target = complex(sx, sy) / total, complex(tx, ty) / total
            spread = squares - total * abs(mean_source) ** 2
            turn = (complex(real, imaginary) - total * mean_source.conjugate() * mean_target) / (spread + 1e-9)
            shift = mean_target - turn * mean_source
            distance = np.abs(turn * source + (shift - target))
            middle = _median(distance)
            weights = distance * (0.5 / max(1.4826 * middle, 0.05))
            weights = (1.0 + weights * weights) ** -2
        share = np.count_nonzero(distance < FIT_PX * self._unit) / self._count
        shift += complex(*origin[2:]) - turn * complex(*origin[:2])
        return Fix(Similarity(turn, shift), share, middle)

    def _textured_points(self, region: NDArray[np.uint8], landmarks: Landmarks) -> Points:
        """Corners of the face's steady parts: inside the jaw, without eyes, brows and mouth."""
        inner = landmarks.mean(axis=0) + 0.92 * (landmarks - landmarks.mean(axis=0))
        lifted = inner[17:27] - np.array((0.0, 0.18 * self.face_px), dtype=np.float32)
        mask = np.zeros_like(region)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.concatenate((inner[:17], lifted)).astype(np.int32)), 255)
        moving = ((17, 22), (22, 27), (36, 42), (42, 48), (48, 60))
        for first, last in moving:
            hull = cv2.convexHull(landmarks[first:last].astype(np.int32))
            cv2.fillConvexPoly(mask, hull, 0)
            cv2.polylines(mask, [hull], True, 0, max(round(0.06 * self.face_px), 2))
        gap = max(self.face_px / 16.0, 3.0)
        points = cv2.goodFeaturesToTrack(region, POINTS, 0.005, gap, mask=mask, blockSize=7)
        if points is None or len(points) < 10:
            fallback = np.concatenate((landmarks[1:16:2], landmarks[27:36], landmarks[[36, 39, 42, 45]]))
            return np.ascontiguousarray(fallback, dtype=np.float32)
        return np.ascontiguousarray(points.reshape(-1, 2), dtype=np.float32)

    def _thumbnail(self, grey: GreyFrame, motion: Similarity) -> NDArray[np.float32]:
        """32x32 view of the face, zero mean and unit spread."""
        step = self.face_px / 32.0
        turn = motion.turn * step
        shift = motion.turn * (self._centre - 16.0 * step * (1 + 1j)) + motion.shift
        middle = self._centre * motion.turn + motion.shift
        side = round(self._side * abs(motion.turn))
        corner = (round(middle.real - side / 2), round(middle.imag - side / 2))
        shift -= complex(*corner)
        matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = grey.region(*corner, side, side)
        warped = cv2.warpAffine(seen, matrix, (32, 32), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        view = warped.astype(np.float32)
        view -= view.mean()
        return np.asarray(view / max(float(view.std()), 1.0), dtype=np.float32)


def _median(values: NDArray[np.float64]) -> float:
    """Upper median; numpy's own takes longer than the fit."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _row(corner: tuple[int, int]) -> Points:
    """A pixel position as float32, to shift points by."""
    return np.array(corner, dtype=np.float32)


def _follow(
    source: NDArray[np.uint8], target: NDArray[np.uint8], points: Points, start: Points
) -> tuple[Points, NDArray[np.bool_]]:
    """Lucas-Kanade from one image to another, from starting positions: (N, 1, 2) found, (N,) whether."""
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        source,
        target,
        points,
        start,
        winSize=WINDOW,
        maxLevel=LEVELS,
        criteria=CRITERIA,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(found, dtype=np.float32), status.ravel() == 1
