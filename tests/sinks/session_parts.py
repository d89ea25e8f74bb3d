"""Nouns that sink tests send through real sockets and files."""

from __future__ import annotations

import numpy as np

from sfam.capture.clock import SessionClock
from sfam.capture.frame import Intrinsics, RGBDFrame
from sfam.engine.events import Event, EventKind, EventState, Moment, Score
from sfam.sinks.frame_result import FrameResult
from sfam.sinks.session_info import SessionInfo
from sfam.stream.face_track import FaceTrack
from sfam.stream.scene_flow import Crop, HeadMotion, NoiseFloor, SceneFlow

CLASSES = ("negative", "positive", "surprise", "others", "neutral")
PROBABILITIES = (0.1, 0.6, 0.15, 0.1, 0.05)
FRAME_NS = 33_333_333
ANY_PORT = "tcp://127.0.0.1:*"


def session_info(session: str = "test", camera: str = "demo") -> SessionInfo:
    return SessionInfo(
        session=session,
        camera=camera,
        classes=CLASSES,
        subject="s01",
        video="face, a",
        source="demo",
        threshold=0.5,
        model={"name": "synthetic-4", "limits": ["not evaluated on any real face"]},
        clock=SessionClock(1_000, 1_700_000_000_000_000_000),
    )


def rgbd_frame(number: int) -> RGBDFrame:
    color = np.full((48, 64, 3), 40, np.uint8)
    color[10:30, 20:40] = (200, 120, 90)
    return RGBDFrame.from_arrays(
        color,
        np.full((48, 64), 600, np.uint16),
        Intrinsics(64, 48, 60.0, 60.0, 32.0, 24.0),
        number * FRAME_NS,
        sequence=number,
    )


def face_track() -> FaceTrack:
    points = np.stack([np.linspace(20, 40, 68), np.linspace(10, 30, 68)], axis=1).astype(np.float32)
    return FaceTrack(0, "tracked", points, (20.0, 10.0, 20.0, 20.0), Crop(18, 8, 24), 0.97)


def frame_score(number: int) -> Score:
    return Score(
        frame=number,
        t_capture_ns=number * FRAME_NS,
        spot=0.5 + 0.4 * float(np.sin(number / 5)),
        emotion=PROBABILITIES,
        from_frame=number - 6,
        t_from_ns=(number - 6) * FRAME_NS,
        flags=("blink",) if number % 50 == 0 else (),
        model_id="synthetic-4",
    )


def frame_result(number: int) -> FrameResult:
    """Every 10th frame dropped, every 7th without face, the first six without window."""
    t_ns = number * FRAME_NS
    if number % 10 == 9:
        return FrameResult.dropped(number, "overrun", t_ns)
    if number % 7 == 5:
        return FrameResult(number, t_ns, t_ns, cause="no_face")
    if number < 6:
        return FrameResult(number, t_ns, t_ns, confidence=0.97, success=True, cause="too_early", box=(1, 2, 30, 40))
    return FrameResult(
        frame=number,
        t_capture_ns=t_ns,
        t_device_ns=t_ns + 5,
        confidence=0.97,
        success=True,
        box=(20.0, 10.0, 20.0, 20.0),
        score=frame_score(number),
        head_motion=HeadMotion((0.001, -0.002, 0.0), (0.1, 0.2, -0.3), (4.0, 12.5, 603.0)),
        noise=NoiseFloor(0.02, 0.03, 0.4),
        residual_grey=2.5,
        depth_valid_share=0.96,
    )


def event(number: int = 0, state: EventState = "confirmed", onset: int = 10, kind: EventKind = "micro") -> Event:
    return Event(
        id=number,
        kind=kind,
        state=state,
        onset=Moment(onset, onset * FRAME_NS),
        apex=Moment(onset + 5, (onset + 5) * FRAME_NS),
        offset=Moment(onset + 11, (onset + 11) * FRAME_NS),
        emotion="positive",
        probabilities=PROBABILITIES,
        score=0.91,
        decision_delay_ms=166.7,
        model_id="synthetic-4",
        flags=("blink",),
    )


def scene_flow(number: int) -> SceneFlow:
    row, column = np.mgrid[0:128, 0:128].astype(np.float32) / 128
    valid = np.ones((128, 128), bool)
    valid[:4] = False
    w = np.where(valid, column * 0.5, 0.0).astype(np.float32)
    return SceneFlow(
        0, number - 6, number, (number - 6) * FRAME_NS, number * FRAME_NS, column, row, w, valid, Crop(18, 8, 24)
    )
