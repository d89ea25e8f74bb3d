"""Which faces are there: seldom detections that take effect on time, tracking in between, identities."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np

from sfam.capture.frame import ColorImage

from .config import StreamConfig
from .face import (
    Box,
    Detection,
    DetectionQueue,
    DueDetection,
    FaceDetector,
    Landmarks,
    landmark_box,
    overlap,
)
from .face_follower import FollowedFace, lost_track
from .face_identity import MEETING_OVERLAP, SAME_FACE_OVERLAP, FaceMemory, claims, covers, distinct, meeting
from .face_track import FaceTrack
from .grey_frame import GreyFrame

ANCHOR_SHIFT = 0.06
"""Landmarks are taken over from a check when they differ on average by this much of the face's width."""
ANOTHER_SHIFT = 0.25
"""Landmarks that differ by more than this are those of somebody who leans in front: who hides less than two thirds of a
face as large (of more, it is lost) is at least a third of its width away. Looks do not tell them apart: among twelve
rendered heads two are alike by 0.93, while one that turned by 25 degrees is alike to itself by 0.24; its landmarks were
0.07 off."""
MISSES_TO_LOSE = 3
"""Checks in a row that must find nothing before a face that still seems tracked is given up."""
RECHECK_SHARE = 0.25
"""After a fruitless check, or while a lost face may come back, the next look follows after this share of the time."""

FaceDepth = Callable[[Landmarks], float]
"""Distance (mm) of a face by its landmarks in the present frame, NaN = not known."""


def no_depth(_: Landmarks) -> float:
    """The depth of faces where nobody measures it."""
    return float("nan")


class FaceWatch:
    """Detects on the first frame, whenever faces are missing, and every `detect_every_s` as a check.

    With `max_faces` followed only their surroundings are searched; with fewer, checks and searches of the whole image
    take turns. A detection takes effect `detect_delay_frames` frames after its frame and the new face is then carried
    forward through the frames in between. With several faces, depth tells which of two that meet is hidden; a lost
    face that is found again keeps its id where place, depth and look allow. `swap` flags an id that may be exchanged.

    Args:
        config: settings of this room.
        detector: finds faces.
        depth_of: distance of a face in the present frame; asked only where several faces may be mixed up.
    """

    def __init__(self, config: StreamConfig, detector: FaceDetector, depth_of: FaceDepth = no_depth) -> None:
        self._config = config
        self._depth_of = depth_of
        self._queue = DetectionQueue(detector, config.detect_delay_frames)
        self._greys: list[GreyFrame] = []
        self._seen: dict[int, Landmarks] = {}
        self._memory = FaceMemory(config.max_faces)
        self.faces: list[FollowedFace] = []
        self.tracks: tuple[FaceTrack, ...] = ()
        self._ended: list[FaceTrack] = []
        self._flags: dict[int, tuple[str, ...]] = {}
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
        self._memory.clear()

    def close(self) -> None:
        """End the detection thread."""
        self._queue.close()

    @property
    def undecided(self) -> bool:
        """Whether the search for a face has not come to its first result yet, since the start or the last loss."""
        return not self._searched

    def push(self, color: ColorImage, t_ns: int) -> GreyFrame:
        """Take the next frame, follow, detect; returns the frame in grey, valid for the next few frames.

        Args:
            color: (H, W, 3) uint8 RGB, left as it is for the next few frames; another size than the last starts anew.
            t_ns: capture time.
        """
        self._position += 1
        grey = self._store(color)
        if t_ns < self._t_ns:
            self._next_check_ns = self._next_search_ns = None
        self._t_ns = t_ns
        self._ended, self._flags = [], {}
        self._follow(grey)
        self._apply(self._queue.take(self._position))
        if not self._queue.busy:
            self._ask(grey)
            if self._config.detect_delay_frames == 0:
                self._apply(self._queue.take(self._position))
        if self._config.max_faces > 1:
            self._part(grey)
        alive = {face.track_id: face.track(self._flags.get(face.track_id, ())) for face in self.faces}
        self.tracks = (*alive.values(), *(track for track in self._ended if track.track_id not in alive))
        return grey

    def _store(self, color: ColorImage) -> GreyFrame:
        """Grey frame in a ring that outlasts the detection delay."""
        shape = color.shape[0], color.shape[1]
        if not self._greys or self._greys[0].shape != shape:
            count = self._config.detect_delay_frames + 2
            self._greys = [GreyFrame(shape) for _ in range(count)]
        slot = self._greys[self._position % len(self._greys)]
        slot.show(color)
        return slot

    def _follow(self, grey: GreyFrame) -> None:
        """Move every face on and give up those that were lost."""
        for face in list(self.faces):
            last = face.track()
            if not face.follow(grey):
                self._give_up(face, last)

    def _give_up(self, face: FollowedFace, last: FaceTrack, *, returns: bool = True) -> None:
        """A face is lost: publish its end once, remember where it was if it may come back, search hard again."""
        self.faces.remove(face)
        self._ended.append(lost_track(last))
        if returns:
            self._memory.remember(face, last, self._t_ns)
        self._attempt = 0
        self._searched = False
        if self._next_search_ns is not None:
            self._next_search_ns = min(self._next_search_ns, self._t_ns + round(RECHECK_SHARE * self._every_ns))

    def _part(self, grey: GreyFrame) -> None:
        """Several faces: of two that meet, end the one that the other hides; else see how far away each is."""
        now = {face.track_id: self._depth_of(face.landmarks) for face in self.faces}
        together: set[int] = set()
        for pair in combinations(list(self.faces), 2):
            if overlap(pair[0].box, pair[1].box) < MEETING_OVERLAP:
                continue
            together |= {face.track_id for face in pair}
            if not all(face in self.faces for face in pair):
                continue
            first, second = pair
            depths = now[first.track_id], now[second.track_id]
            met = meeting(first, second, depths, (first.likeness(grey), second.likeness(grey)))
            if met is not None:
                self._give_up(met.ended, met.ended.track())
                if met.doubtful:
                    self._flag(met.kept.track_id, "swap")
        for face in self.faces:
            if face.track_id not in together and now[face.track_id] == now[face.track_id]:
                face.depth_mm = now[face.track_id]
            face.covered = False
        for front, back in permutations(self.faces, 2):
            back.covered |= covers(front, back)

    def _flag(self, track_id: int, flag: str) -> None:
        self._flags[track_id] = (*self._flags.get(track_id, ()), flag)

    def _ask(self, grey: GreyFrame) -> None:
        """Start a detection if one is wanted now."""
        missing = len(self.faces) < self._config.max_faces
        eager = not self.faces or self._next_search_ns is None or self._t_ns >= self._next_search_ns
        near: tuple[Box, ...] = ()
        if not (missing and eager):
            if not self.faces or (self._next_check_ns is not None and self._t_ns < self._next_check_ns):
                return
            near = tuple(face.box for face in self.faces)
        self._seen = {face.track_id: face.landmarks for face in self.faces}
        self._queue.submit(self._position, grey.whole(), near, self._attempt)
        if not near:
            self._attempt += 1

    def _apply(self, due: DueDetection | None) -> None:
        """Let a detection take effect, if one is due."""
        if due is None:
            return
        found = distinct(due.faces)
        boxes = {face.track_id: landmark_box(self._seen[face.track_id]) for face in self.faces if self._was_seen(face)}
        claimed = claims(boxes, found)
        missed = False
        for face in list(self.faces):
            index = claimed.get(face.track_id)
            missed = self._check(face, None if index is None else found[index], due) or missed
        self._next_check_ns = self._t_ns + (round(RECHECK_SHARE * self._every_ns) if missed else self._every_ns)
        if not due.checked:
            self._searched = True
            self._welcome([one for i, one in enumerate(found) if i not in claimed.values()], due.position)
            awaits = self._config.max_faces > 1 and self._memory.awaits(self._t_ns)
            self._next_search_ns = self._t_ns + (round(RECHECK_SHARE * self._every_ns) if awaits else self._every_ns)

    def _was_seen(self, face: FollowedFace) -> bool:
        """Whether the face was followed already in the frame of the detection."""
        return face.track_id in self._seen

    def _welcome(self, found: list[Detection], position: int) -> None:
        """Follow new faces from the frame of their detection on, under the ids of those they are."""
        faces: list[FollowedFace] = []
        for one in found:
            face = FollowedFace(-1, one, self._past(position), self._dead_zone)
            twice = any(overlap(one.box, other.box) >= SAME_FACE_OVERLAP for other in self.faces)
            if len(self.faces) + len(faces) < self._config.max_faces and not twice and self._carry(face, position):
                if self._config.max_faces > 1:
                    face.depth_mm = self._depth_of(face.landmarks)
                faces.append(face)
        recalled = self._memory.recall(faces, self._t_ns)
        for index, face in enumerate(faces):
            known = recalled.get(index)
            if known is None:
                face.track_id, self._next_id = self._next_id, self._next_id + 1
            else:
                face.track_id = known.track_id
            self.faces.append(face)
            self._flag(face.track_id, "birth")
            if known is not None and known.doubtful:
                self._flag(face.track_id, "swap")
            self._attempt = 0

    @property
    def _dead_zone(self) -> int:
        return self._config.crop_dead_zone_px

    @property
    def _every_ns(self) -> int:
        return round(self._config.detect_every_s * 1e9)

    def _check(self, face: FollowedFace, found: Detection | None, due: DueDetection) -> bool:
        """Confirm a face, anchor it anew when it is off, give it up after several misses; True on a miss.

        A face in whose place another one is found is given up at once: what is found next is somebody new.
        """
        if found is None:
            face.misses += 1
            if face.misses >= MISSES_TO_LOSE:
                self._give_up(face, face.track())
            return True
        face.misses = 0
        shift = float(np.linalg.norm(found.landmarks_px - self._seen[face.track_id], axis=1).mean())
        since = map(self._past, range(due.position, self._position + 1))
        if shift > ANOTHER_SHIFT * face.face_px:
            self._give_up(face, face.track(), returns=False)
        elif shift > ANCHOR_SHIFT * face.face_px and not face.anchor(found, since):
            self._give_up(face, face.track())
        return False

    def _past(self, position: int) -> GreyFrame:
        return self._greys[position % len(self._greys)]

    def _carry(self, face: FollowedFace, since: int) -> bool:
        """Follow a face from the frame of its detection to now."""
        return all(face.follow(self._past(position)) for position in range(since + 1, self._position + 1))
