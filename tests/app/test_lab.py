"""A session among a lab's other programs: results out to LSL, trial markers in from LSL and ZeroMQ."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from sfam.capture.marker_file import MARKERS_FILE, read_markers
from tests.app.command import run, start
from tests.app.test_cli_bus import free_port
from tests.lsl_lab import marker_program, require_lsl

PATIENCE_S = 90.0


@contextmanager
def sending(send: Callable[[str], object]) -> Iterator[None]:
    """Trials of 0.3 s, one after the other, while the session runs."""
    over = threading.Event()

    def run_trials() -> None:
        number = 0
        while not over.wait(0.3):
            send(json.dumps({"trial": number, "condition": ("rest", "film")[number % 2]}))
            number += 1

    trials = threading.Thread(target=run_trials, daemon=True)
    trials.start()
    try:
        yield
    finally:
        over.set()
        trials.join()


def check_trials(out: Path, source: str) -> list[dict[str, Any]]:
    """Events belong to the trial that ran at their onset; all their states: few or none on a machine that is too busy
    to look at more than some frames."""
    markers = sorted(read_markers(out / MARKERS_FILE), key=lambda marker: marker.t_capture_ns)
    assert len(markers) > 1
    assert {marker.source for marker in markers} == {source}
    states = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    tagged = 0
    for state in states:
        running = [marker for marker in markers if marker.t_capture_ns <= state["onset"]["t_capture_ns"]]
        # The newest marker may still have been on its way when this state was told.
        known = {("", ""), *((marker.trial, marker.condition) for marker in running[-2:])}
        assert (state["trial"], state["condition"]) in known
        tagged += bool(state["trial"])
    assert tagged or not any(state["onset"]["t_capture_ns"] > markers[1].t_capture_ns for state in states)
    return states


@pytest.mark.slow  # a live session of some seconds
def test_a_live_session_speaks_lsl_both_ways(tmp_path: Path) -> None:
    require_lsl()
    import pylsl

    out = tmp_path / "session"
    with marker_program("stimuli", "stable") as program, sending(program.send):
        live = start("sfam-live", "--camera", "demo", "--duration", "8", "--out", out, "--lsl", "--markers",
                     "lsl:stimuli", "--publish", f"tcp://127.0.0.1:{free_port()}")  # fmt: skip
        try:
            streams = pylsl.resolve_byprop("name", "sfam-demo-scores", 1, PATIENCE_S)
            scores = pylsl.StreamInlet(streams[0], recover=False)
            frames: list[int] = []
            stamps: list[float] = []
            deadline = time.monotonic() + PATIENCE_S
            while live.poll() is None:
                assert time.monotonic() < deadline
                try:
                    samples, times = scores.pull_chunk(timeout=0.1)
                except pylsl.util.LostError:  # the session is over
                    break
                frames += [round(sample[0]) for sample in samples or []]
                stamps += times or []
            live.wait(PATIENCE_S)
        finally:
            live.kill()
            _, errors = live.communicate()
    assert live.returncode == 0, errors
    assert "markers: reading stimuli" in errors
    assert frames == sorted(set(frames))
    assert len(frames) > 10
    assert stamps == sorted(stamps)
    for state in check_trials(out, "lsl:stimuli"):
        onset = state["onset"]
        assert onset["t_host_ns"] == onset["t_capture_ns"]
        assert onset["t_lsl_s"] is not None
        assert state["t_error_us"] is None
    # A frame's stamp on LSL is its capture time in the tables, on LSL's clock.
    rows = [line.split(",") for line in (out / "scores.csv").read_text().splitlines()[1:]]
    captured = {int(row[0]): int(row[5]) for row in rows if row[5]}
    ahead_s = [captured[frame] / 1e9 - stamp for frame, stamp in zip(frames, stamps, strict=True)]
    assert max(ahead_s) - min(ahead_s) < 0.05


@pytest.mark.slow  # a live session of some seconds
def test_markers_come_over_zeromq_without_lsl(tmp_path: Path) -> None:
    out = tmp_path / "session"
    with zmq.Context() as context, context.socket(zmq.PUB) as program:
        port = program.bind_to_random_port("tcp://127.0.0.1")
        with sending(program.send_string):
            done = run("sfam-live", "--camera", "demo", "--duration", "6", "--out", out, "--publish", "none",
                       "--markers", f"tcp://127.0.0.1:{port}")  # fmt: skip
        program.setsockopt(zmq.LINGER, 0)
    assert done.returncode == 0, done.stderr
    states = check_trials(out, f"zmq:tcp://127.0.0.1:{port}")
    assert all(state["onset"]["t_lsl_s"] is None for state in states)


def test_markers_that_cannot_fit_are_refused(tmp_path: Path) -> None:
    for arguments, words in (
        (("--camera", "demo", "--markers", "nonsense"), "write lsl, lsl:NAME"),
        (("--camera", "demo", "--speed", "max", "--markers", "tcp://127.0.0.1:1"), "is replayed"),
        (("--camera", "demo", "--single-process", "--markers", "tcp://127.0.0.1:1"), "a process of their own"),
    ):
        done = run("sfam-live", *arguments, "--out", tmp_path / "s")
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
    assert not (tmp_path / "s").exists()
