"""What the processes of a session are told while one of them hangs, is dead or is being started again."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from benchmarks.live_session import LiveSession, wrong_in
from sfam.app.pause import PauseRequest
from sfam.capture.marker_file import MARKERS_FILE, read_markers

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="SIGHUP, SIGSTOP, and processes found by their names"),
    pytest.mark.alone,
    pytest.mark.slow,  # whole live sessions
]
WAIT_S = 180.0
UNDER_WAY_S = 1.5
"""For what was asked of the supervising process to reach the pipe of another."""


class Lab:
    """A session with one camera or several, whose settings, pauses and markers are in the test's hands."""

    def __init__(self, folder: Path, labels: tuple[str, ...], program: zmq.Socket[bytes]) -> None:
        self._settings = folder / "settings.yaml"
        self.set_threshold(0.4)
        port = program.bind_to_random_port("tcp://127.0.0.1")
        cameras = ("--camera", "demo") * (len(labels) - 1)
        markers = ("--markers", f"tcp://127.0.0.1:{port}")
        self.session = LiveSession(folder / "s", ("--config", str(self._settings), *cameras, *markers))
        self.folders = [self.session.out / label for label in labels]
        self._program = program

    def set_threshold(self, threshold: float) -> None:
        """For the next SIGHUP."""
        self._settings.write_text(
            f"engine: {{threshold: {threshold}}}\napp: {{selftest: false, latency_budget_ms: null}}\n"
        )

    def reload(self, threshold: float) -> None:
        """Change it in the running session."""
        self.set_threshold(threshold)
        os.kill(self.session.process.pid, signal.SIGHUP)

    def mark(self, *trials: str) -> None:
        """Send a marker for each trial."""
        for trial in trials:
            self._program.send_string(json.dumps({"trial": trial}))

    def marked(self) -> list[list[str]]:
        """Trials in each folder's markers."""
        paths = [folder / MARKERS_FILE for folder in self.folders]
        return [[marker.trial for marker in read_markers(path)] if path.exists() else [] for path in paths]

    def hold(self, held: bool) -> None:
        """Ask for a pause of all cameras, or for its end."""
        for request in map(PauseRequest, self.folders):
            request.set() if held else request.clear()

    def summaries(self) -> list[dict[str, Any]]:
        """Each folder's session.json."""
        return [json.loads((folder / "session.json").read_text()) for folder in self.folders]

    def rows(self) -> int:
        """Of the camera that has fewest."""
        tables = [folder / "scores.csv" for folder in self.folders]
        return min(table.read_bytes().count(b"\n") if table.exists() else 0 for table in tables)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while not condition():
            assert self.session.running, f"the session ended\n{self.session.log}"
            assert time.monotonic() < deadline_s, f"{what}\n{self.session.log[-3000:]}"
            time.sleep(0.05)

    def wait_state(self, state: str) -> None:
        self.wait(lambda: all(one["state"] == state for one in self.summaries()), f"not {state}")

    def wait_more_rows(self) -> None:
        before = self.rows()
        self.wait(lambda: self.rows() > before + 30, "no more rows come")

    def listening(self) -> bool:
        """Whether markers arrive; sends one."""
        self.mark("warm-up")
        return all(self.marked())


@contextmanager
def lab(folder: Path, *labels: str) -> Iterator[Lab]:
    with zmq.Context() as context, context.socket(zmq.PUB) as program:
        program.setsockopt(zmq.LINGER, 0)
        found = Lab(folder, labels, program)
        try:
            found.wait_more_rows()
            found.wait(found.listening, "no marker comes")
            yield found
            found.session.process.send_signal(signal.SIGINT)
            assert found.session.end() == 0, found.session.log
            assert found.session.left_behind() == []
        finally:
            found.session.kill()


@pytest.mark.parametrize("labels", [("",), ("demo", "demo_2")], ids=["one camera", "two cameras"])
def test_markers_pauses_and_thresholds_outlive_an_analysis_that_hangs_and_dies(
    labels: tuple[str, ...], tmp_path: Path
) -> None:
    with lab(tmp_path, *labels) as found:
        found.hold(True)
        found.wait_state("paused")
        analysis = found.session.role("analysis")
        analysis.suspend()
        found.hold(False)
        found.mark("hung 1", "hung 2", "hung 3")
        found.reload(0.5)
        time.sleep(UNDER_WAY_S)
        analysis.kill()
        analysis.wait(WAIT_S)
        found.mark("dead 1", "dead 2")
        found.reload(0.6)
        found.wait_more_rows()
        found.wait_state("running")
        found.mark("last")
        found.wait(lambda: all("last" in trials for trials in found.marked()), "the last marker did not come")
    for folder, trials, summary in zip(found.folders, found.marked(), found.summaries(), strict=True):
        told = [trial for trial in trials if trial != "warm-up"]
        assert sorted(told) == sorted(["hung 1", "hung 2", "hung 3", "dead 1", "dead 2", "last"])
        counters = summary["counters"]
        (pause,) = counters["pauses"]
        assert pause["ended_utc_ns"] > pause["began_utc_ns"]
        kinds = [incident["kind"] for incident in counters["incidents"]]
        assert sorted(kinds) == ["analysis_restart", "reload", "reload"]
        assert [(one["kind"], one["value"]) for one in counters["changes"] if one["kind"] == "threshold"] == [
            ("threshold", 0.5),
            ("threshold", 0.6),
        ]
        assert wrong_in(folder, finished=True) == []


def test_a_pause_ends_whose_end_the_camera_never_heard(tmp_path: Path) -> None:
    with lab(tmp_path, "") as found:
        found.hold(True)
        found.wait_state("paused")
        capture = found.session.role("capture")
        capture.suspend()
        found.hold(False)
        time.sleep(UNDER_WAY_S)
        capture.kill()
        found.wait_more_rows()
        found.wait_state("running")
    (pause,) = found.summaries()[0]["counters"]["pauses"]
    assert pause["ended_utc_ns"] > pause["began_utc_ns"]


def test_a_marker_that_comes_while_the_analysis_dies_for_good_is_kept(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as program:
        program.setsockopt(zmq.LINGER, 0)
        found = Lab(tmp_path, ("",), program)
        try:
            found.wait_more_rows()
            found.wait(found.listening, "no marker comes")
            found.session.role("analysis").suspend()
            found.mark("unheard")
            time.sleep(UNDER_WAY_S)
            for _ in range(2):  # at once: the analysis has no time left to do anything
                found.session.process.send_signal(signal.SIGINT)
                time.sleep(0.5)
            found.session.end()
        finally:
            found.session.kill()
    assert found.marked()[0][-1] == "unheard"
