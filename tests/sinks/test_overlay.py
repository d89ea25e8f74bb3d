from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest

from sfam.sinks import overlay_text
from sfam.sinks.overlay_palette import (
    ACCENT,
    HEIGHT,
    PANEL,
    REGION,
    STATE_COLORS,
    THRESHOLD,
    VIEW_HEIGHT,
    VIEW_WIDTH,
    WIDTH,
    Picture,
)
from sfam.sinks.overlay_picture import render_overlay
from sfam.sinks.overlay_state import KEPT_EVENTS, KEPT_FRAMES, KEPT_SCORES, OverlayState
from sfam.sinks.overlay_text import Color
from sfam.sinks.overlay_window import display_available, show_overlay
from sfam.sinks.publisher import Publisher
from sfam.sinks.sink_error import SinkError
from sfam.sinks.status import Status
from sfam.sinks.wire import Kind, Stamps, decode, encode_header, topic_of
from sfam.sinks.wire_fields import (
    event_fields,
    face_fields,
    flow_fields,
    flow_payload,
    frame_fields,
    frame_payload,
    score_fields,
    status_fields,
)
from sfam.stream.scene_flow import NoiseFloor
from tests.sinks.session_parts import (
    ANY_PORT,
    CLASSES,
    FRAME_NS,
    event,
    face_track,
    frame_result,
    frame_score,
    rgbd_frame,
    scene_flow,
    session_info,
)
from tests.sinks.waiting import until
from tests.x_server import x_server

ROOT = Path(__file__).resolve().parents[2]
STRIP = np.s_[VIEW_HEIGHT:, :VIEW_WIDTH]
EVENT_LIST = np.s_[250:540, VIEW_WIDTH + 20 : VIEW_WIDTH + 30]
STARTS_WITHIN_S = 120.0
WINDOW = "import sys; from sfam.sinks.overlay_window import show_overlay; show_overlay(sys.argv[1])"


def take(
    state: OverlayState, kind: Kind, fields: dict[str, object], t_ns: int = 0, payload: bytes | None = None
) -> None:
    header = encode_header(kind, "test", "demo", 0, Stamps(t_ns, t_host_ns=0), 8_700_000, fields)
    parts = [topic_of("demo", kind).encode(), header]
    state.take(decode(parts if payload is None else [*parts, payload]))


def running_session(frames: int = 100) -> OverlayState:
    state = OverlayState()
    take(state, "session", session_info().fields("running", {}))
    for number in range(frames):
        take(state, "score", score_fields(frame_result(number), CLASSES), number * FRAME_NS)
        take(state, "face", face_fields(face_track(), number))
    last = rgbd_frame(frames - 1)
    take(state, "frame", frame_fields(last), 0, frame_payload(last.color, 95))
    take(state, "event", event_fields(event(0, "confirmed", 20), CLASSES))
    take(state, "event", event_fields(event(1, "provisional", 60), CLASSES))
    take(state, "status", status_fields(Status(99, 29.9, 100, 99, {"overrun": 1}, faces=1)))
    return state


def count_of(part: Picture, color: Color) -> int:
    return int((np.abs(part.astype(int) - color).max(axis=2) <= 2).sum())


def test_an_empty_session_can_be_drawn() -> None:
    image = render_overlay(OverlayState())
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert count_of(image, PANEL) > 100_000


def test_the_picture_shows_the_frame_with_the_face_boxed() -> None:
    image = render_overlay(running_session())
    inside = image[250, 300]
    np.testing.assert_allclose(inside, (90, 120, 200), atol=14)
    view = image[:VIEW_HEIGHT, :VIEW_WIDTH]
    corner = view[95:125, 195:225]
    assert count_of(corner, ACCENT) > 20
    without = running_session()
    without.faces.clear()
    assert count_of(render_overlay(without)[95:125, 195:225], ACCENT) == 0


@pytest.mark.parametrize(("behind", "drawn"), [(0, True), (2, True), (3, False), (5000, False), (-200, False)])
def test_only_a_face_of_this_frame_or_just_before_is_drawn(behind: int, drawn: bool) -> None:
    state = running_session()
    state.frame += behind
    assert (count_of(render_overlay(state)[:VIEW_HEIGHT, :VIEW_WIDTH], ACCENT) > 0) is drawn


def test_the_analysed_region_is_drawn_dashed_around_the_face() -> None:
    view = render_overlay(running_session())[:VIEW_HEIGHT, :VIEW_WIDTH]
    top, left = 8 * 10, 18 * 10  # of the crop, in a view ten times as large as the frame
    edge = count_of(view[top : top + 1, left : left + 240], REGION)
    assert 100 < edge < 180, "half of the edge"
    without = running_session()
    without.faces.clear()
    assert count_of(render_overlay(without)[top : top + 1, left : left + 240], REGION) == 0
    flow = scene_flow(99)
    take(without, "flow", flow_fields(flow), 0, flow_payload(flow))
    assert count_of(render_overlay(without)[top : top + 1, left : left + 240], REGION) > 100


def test_the_noise_floor_stands_in_the_panel_whether_measured_or_not() -> None:
    line = np.s_[196:214, VIEW_WIDTH + 90 :]
    state = running_session()
    unknown = render_overlay(state)[line]
    assert unknown.shape[0] * unknown.shape[1] - count_of(unknown, PANEL) > 60, "something is written"
    take(state, "status", status_fields(Status(99, 29.9, 100, 99, faces=1, noise=NoiseFloor(0.03, 0.04, 0.4))))
    measured = render_overlay(state)[line]
    assert (measured != unknown).any()
    take(state, "status", status_fields(Status(99, 29.9, 100, 99, faces=1, noise=NoiseFloor(0.03, 0.04))))
    assert (render_overlay(state)[line] != measured).any(), "the depth's part is gone"


def test_motion_is_drawn_where_the_skin_moves() -> None:
    state = running_session()
    before = render_overlay(state)
    flow = dataclasses.replace(scene_flow(99), u=np.zeros((128, 128), np.float32), v=np.zeros((128, 128), np.float32))
    flow.u[64:, 64:] = 1.0
    take(state, "flow", flow_fields(flow), 0, flow_payload(flow))
    changed = np.argwhere((render_overlay(state) != before).any(axis=2))
    left_of_motion = (18 + 12) * 10
    assert len(changed) > 50
    assert changed[:, 1].min() > left_of_motion - 10


def test_the_strip_shows_score_threshold_and_events() -> None:
    strip = render_overlay(running_session())[STRIP]
    assert count_of(strip, ACCENT) > 100
    assert count_of(strip, THRESHOLD) > 100
    plain = running_session()
    plain.events.clear()
    assert (render_overlay(plain)[STRIP] != strip).any(axis=2).sum() > 500


def test_no_line_bridges_a_gap_in_the_score() -> None:
    state = OverlayState()
    for number in range(100):
        found = frame_result(20)
        score = None if 30 <= number < 60 else dataclasses.replace(frame_score(number), spot=0.5)
        state.scores.append(dataclasses.replace(found, frame=number, t_capture_ns=number * FRAME_NS, score=score))
    columns = (np.abs(render_overlay(state)[STRIP].astype(int) - ACCENT).max(axis=2) <= 2).any(axis=0)
    drawn = np.flatnonzero(columns)
    assert np.diff(drawn).max() > 30


def test_the_list_shows_each_event_in_the_color_of_its_state() -> None:
    state = running_session()
    image = render_overlay(state)[EVENT_LIST]
    assert count_of(image, STATE_COLORS["confirmed"]) > 50
    assert count_of(image, STATE_COLORS["provisional"]) > 50
    take(state, "event", event_fields(event(1, "withdrawn", 60), CLASSES))
    image = render_overlay(state)[EVENT_LIST]
    assert count_of(image, STATE_COLORS["provisional"]) == 0
    assert count_of(image, STATE_COLORS["withdrawn"]) > 50


def test_a_silent_bus_is_said_in_the_picture() -> None:
    state = running_session()
    before = render_overlay(state)
    state.silent_s = 4.0
    assert (render_overlay(state)[:36, :VIEW_WIDTH] != before[:36, :VIEW_WIDTH]).any()


def test_a_long_session_keeps_a_bounded_state() -> None:
    state = running_session(2 * KEPT_SCORES)
    for number in range(3 * KEPT_EVENTS):
        take(state, "event", event_fields(event(number), CLASSES))
    assert (len(state.scores), len(state.events), len(state.faces)) == (KEPT_SCORES, KEPT_EVENTS, KEPT_FRAMES)


def test_images_of_any_shape_fit() -> None:
    for shape in ((1080, 1920), (480, 848), (640, 480), (100, 100)):
        state = running_session()
        state.picture = np.full((*shape, 3), 200, np.uint8)
        assert render_overlay(state).shape == (HEIGHT, WIDTH, 3)


def test_the_stroke_font_of_older_opencv_serves_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay_text, "_scalable_font", lambda: None)
    assert overlay_text.text_width("Not a lie detector", 12) > 50
    image = render_overlay(running_session())
    assert (image[HEIGHT - 40 : HEIGHT - 10, VIEW_WIDTH + 20 :] != np.array(PANEL)).any()


@pytest.mark.parametrize("display", ["", "nonsense", ":97531", "localhost:9753", "unix:97531", ":x"])
def test_a_display_that_does_not_answer_is_not_available(display: str) -> None:
    assert not display_available({"DISPLAY": display}, "linux")


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_other_systems_always_have_a_display(platform: str) -> None:
    assert display_available({}, platform)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_without_display_the_window_is_refused_and_nothing_aborts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(SinkError, match=r"no display answers.*--overlay none"):
        show_overlay("tcp://127.0.0.1:9")


@pytest.fixture
def x_display() -> Iterator[str]:
    with x_server("xdotool") as display:
        yield display


def xdotool(display: str, *arguments: str) -> list[str]:
    """What xdotool prints; nothing where a window came or went while it looked."""
    environment = {**os.environ, "DISPLAY": display}
    found = subprocess.run(["xdotool", *arguments], env=environment, capture_output=True, text=True, check=False)
    return found.stdout.split()


@contextmanager
def speaking(publisher: Publisher) -> Iterator[None]:
    """A session that publishes until it is left, so that a window sees it however late it subscribes."""
    leaving = threading.Event()

    def speak() -> None:
        for number in count():
            if leaving.wait(0.02):
                return
            frame = rgbd_frame(number)
            publisher.publish("score", score_fields(frame_result(number), CLASSES), Stamps.of(frame))
            publisher.publish("frame", frame_fields(frame), Stamps.of(frame), frame_payload(frame.color))

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        yield
    finally:
        leaving.set()
        speaker.join()


@pytest.mark.slow  # starts an X server and a process with a real window
@pytest.mark.parametrize("way", ["the session ends", "a key is pressed"])
def test_the_real_window_opens_and_closes_cleanly(x_display: str, way: str) -> None:
    environment = {**os.environ, "DISPLAY": x_display}
    assert display_available(environment, "linux")
    with Publisher(ANY_PORT, session_info()) as publisher:
        command = [sys.executable, "-c", WINDOW, publisher.address]
        with subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True) as window:

            def opened() -> list[str]:
                assert window.poll() is None, f"the window's process ended: {window.communicate()[1]}"
                return xdotool(x_display, "search", "--name", "sfam-live")

            def closed() -> bool:
                for found in xdotool(x_display, "search", "--name", "sfam-live"):
                    xdotool(x_display, "windowfocus", found, "key", "--window", found, "q")
                return window.poll() is not None

            with speaking(publisher):
                until(lambda: opened() and publisher.wants("frame"), "the window and its subscription", STARTS_WITHIN_S)
                if way == "a key is pressed":
                    # Pressed again until it is heard: a window that has no focus yet loses it.
                    until(closed, "the end of the window's process", 60)
            publisher.close()
            _, said = window.communicate(timeout=60)
    assert window.returncode == 0, said
    assert "Traceback" not in said


def test_drawing_never_touches_the_window_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("highgui was touched")

    for name in ("imshow", "namedWindow", "waitKey", "destroyAllWindows"):
        monkeypatch.setattr(cv2, name, refuse)
    render_overlay(running_session())
