"""Which face is which: faces remembered after a loss, detections given to tracks, two tracks that meet on one face."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from numpy.typing import NDArray

from .face import Box, Detection, overlap
from .face_follower import FollowedFace
from .face_track import FaceTrack

REMEMBER_NS = 3_000_000_000
"""A face found again near the place where one was lost so recently keeps its id."""
NEAR_FACES = 1.5
"""... within this many face widths,"""
NEAR_MM = 200.0
"""... within this depth, where both are known,"""
GROWTH = 1.6
"""... at most this much larger or smaller,"""
ALIKE_AT_ALL = 0.2
"""... and looking alike at least so much (normalised correlation of 32 x 32 views)."""
DOUBT = 0.25
"""Two ways of giving ids that differ by less than this cost are both possible: the id may have been exchanged."""
SAME_FACE_OVERLAP = 0.4
MEETING_OVERLAP = 0.1
"""Boxes that overlap more belong to faces that may hide one another."""
DOUBLE_OVERLAP = 0.55
"""Boxes that overlap more hold the same face twice."""
HEAD_MARGIN = 0.3
"""How far hair, ears and chin reach beyond the landmarks, in face widths."""
NEARER_MM = 80.0
"""A face that comes nearer by this much, while another meets it, is covered by that one."""


@dataclass(frozen=True, slots=True, eq=False)
class GoneFace:
    """A face as it was when it was lost."""

    track_id: int
    centre: complex
    """x + iy, color pixels."""
    face_px: float
    depth_mm: float
    """NaN where unknown."""
    look: NDArray[np.float32]
    """(32, 32) normalised view."""
    t_ns: int


@dataclass(frozen=True, slots=True)
class Recalled:
    """Whose face a found one is."""

    track_id: int
    doubtful: bool
    """Another face could be meant just as well."""


class FaceMemory:
    """Faces that were lost lately."""

    def __init__(self, most: int) -> None:
        self._gone: deque[GoneFace] = deque(maxlen=2 * most)

    def clear(self) -> None:
        """Forget all."""
        self._gone.clear()

    def remember(self, face: FollowedFace, last: FaceTrack, t_ns: int) -> None:
        """Keep a face that was lost, as its last track shows it."""
        x, y = last.landmarks_px.mean(axis=0)
        width = max(float(np.ptp(last.landmarks_px[:17, 0])), 1.0)
        self._gone.append(GoneFace(face.track_id, complex(float(x), float(y)), width, face.depth_mm, face.look, t_ns))

    def awaits(self, t_ns: int) -> bool:
        """Whether a face was lost so lately that it may come back."""
        return any(0 <= t_ns - gone.t_ns <= REMEMBER_NS for gone in self._gone)

    def recall(self, faces: Sequence[FollowedFace], t_ns: int) -> dict[int, Recalled]:
        """Give found faces the ids of those they are; the cheapest pairs first.

        Args:
            faces: newly found, at their present place, with depth where it is known.
            t_ns: now.

        Returns:
            By index in `faces`; a face without an entry is a new one.
        """
        pairs = sorted(
            (cost, index, position)
            for index, face in enumerate(faces)
            for position, gone in enumerate(self._gone)
            if 0 <= t_ns - gone.t_ns <= REMEMBER_NS and not isnan(cost := _unlikeness(face, gone))
        )
        recalled: dict[int, Recalled] = {}
        taken: dict[int, int] = {}
        for cost, index, position in pairs:
            if index in recalled or position in taken:
                continue
            rivals = [other for other, i, p in pairs if (i == index) != (p == position)]
            doubtful = any(other - cost < DOUBT for other in rivals)
            recalled[index] = Recalled(self._gone[position].track_id, doubtful)
            taken[position] = index
        for position in sorted(taken, reverse=True):
            del self._gone[position]
        return recalled


def _unlikeness(face: FollowedFace, gone: GoneFace) -> float:
    """How ill a found face fits a lost one, 0 = perfectly; NaN = it is another."""
    away = abs(face.centre - gone.centre) / (NEAR_FACES * gone.face_px)
    growth = max(face.face_px / gone.face_px, gone.face_px / face.face_px)
    alike = float((face.look * gone.look).mean())
    deeper = abs(face.depth_mm - gone.depth_mm) / NEAR_MM
    if away > 1.0 or growth > GROWTH or alike < ALIKE_AT_ALL or deeper > 1.0:
        return float("nan")
    return away + 2.0 * (1.0 - alike) + (0.0 if isnan(deeper) else 2.0 * deeper)


def distinct(found: Sequence[Detection]) -> list[Detection]:
    """Detections without those that show a surer one's face again."""
    kept: list[Detection] = []
    for one in found:
        if all(overlap(one.box, other.box) < SAME_FACE_OVERLAP for other in kept):
            kept.append(one)
    return kept


def claims(seen: dict[int, Box], found: Sequence[Detection]) -> dict[int, int]:
    """Which detection shows which followed face, best overlaps first.

    Args:
        seen: boxes of the followed faces by track id, in the frame of the detection.
        found: detections that differ.

    Returns:
        Index in `found` by track id.
    """
    pairs = sorted(
        (-overlap(box, one.box), track_id, index)
        for track_id, box in seen.items()
        for index, one in enumerate(found)
        if overlap(box, one.box) >= SAME_FACE_OVERLAP
    )
    claimed: dict[int, int] = {}
    for _, track_id, index in pairs:
        if track_id not in claimed and index not in claimed.values():
            claimed[track_id] = index
    return claimed


@dataclass(frozen=True, slots=True)
class Meeting:
    """Two tracks of which one can no longer be believed."""

    ended: FollowedFace
    kept: FollowedFace
    doubtful: bool
    """Which of the two it is could not be told from depth."""


def covers(front: FollowedFace, back: FollowedFace) -> bool:
    """Whether one face's head reaches over another face that is not known to be the nearer one."""
    x, y, width, height = front.box
    edge = HEAD_MARGIN * max(width, height)
    head = (x - edge, y - edge, width + 2 * edge, height + 2 * edge)
    return not front.depth_mm > back.depth_mm and overlap(head, back.box) > 0.0


def meeting(
    first: FollowedFace, second: FollowedFace, depth_mm: tuple[float, float], likeness: tuple[float, float]
) -> Meeting | None:
    """Whether one of two faces hides the other, or both tracks hold the same face.

    Args:
        first: one face; its `depth_mm` is from before they met.
        second: the other.
        depth_mm: what depth shows now at the place of each, NaN = nothing.
        likeness: of each with its own key frame now.
    """
    shared = overlap(first.box, second.box)
    if shared < MEETING_OVERLAP:
        return None
    nearer = [face.depth_mm - now for face, now in zip((first, second), depth_mm, strict=True)]
    if max(nearer) > NEARER_MM:
        covered, other = (first, second) if nearer[0] == max(nearer) else (second, first)
        return Meeting(covered, other, False)
    if shared < DOUBLE_OVERLAP:
        return None
    known = not any(isnan(value) for value in nearer)
    # On one face twice: the track whose face is at another depth than its own before, else the less alike one, goes.
    misfit = [abs(value) for value in nearer] if known else [-likeness[0], -likeness[1]]
    doubtful = abs(misfit[0] - misfit[1]) < (NEARER_MM / 2 if known else DOUBT)
    return Meeting(first, second, doubtful) if misfit[0] > misfit[1] else Meeting(second, first, doubtful)
