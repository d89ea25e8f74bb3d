"""Frames in, flow windows out: the same code live, in a replay and in training.

Deterministic: nothing here depends on load or on wall time. A detection takes effect a fixed number of frames after its
frame; everything else is a function of the frames pushed so far. `stage_ns` alone is wall time, for statistics.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sfam.capture.frame import Calibration, ColorImage, RGBDFrame
from sfam.capture.region_align import RegionAligner

from .config import StreamConfig
from .face import FaceDetector, Landmarks, open_detector
from .face_follower import FollowedFace
from .face_motion import FaceMotion, Motion
from .face_track import FaceTrack
from .face_watch import FaceWatch
from .flow import open_flow
from .flow_window import FlowWindow
from .grey_frame import GreyFrame
from .past_frames import DepthRegion, depth_box, depth_region
from .scene_flow import SceneFlow
from .window import FramePeriod

FACE_FLAGS = ("blink", "speech")
"""Flags of a window that are also told of its face."""
FULL_SCALE = 65535
"""The most that a depth pixel can hold is no distance of a face, but what an overexposed sensor or a damaged file
leaves: a hole."""
STAGES = ("face", "align", "flow", "depth", "head_motion", "window")


class Analysis:
    """Follows faces and measures their motion, frame by frame.

    Args:
        config: settings of this room.
        fps_hint: frame rate to assume before frame times tell.
        detector: finds faces; default is the configured one, opened here.

    Raises:
        FaceError: the face backend cannot be opened.
    """

    def __init__(
        self, config: StreamConfig, fps_hint: float | None = None, *, detector: FaceDetector | None = None
    ) -> None:
        self._config = config
        self._fps_hint = fps_hint
        self._detector = detector or open_detector(config.face)
        self._ends_detector = detector is None
        self._watch = FaceWatch(config, self._detector, self._face_depth)
        self._solver = open_flow(config.flow)
        self._calibration: Calibration | None = None
        self._aligner: RegionAligner | None = None
        self._motions: dict[int, FaceMotion] = {}
        self.withheld: Counter[str] = Counter()
        """Frames without a window so far, counted by cause."""
        self.reset()

    def reset(self) -> None:
        """Begin a new stream: forget faces, past frames and noise floors; track ids go on."""
        self._watch.reset()
        self._period = FramePeriod(self._fps_hint)
        self._motions.clear()
        self._last: RGBDFrame | None = None
        self._last_color: ColorImage | None = None
        self._tracks: tuple[FaceTrack, ...] = ()
        self._flows: tuple[SceneFlow, ...] = ()
        self._causes: dict[int, str] = {}
        self._cause = "warm_up"
        self._stage_ns: dict[str, int] = dict.fromkeys(STAGES, 0)

    def close(self) -> None:
        """End the detection thread, and a detector that was opened here; safe to call twice."""
        self._watch.close()
        if self._ends_detector:
            self._detector.close()

    @property
    def tracks(self) -> tuple[FaceTrack, ...]:
        """Faces at the last pushed frame; one that ended with it comes once more, as lost."""
        return self._tracks

    @property
    def scene_flows(self) -> tuple[SceneFlow, ...]:
        """Scene flows that ended at the last pushed frame."""
        return self._flows

    @property
    def cause(self) -> str:
        """Why the last frame gave no window at all, '' when it gave one.

        detecting: a first detection is under way; no_face: there is none; warm_up: the face is not known for a whole
        window yet; gap: frames are missing; moved: the face jumped; covered: another face reaches over it; saturated:
        brows or mouth are overexposed; duplicate: same stamp as the frame before; frozen: same image as the frame
        before; time_backwards: stamp before the last one, windows begin anew.
        """
        return self._cause

    @property
    def causes(self) -> Mapping[int, str]:
        """The same for each track at the last pushed frame."""
        return self._causes

    @property
    def stage_ns(self) -> dict[str, int]:
        """Wall time of each stage of the last push, ns."""
        return self._stage_ns

    def push(self, frame: RGBDFrame) -> list[FlowWindow]:
        """Take the next frame; the windows that end at it, one per face at most.

        Anything may come: holes, frozen or repeated frames, gaps, a new resolution. Where there is no window `cause`
        says why.
        """
        self._stage_ns = dict.fromkeys(STAGES, 0)
        self._flows, self._causes = (), {}
        windows: list[FlowWindow] = []
        self._cause = self._order(frame)
        if self._cause == "duplicate":
            self._tracks = tuple(replace(track, flags=()) for track in self._tracks if track.state != "lost")
            self._causes = {track.track_id: "duplicate" for track in self._tracks}
        else:
            cause = self._analyse(frame, windows)
            self._cause = self._cause or cause
        if not windows:
            self.withheld[self._cause] += 1
        return windows

    def flow_between(self, track_id: int, frame_a: int, frame_b: int) -> SceneFlow | None:
        """Direct flow of a face from one past frame to another, head motion removed.

        Args:
            track_id: a face that is followed now, or was until less than `buffer_s` ago.
            frame_a: `sequence` of the first frame; may also be the later one.
            frame_b: `sequence` of the second frame.

        Returns:
            The flow on the face's last crop, None when a frame is no longer (or was never) held for this face:
            the last `buffer_s` seconds are, since the face was found and within one segment.
        """
        motion = self._motions.get(track_id)
        return None if motion is None else motion.between(frame_a, frame_b)

    def _order(self, frame: RGBDFrame) -> str:
        """Put the frame in time; names what is wrong with it, '' = nothing."""
        last, self._last = self._last, frame
        if last is None:
            return ""
        if frame.color.shape != last.color.shape or frame.calibration != last.calibration:
            self._watch.reset()
            self._motions.clear()
        elif frame.segment != last.segment:
            self._restart_motion()
        elif frame.t_capture_ns < last.t_capture_ns:
            self._restart_motion()
            return "time_backwards"
        elif frame.t_capture_ns == last.t_capture_ns:
            self._last = last
            return "duplicate"
        else:
            self._period.push(frame.t_capture_ns - last.t_capture_ns, frame.dropped_before)
        return ""

    def _restart_motion(self) -> None:
        for motion in self._motions.values():
            motion.restart()

    def _analyse(self, frame: RGBDFrame, windows: list[FlowWindow]) -> str:
        """Faces, then the motion of each; returns why there is no window."""
        started = time.perf_counter_ns()
        grey = self._watch.push(frame.color, frame.t_capture_ns)
        self._stage_ns["face"] = time.perf_counter_ns() - started
        self._tracks = self._watch.tracks
        frozen = self._frozen(frame.color)
        followed = {face.track_id for face in self._watch.faces}
        self._forget_lost(followed, frame.t_capture_ns)
        if not followed:
            return "detecting" if self._watch.undecided else "no_face"
        if frozen:
            self._causes = dict.fromkeys(followed, "frozen")
            return "frozen"
        motions = [self._measure(frame, grey, face) for face in self._watch.faces]
        self._causes = {face.track_id: m.cause for face, m in zip(self._watch.faces, motions, strict=True)}
        self._flows = tuple(m.flow for m in motions if m.flow is not None)
        windows += [m.window for m in motions if m.window is not None]
        seen = {window.track_id: tuple(flag for flag in window.flags if flag in FACE_FLAGS) for window in windows}
        self._tracks = tuple(replace(track, flags=track.flags + seen.get(track.track_id, ())) for track in self._tracks)
        return "" if windows else motions[0].cause

    def _forget_lost(self, followed: set[int], t_ns: int) -> None:
        """Drop the past of faces that were lost longer ago than the buffer reaches."""
        for track_id, motion in list(self._motions.items()):
            if track_id not in followed and abs(t_ns - motion.t_ns) > self._config.buffer_s * 1e9:
                del self._motions[track_id]

    def _measure(self, frame: RGBDFrame, grey: GreyFrame, face: FollowedFace) -> Motion:
        """Motion of one face in this frame."""
        started = time.perf_counter_ns()
        depth = self._align(frame, depth_box(face.crop))
        self._stage_ns["align"] += time.perf_counter_ns() - started
        motion = self._motions.get(face.track_id)
        if motion is None:
            motion = self._motions[face.track_id] = FaceMotion(face.track_id, self._config, self._solver)
        if face.covered:
            motion.restart()
            return Motion(cause="covered")
        result = motion.push(frame, grey, face, depth, self._period.ns)
        for stage, spent in motion.stage_ns.items():
            self._stage_ns[stage] += spent
        return result

    def _align(self, frame: RGBDFrame, box: tuple[int, int, int, int]) -> DepthRegion:
        """Depth of a box of the color image, a copy."""
        if frame.depth_missing:
            return np.zeros((box[3], box[2]), dtype=np.uint16)
        if frame.calibration.depth_aligned:
            depth = depth_region(frame.depth, box)
        else:
            if self._aligner is None or self._calibration != frame.calibration:
                self._aligner = RegionAligner(frame.calibration, frame.depth_scale_m)
                self._calibration = frame.calibration
            depth = self._aligner.align(frame.depth, box)
        depth[depth == FULL_SCALE] = 0
        return depth

    def _face_depth(self, landmarks: Landmarks) -> float:
        """Distance of a face in the present frame: median depth about its nose, mm; NaN where most of it is a hole."""
        assert self._last is not None
        low, high = landmarks[27:36].min(axis=0), landmarks[27:36].max(axis=0)
        size = max(int((high - low).max()), 8)
        corner = (low + high - size) / 2
        depth = self._align(self._last, (int(corner[0]), int(corner[1]), size, size))
        known = depth[depth > 0]
        if 4 * len(known) < depth.size:
            return float("nan")
        return float(np.median(known)) * 1000.0 * self._last.depth_scale_m

    def _frozen(self, color: ColorImage) -> bool:
        """Whether the camera repeats its last image; a window ending at a repetition would be old news as new."""
        last, self._last_color = self._last_color, color
        if last is None or last.shape != color.shape:
            return False
        middle = color.shape[0] // 2
        return np.array_equal(last[middle], color[middle]) and np.array_equal(last, color)
