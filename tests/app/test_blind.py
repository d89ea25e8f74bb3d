from __future__ import annotations

import csv
import dataclasses
import io
import threading
from pathlib import Path

import numpy as np
import pytest

from sfam.app.status_line import StatusLine
from sfam.sinks.blind import BLIND
from sfam.sinks.overlay_palette import HEIGHT, PANEL, VIEW_WIDTH
from sfam.sinks.overlay_picture import render_overlay
from sfam.sinks.overlay_state import OverlayState
from sfam.sinks.subscriber import subscribe
from sfam.sinks.wire import Kind, Message, Stamps, decode, encode_header, topic_of
from sfam.sinks.wire_fields import event_fields
from tests.app.command import run
from tests.sinks.session_parts import CLASSES, event, session_info
from tests.sinks.waiting import until

KINDS: tuple[Kind, ...] = ("session", "score", "event", "status", "face", "frame", "flow")
LISTED = np.s_[225 : HEIGHT - 50, VIEW_WIDTH + 1 :]


@pytest.mark.slow  # a session of 14 s of the demo, as fast as it goes
def test_a_blind_session_keeps_results_in_its_files_only(tmp_path: Path) -> None:
    folder, address = tmp_path / "session", "tcp://127.0.0.1:5597"
    heard: list[Message] = []
    stop = threading.Event()
    reader = threading.Thread(
        target=lambda: heard.extend(subscribe(address, KINDS, running=lambda: not stop.is_set())), daemon=True
    )
    reader.start()
    arguments = ["--camera", "demo", "--speed", "max", "--policy", "lossless", "--duration", "14", "--blind"]
    arguments += ["--privacy", "flow", "--publish", address, "--out", str(folder), "--single-process"]
    done = run("sfam-live", *arguments)
    assert done.returncode == 0, done.stderr
    until(lambda: any(one.kind == "session" and one.header["state"] == "ended" for one in heard), "the goodbye")
    stop.set()
    reader.join()
    with open(folder / "events.csv", newline="") as table:
        events = list(csv.DictReader(table))
    with open(folder / "scores.csv", newline="") as table:
        stored = [row for row in csv.DictReader(table) if row["spot"]]
    assert events, "the demo has events, and its files say so"
    assert len(stored) > 100

    scores = [message.header for message in heard if message.kind == "score"]
    assert len(scores) > 100
    assert all(header["spot"] is None and header["emotion"] == {} and header["flags"] == [] for header in scores)
    assert any(header["cause"] == BLIND and header["success"] for header in scores)
    assert {message.kind for message in heard}.isdisjoint({"event", "flow"})
    sessions = [message.header for message in heard if message.kind == "session"]
    assert sessions[-1]["state"] == "ended"
    assert all(header["blind"] and "events" not in header["counters"] for header in sessions)
    said = done.stdout + done.stderr
    assert "micro #" not in said
    assert "macro #" not in said
    assert "confirmed" not in said


def test_the_terminal_line_of_a_blind_session_has_neither_score_nor_events() -> None:
    stream = io.StringIO()
    StatusLine(stream=stream).show({"frame": 9, "fps": 30.0, "spot": None, "events": None}, 10.0)
    assert "blind" in stream.getvalue()
    assert "score" not in stream.getvalue()
    assert "events" not in stream.getvalue()


@pytest.mark.parametrize("blind", [True, False])
def test_the_window_of_a_blind_session_shows_no_events(blind: bool) -> None:
    state = OverlayState()
    info = dataclasses.replace(session_info(), blind=blind)
    said: tuple[tuple[Kind, dict[str, object]], ...] = (
        ("session", info.fields("running", {})),
        ("event", event_fields(event(), CLASSES)),
    )
    for kind, fields in said:
        state.take(
            decode([topic_of("demo", kind).encode(), encode_header(kind, "test", "demo", 0, Stamps(), 0, fields)])
        )
    listed = render_overlay(state)[LISTED]
    assert bool((listed == PANEL).all()) == blind
