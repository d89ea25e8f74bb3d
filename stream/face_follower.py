"""One followed face: where it is in each frame, when its key frame is renewed, when it is lost, its frozen crop."""

from __future__ import annotations

import cmath
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .face import Box, Detection, Landmarks, landmark_box
from .face_track import FaceTrack, TrackState
from .grey_frame import GreyFrame
from .key_frame import KeyFrame, Similarity
from .scene_flow import CROP_PX, Crop

FACE_PX = 110
"""Width of the face (jaw, landmarks 0-16) on the crop when the crop is chosen."""
RESIZE_RATIO = 0.08
"""The crop's size stays until the face has grown or shrunk by this much."""
CHECK_EVERY = 5
"""Frames between forward-backward checks."""
LOST_SHARE = 0.35
LOST_LIKENESS = 0.5
STEADY_SHARE = 0.8
THIN_SHARE = 0.6
ALIKE = 0.85
TURN_RATIO = 0.08
TURN_RAD = 0.1


def freeze_crop(landmarks: Landmarks, crop: Crop | None, dead_zone_px: int) -> Crop:
    """The crop for these landmarks: the old one while the face stays within the dead zone, else a fresh integer one.

    Args:
        landmarks: (68, 2) color pixels.
        crop: the crop in use, None = choose one.
        dead_zone_px: how far, in crop pixels, the face's centre may be off the crop's centre.
    """
    jaw_x = landmarks[:17, 0]
    width = float(jaw_x.max() - jaw_x.min())
    left, top, across, down = landmark_box(landmarks)
    centre_x, centre_y = left + across / 2, top + down / 2
    size = max(2 * round(width * CROP_PX / FACE_PX / 2), 16)
    if crop is not None:
        if abs(size / crop.size - 1.0) <= RESIZE_RATIO:
            size = crop.size
        off = max(abs(centre_x + 0.5 - crop.x - crop.size / 2), abs(centre_y + 0.5 - crop.y - crop.size / 2))
        if size == crop.size and off * crop.scale <= dead_zone_px:
            return crop
    return Crop(round(centre_x + 0.5 - size / 2), round(centre_y + 0.5 - size / 2), size)


class FollowedFace:
    """A face from its detection on."""

    def __init__(self, track_id: int, found: Detection, grey: GreyFrame, dead_zone_px: int) -> None:
        self.track_id = track_id
        self.landmarks = found.landmarks_px
        self.state: TrackState = "found"
        self.confidence = 1.0
        self.misses = 0
        self.depth_mm = float("nan")
        """Distance of the face when it was last measured without another face near it; NaN = not measured."""
        self.covered = False
        """Whether a nearer face reaches over this one in the present frame."""
        self._anchored = 0j
        self._dead_zone_px = dead_zone_px
        self._frames = 0
        self._key = KeyFrame(grey, found.landmarks_px)
        self._motion = Similarity()
        self.crop = freeze_crop(self.landmarks, None, dead_zone_px)

    @property
    def face_px(self) -> float:
        """Width of the face in color pixels."""
        return max(float(np.ptp(self.landmarks[:17, 0])), 1.0)

    @property
    def centre(self) -> complex:
        """Middle of the face, x + iy in color pixels."""
        x, y = self.landmarks.mean(axis=0)
        return complex(float(x), float(y))

    @property
    def way(self) -> complex:
        """Where the tracker's own steps alone would have brought the centre, x + iy in color pixels: without what
        anchoring anew set right at once, for nothing in the picture moved then."""
        return self.centre - self._anchored

    @property
    def box(self) -> Box:
        """x, y, width, height in color pixels."""
        return landmark_box(self.landmarks)

    @property
    def look(self) -> NDArray[np.float32]:
        """(32, 32) float32: the key frame's face, zero mean and unit spread."""
        return self._key.look

    def likeness(self, grey: GreyFrame) -> float:
        """How much the face looks like its key frame now, -1..1."""
        return self._key.likeness(grey, self._motion)

    def follow(self, grey: GreyFrame) -> bool:
        """Move on to the next frame; False when the face is lost."""
        self._frames += 1
        check = self._frames % CHECK_EVERY == 0
        fix = self._key.locate(grey, self._motion, check)
        if fix is not None and fix.share < STEADY_SHARE and not check:
            check = True
            fix = self._key.locate(grey, fix.motion, check)
        if fix is None or fix.share < LOST_SHARE or not 0.2 < abs(fix.motion.turn) < 5.0:
            return self._lose()
        self._motion, self.confidence, self.state = fix.motion, fix.share, "tracked"
        self.landmarks = fix.motion.move(self._key.landmarks)
        if not self._inside(grey):
            return self._lose()
        self.crop = freeze_crop(self.landmarks, self.crop, self._dead_zone_px)
        return self._renew(grey) if check else True

    def anchor(self, found: Detection, greys: Iterable[GreyFrame]) -> bool:
        """Begin again from a fresh detection of the same face; the crop stays if it can.

        Args:
            found: what was detected.
            greys: the frame it was detected in and all that came since, up to the present one.

        Returns:
            False when the face is lost on the way.
        """
        before, later = self.centre, iter(greys)
        self._key = KeyFrame(next(later), found.landmarks_px)
        self._motion = Similarity()
        self.landmarks = found.landmarks_px
        self.crop = freeze_crop(self.landmarks, self.crop, self._dead_zone_px)
        held = all(self.follow(grey) for grey in later)
        self._anchored += self.centre - before
        return held

    def track(self, flags: tuple[str, ...] = ()) -> FaceTrack:
        """The published noun."""
        return FaceTrack(
            track_id=self.track_id,
            state=self.state,
            landmarks_px=self.landmarks,
            box=self.box,
            crop=self.crop,
            confidence=self.confidence,
            flags=flags,
        )

    def _lose(self) -> bool:
        self.state, self.confidence = "lost", 0.0
        return False

    def _inside(self, grey: GreyFrame) -> bool:
        """Whether three quarters of the landmarks are in the image."""
        left, top, width, height = self.box
        if min(left, top) >= 0 and left + width < grey.shape[1] and top + height < grey.shape[0]:
            return True
        x, y = self.landmarks[:, 0], self.landmarks[:, 1]
        seen = (x >= 0) & (y >= 0) & (x < grey.shape[1]) & (y < grey.shape[0])
        return bool(seen.mean() >= 0.75)

    def _renew(self, grey: GreyFrame) -> bool:
        """Take a new key frame when the face has turned, or its look has changed while all points hold.

        While something covers the face (few points, little likeness) the old key is kept: a new one would hold the
        hand. Flow is untouched by a new key: it knows the crop only, and the landmarks go on from where they are.
        """
        likeness = self._key.likeness(grey, self._motion)
        if likeness < LOST_LIKENESS:
            return self._lose()
        turned = abs(abs(self._motion.turn) - 1.0) > TURN_RATIO or abs(cmath.phase(self._motion.turn)) > TURN_RAD
        changed = likeness < ALIKE and self.confidence >= STEADY_SHARE
        thinned = likeness >= ALIKE and self.confidence < THIN_SHARE
        if turned or changed or thinned:
            self._key = KeyFrame(grey, self.landmarks)
            self._motion = Similarity()
        return True


def lost_track(track: FaceTrack) -> FaceTrack:
    """The last noun of a track: lost, with its death flagged."""
    return replace(track, state="lost", confidence=0.0, flags=("death",))
