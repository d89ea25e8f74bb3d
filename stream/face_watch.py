"""Which faces are there: seldom detections that take effect on time, tracking in between, identities."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

from .config import StreamConfig
from .face import Detection, DetectionQueue, DueDetection, FaceDetector, GreyImage, Landmarks, overlap
from .face_follower import FollowedFace, lost_track
from .face_track import FaceTrack

SAME_FACE_OVERLAP = 0.4
ANCHOR_SHIFT = 0.06
"""Landmarks are taken over from a check when they differ on average by this much of the face's width."""
MISSES_TO_LOSE = 3
"""Checks in a row that must find nothing before a face that still seems tracked is given up."""
RECHECK_SHARE = 0.25
"""After a fruitless check the next one follows after this share of the usual time."""
REMEMBER_NS = 3_000_000_000
"""A face found again near the place where one was lost so recently keeps its id."""


@dataclass(frozen=True, slots=True, eq=False)
class _Gone:
    track_id: int
    centre: complex
    face_px: float
    t_ns: int


class FaceWatch:
    """Detects on the first frame, whenever faces are missing, and every `detect_every_s` as a check.

    With `max_faces` followed only their surroundings are searched; with fewer, checks and searches of the whole image
    take turns. A detection takes effect `detect_delay_frames` frames after its frame and the new face is then carried
    forward through the frames in between.
    """

    def __init__(self, config: StreamConfig, detector: FaceDetector) -> None:
        self._config = config
        self._queue = DetectionQueue(detector, config.detect_delay_frames)
        self._greys: list[GreyImage] = []
        self._seen: dict[int, Landmarks] = {}
        self._gone: deque[_Gone] = deque(maxlen=config.max_faces)
        self.faces: list[FollowedFace] = []
        self.tracks: tuple[FaceTrack, ...] = ()
        self._ended: list[FaceTrack] = []
        self._next_id = 0
        self.reset()

    def reset(self) -> None:
        """Forget all faces; ids go on from where they were."""
        self._queue.clear()
        self._position = -1
        self._attempt = 0
        self._searched = False
        self._t_ns = 0
        self._next_check_ns: int | None = None
        self._next_search_ns: int | None = None
        self.faces = []
        self.tracks = ()
        self._gone.clear()

    def close(self) -> None:
        """End the detection thread."""
        self._queue.close()

    @property
    def undecided(self) -> bool:
        """Whether the search for a face has not come to its first result yet, since the start or the last loss."""
        return not self._searched

    def push(self, color: GreyImage, t_ns: int) -> GreyImage:
        """Take the next frame, follow, detect; returns the frame's grey image, valid for the next few frames.

        Args:
            color: (H, W, 3) uint8 RGB; a frame of another size than the last one starts anew.
            t_ns: capture time.
        """
        self._position += 1
        grey = self._store(color)
        if t_ns < self._t_ns:
            self._next_check_ns = self._next_search_ns = None
        self._t_ns = t_ns
        self._ended = []
        self._follow(grey)
        born = self._apply(self._queue.take(self._position))
        if not self._queue.busy:
            self._ask(grey)
            if self._config.detect_delay_frames == 0:
                born |= self._apply(self._queue.take(self._position))
        alive = tuple(face.track(("birth",) if face.track_id in born else ()) for face in self.faces)
        self.tracks = alive + tuple(self._ended)
        return grey

    def _store(self, color: GreyImage) -> GreyImage:
        """Grey image in a ring that outlasts the detection delay."""
        shape = color.shape[:2]
        if not self._greys or self._greys[0].shape != shape:
            count = self._config.detect_delay_frames + 2
            self._greys = [np.zeros(shape, dtype=np.uint8) for _ in range(count)]
        slot = self._greys[self._position % len(self._greys)]
        cv2.cvtColor(color, cv2.COLOR_RGB2GRAY, dst=slot)
        return slot

    def _follow(self, grey: GreyImage) -> None:
        """Move every face on and give up those that were lost."""
        for face in list(self.faces):
            last = face.track()
            if not face.follow(grey):
                self._give_up(face, last)

    def _give_up(self, face: FollowedFace, last: FaceTrack) -> None:
        """A face is lost: publish its end once, remember where it was, search hard again."""
        self.faces.remove(face)
        self._ended.append(lost_track(last))
        x, y = last.landmarks_px.mean(axis=0)
        width = max(float(np.ptp(last.landmarks_px[:17, 0])), 1.0)
        self._gone.append(_Gone(face.track_id, complex(float(x), float(y)), width, self._t_ns))
        self._attempt = 0
        self._searched = False

    def _ask(self, grey: GreyImage) -> None:
        """Start a detection if one is wanted now."""
        missing = len(self.faces) < self._config.max_faces
        eager = not self.faces or self._next_search_ns is None or self._t_ns >= self._next_search_ns
        near: tuple[tuple[float, float, float, float], ...] = ()
        if not (missing and eager):
            if not self.faces or (self._next_check_ns is not None and self._t_ns < self._next_check_ns):
                return
            near = tuple(face.track().box for face in self.faces)
        self._seen = {face.track_id: face.landmarks for face in self.faces}
        self._queue.submit(self._position, grey, near, self._attempt)
        if not near:
            self._attempt += 1

    def _apply(self, due: DueDetection | None) -> set[int]:
        """Let a detection take effect, if one is due; returns the ids that begin now."""
        if due is None:
            return set()
        every_ns = round(self._config.detect_every_s * 1e9)
        unclaimed = list(due.faces)
        missed = False
        for face in list(self.faces):
            found = self._claim(face, unclaimed)
            missed = self._check(face, found, due) or missed
        self._next_check_ns = self._t_ns + (round(RECHECK_SHARE * every_ns) if missed else every_ns)
        if due.checked:
            return set()
        self._next_search_ns = self._t_ns + every_ns
        self._searched = True
        born = set()
        for found in unclaimed[: self._config.max_faces - len(self.faces)]:
            face = FollowedFace(self._identity(found), found, self._past(due.position), self._dead_zone)
            if self._carry(face, due.position):
                self.faces.append(face)
                born.add(face.track_id)
        if born:
            self._attempt = 0
        return born

    @property
    def _dead_zone(self) -> int:
        return self._config.crop_dead_zone_px

    def _claim(self, face: FollowedFace, unclaimed: list[Detection]) -> Detection | None:
        """The detection that shows this face, taken from the list."""
        seen = self._seen.get(face.track_id)
        if seen is None or not unclaimed:
            return None
        box = Detection(seen, 0.0).box
        best = max(unclaimed, key=lambda found: overlap(box, found.box))
        if overlap(box, best.box) < SAME_FACE_OVERLAP:
            return None
        unclaimed.remove(best)
        return best

    def _check(self, face: FollowedFace, found: Detection | None, due: DueDetection) -> bool:
        """Confirm a face, anchor it anew when it is off, give it up after several misses; True on a miss."""
        if found is None:
            face.misses += 1
            if face.misses >= MISSES_TO_LOSE:
                self._give_up(face, face.track())
            return True
        face.misses = 0
        shift = float(np.linalg.norm(found.landmarks_px - self._seen[face.track_id], axis=1).mean())
        if shift > ANCHOR_SHIFT * face.face_px:
            face.anchor(found, self._past(due.position))
            if not self._carry(face, due.position):
                self._give_up(face, face.track())
        return False

    def _past(self, position: int) -> GreyImage:
        return self._greys[position % len(self._greys)]

    def _carry(self, face: FollowedFace, since: int) -> bool:
        """Follow a face from the frame of its detection to now."""
        return all(face.follow(self._past(position)) for position in range(since + 1, self._position + 1))

    def _identity(self, found: Detection) -> int:
        """Id of a face that comes (back)."""
        x, y, width, height = found.box
        for gone in list(self._gone):
            near = abs(gone.centre - complex(x + width / 2, y + height / 2)) < 1.5 * gone.face_px
            if near and 0 <= self._t_ns - gone.t_ns <= REMEMBER_NS:
                self._gone.remove(gone)
                return gone.track_id
        self._next_id += 1
        return self._next_id - 1
