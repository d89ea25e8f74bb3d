"""Real frames one window apart with a face at rest, cut as the session cuts them: what the self-test measures on."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import RGBDFrame
from sfam.capture.region_align import RegionAligner
from sfam.stream.config import StreamConfig
from sfam.stream.face_motion import crop_camera
from sfam.stream.face_track import FaceTrack
from sfam.stream.flow_window import FlowWindow
from sfam.stream.head_motion import CropCamera
from sfam.stream.past_frames import cut_depth, depth_region, grey_region, mean_depth, region_box
from sfam.stream.roi import to_crop
from sfam.stream.scene_flow import CROP_PX, Crop, FloatMap

RESTLESS = frozenset(("blink", "speech", "head_motion", "gap"))
DEPTH_LEFT_OUT = ("noisy_depth", "no_depth")
"""Flags of windows whose w the session sets to 0."""
APART = 3
"""Frames between two pairs at least; as many as are averaged, so that no two share a frame's noise at the same end."""
HELD_WINDOWS = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two real frames one window apart, cut for one crop."""

    crop: Crop
    camera: CropCamera
    shift_px: tuple[float, float]
    """How far the tracker saw the face go, px of the crop: where flow begins."""
    first_grey: NDArray[np.uint8]
    """Region of the color image, see `region_box`."""
    second_grey: NDArray[np.uint8]
    first_mm: FloatMap
    """(128, 128) depth of the crop, averaged over `depth_mean_frames` as in the session."""
    second_mm: FloatMap
    landmarks: NDArray[np.float32]
    """(68, 2) px of the crop."""
    light_grey: float
    """Mean of the face's box."""
    face_px: float
    depth_left_out: str
    """Of `DEPTH_LEFT_OUT`, '' = the session counted w here."""


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A frame and where each face was in it."""

    frame: RGBDFrame
    centres: dict[int, complex]
    """x + iy by track id, color pixels."""


class PairCollector:
    """Finds pairs while frames go by; the frames themselves are held for a window and a half.

    Args:
        config: stream settings of the session.
        wanted: how many pairs.
    """

    def __init__(self, config: StreamConfig, wanted: int) -> None:
        self._config = config
        self._wanted = wanted
        self._held_ns = round(HELD_WINDOWS * config.window_ms * 1e6)
        self._held: deque[_Held] = deque()
        self._aligner: RegionAligner | None = None
        self._apart = max(APART, config.depth_mean_frames)
        self._last = -self._apart
        self.pairs: list[Pair] = []

    @property
    def ready(self) -> bool:
        """Whether enough pairs are there."""
        return len(self.pairs) >= self._wanted

    def push(self, frame: RGBDFrame, windows: Sequence[FlowWindow], tracks: Sequence[FaceTrack]) -> None:
        """Take what the analysis made of a frame; frames come in order."""
        if self.ready:
            self._held.clear()
            return
        self._hold(frame, tracks)
        for window, track in ((w, t) for w in windows[:1] for t in tracks if t.track_id == w.track_id):
            if RESTLESS.intersection(window.flags) or window.frame < self._last + self._apart:
                continue
            begin = next((i for i, held in enumerate(self._held) if held.frame.sequence == window.from_frame), None)
            pair = None if begin is None else self._pair(begin, track, window)
            if pair is not None:
                self.pairs.append(pair)
                self._last = window.frame

    def _hold(self, frame: RGBDFrame, tracks: Sequence[FaceTrack]) -> None:
        """Keep a frame, and let go what no window begins at and no mean depth needs any more."""
        held, earlier = self._held, self._config.depth_mean_frames - 1
        if held and frame.t_capture_ns == held[-1].frame.t_capture_ns:
            return
        if held and frame.t_capture_ns < held[-1].frame.t_capture_ns:
            held.clear()
        centres = {t.track_id: complex(*t.landmarks_px.mean(axis=0).tolist()) for t in tracks if t.state != "lost"}
        held.append(_Held(frame, centres))
        while len(held) > earlier and frame.t_capture_ns - held[earlier].frame.t_capture_ns > self._held_ns:
            held.popleft()

    def _pair(self, begin: int, track: FaceTrack, window: FlowWindow) -> Pair | None:
        """What a trial needs of two frames, independent of them; None where landmarks were set right in between."""
        first, second = self._held[begin], self._held[-1]
        crop, box = track.crop, region_box(track.crop)
        shift = (second.centres[track.track_id] - first.centres.get(track.track_id, complex("nan"))) * crop.scale
        if not abs(shift) <= self._config.head_motion_flag_px:
            return None
        greys = [
            grey_region(np.asarray(cv2.cvtColor(held.frame.color, cv2.COLOR_RGB2GRAY), np.uint8), box)
            for held in (first, second)
        ]
        x, y, width, height = (int(value) for value in track.box)
        left_out = [flag for flag in DEPTH_LEFT_OUT if flag in window.flags]
        return Pair(
            crop=crop,
            camera=crop_camera(first.frame.calibration.color, crop),
            shift_px=(shift.real, shift.imag),
            first_grey=greys[0],
            second_grey=greys[1],
            first_mm=self._depth_mm(begin, track.track_id, crop),
            second_mm=self._depth_mm(len(self._held) - 1, track.track_id, crop),
            landmarks=to_crop(track.landmarks_px, crop),
            light_grey=float(first.frame.color[max(y, 0) : y + height, max(x, 0) : x + width].mean()),
            face_px=float(np.ptp(track.landmarks_px[:17, 0])),
            depth_left_out=left_out[0] if left_out else "",
        )

    def _depth_mm(self, index: int, track_id: int, crop: Crop) -> FloatMap:
        """Depth of an end of the window: the mean over its frame and those before it, as configured."""
        earlier = islice(self._held, max(index - self._config.depth_mean_frames + 1, 0), index + 1)
        return mean_depth([self._cut_depth(held.frame, crop) for held in earlier if track_id in held.centres])

    def _cut_depth(self, frame: RGBDFrame, crop: Crop) -> FloatMap:
        if frame.depth_missing:
            return np.zeros((CROP_PX, CROP_PX), np.float32)
        box = (crop.x, crop.y, crop.size, crop.size)
        if frame.calibration.depth_aligned:
            depth = depth_region(frame.depth, box)
        else:
            self._aligner = self._aligner or RegionAligner(frame.calibration, frame.depth_scale_m)
            depth = self._aligner.align(frame.depth, box)
        return cut_depth(depth, 0, 0, crop.size, frame.depth_scale_m)
