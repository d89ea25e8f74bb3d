"""What one captured frame says of one face: a row of scores.csv and a `score` message."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import RGBDFrame
from sfam.engine.events import Score
from sfam.stream.face_track import FaceTrack
from sfam.stream.flow_window import FlowWindow
from sfam.stream.scene_flow import HeadMotion, NoiseFloor


@dataclass(frozen=True, slots=True)
class FrameResult:
    """One captured frame and one face in it; a frame without face, or dropped, has one too, with its cause."""

    frame: int
    t_capture_ns: int | None
    """None where a frame was dropped before its stamp was read."""
    t_device_ns: int | None = None
    face_id: int = 0
    confidence: float = 0.0
    """0..1, of the face tracker."""
    success: bool = False
    """True when a face was followed in this frame."""
    cause: str = ""
    """Why there is no face or no score, empty when there is one."""
    box: tuple[float, float, float, float] | None = None
    """x, y, width, height in color pixels."""
    score: Score | None = None
    head_motion: HeadMotion | None = None
    """Over the score's window."""
    noise: NoiseFloor = field(default_factory=NoiseFloor)
    residual_grey: float = float("nan")
    depth_valid_share: float = float("nan")
    missing_ns: int = 0
    """Dropped time inside the score's window."""
    landmarks_px: NDArray[np.float32] | None = field(default=None, compare=False)
    """(68, 2) float32, color pixels; only kept where a session is asked to."""

    @classmethod
    def of(
        cls,
        frame: RGBDFrame,
        face: FaceTrack | None = None,
        window: FlowWindow | None = None,
        score: Score | None = None,
        cause: str = "",
    ) -> FrameResult:
        """The result of an analysed frame from what the stages made of it; leave out what they did not make."""
        tracked = face is not None and face.state != "lost"
        return cls(
            frame=frame.sequence,
            t_capture_ns=frame.t_capture_ns,
            t_device_ns=frame.t_device_ns,
            face_id=0 if face is None else face.track_id,
            confidence=0.0 if face is None else face.confidence,
            success=tracked,
            cause=cause or ("" if tracked else "no_face"),
            box=face.box if face is not None and tracked else None,
            score=score,
            head_motion=None if window is None else window.head_motion,
            noise=NoiseFloor() if window is None else window.noise,
            residual_grey=float("nan") if window is None else window.residual_grey,
            depth_valid_share=float("nan") if window is None else window.depth_valid_share,
            missing_ns=0 if window is None else window.missing_ns,
            landmarks_px=face.landmarks_px if face is not None and tracked else None,
        )

    @classmethod
    def dropped(
        cls, frame: int, cause: str, t_capture_ns: int | None = None, t_device_ns: int | None = None
    ) -> FrameResult:
        """The result of a captured frame that was never analysed."""
        return cls(frame=frame, t_capture_ns=t_capture_ns, t_device_ns=t_device_ns, cause=cause)
