from __future__ import annotations

import numpy as np

from sfam.sinks.overlay_cameras import OverlayCameras
from sfam.sinks.overlay_palette import MUTED, VIEW_WIDTH
from sfam.sinks.overlay_picture import render_overlay
from sfam.sinks.wire import Kind, Message, Stamps, decode, encode_header, topic_of
from sfam.sinks.wire_fields import frame_fields, frame_payload, score_fields
from tests.sinks.session_parts import CLASSES, frame_result, rgbd_frame, session_info
from tests.sinks.test_overlay import count_of


def message(camera: str, kind: Kind, fields: dict[str, object], payload: bytes | None = None) -> Message:
    header = encode_header(kind, "test", camera, 0, Stamps(0, t_host_ns=0), 8_700_000, fields)
    parts = [topic_of(camera, kind).encode(), header]
    return decode(parts if payload is None else [*parts, payload])


def test_of_several_cameras_the_one_whose_key_is_pressed_is_shown() -> None:
    now_s = [0.0]
    cameras = OverlayCameras(dict, lambda: now_s[0])
    assert cameras.shown().header == {}
    for number, name in enumerate(("left", "right")):
        cameras.take(message(name, "session", session_info(camera=name).fields("running", {})))
        cameras.take(message(name, "score", score_fields(frame_result(6 + number), CLASSES)))
    frame = rgbd_frame(3)
    for name in ("left", "right"):
        cameras.take(message(name, "frame", frame_fields(frame), frame_payload(frame.color)))
    seen = {}
    for key, name in ((0xFF, "left"), (ord("2"), "right"), (ord("3"), "right"), (ord("\t"), "left"), (9, "right")):
        cameras.press(key)
        state = cameras.shown()
        assert state.header["camera"] == name
        assert len(state.scores) == 1, "scores of the other camera"
        seen[name] = (state.picture is None, render_overlay(state, cameras.names))
    assert (seen["left"][0], seen["right"][0]) == (False, True), "only the shown camera's pictures are unpacked"
    choice = np.s_[70:86, VIEW_WIDTH + 20 :]
    assert (seen["left"][1][choice] != seen["right"][1][choice]).any(), "which one is shown"
    assert count_of(render_overlay(state)[choice], MUTED) == 0, "nothing to choose where there is but one"
    now_s[0] = 5.0
    cameras.take(message("right", "score", score_fields(frame_result(8), CLASSES)))
    assert cameras.shown().silent_s == 0.0
    cameras.press(ord("1"))
    assert cameras.shown().silent_s == 5.0
