"""Whole sessions in which a process is killed: the others go on, and the gap is declared wherever somebody may look."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.live_session import LiveSession, free_address, wrong_in
from sfam.app.config import Config
from sfam.app.handover import EVENT_MARGIN, SEQ_MARGIN
from sfam.app.replay import replay_config, run_replay
from sfam.app.verify import compare, subject
from sfam.capture.config import CaptureConfig
from sfam.capture.source import open_source
from sfam.sinks.subscriber import subscribe
from tests.app.command import start
from tests.sinks.waiting import until

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="SIGHUP, and processes found by their names")
WAIT_S = 120.0


def wait_for(condition: Callable[[], bool], what: str, session: LiveSession) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert session.running, f"the session ended\n{session.log}"
        assert time.monotonic() < deadline_s, f"{what}\n{session.log[-3000:]}"
        time.sleep(0.05)


class Listener:
    """What a stable subscriber hears of a session."""

    def __init__(self, address: str) -> None:
        self.incidents: list[dict[str, Any]] = []
        self.states: dict[int, str] = {}
        self.seq: dict[str, list[int]] = {}
        self.lost = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(address,), daemon=True)
        self._thread.start()

    def _listen(self, address: str) -> None:
        for message in subscribe(address, ("status", "event", "score"), running=lambda: not self._over.is_set()):
            self.seq.setdefault(message.kind, []).append(message.header["seq"])
            self.lost = message.lost
            if message.kind == "status":
                self.incidents += message.header["incidents"]
            elif message.kind == "event":
                self.states[message.header["id"]] = message.header["state"]

    def kinds(self) -> list[str]:
        return [incident["kind"] for incident in self.incidents]

    def close(self) -> None:
        self._over.set()
        self._thread.join(WAIT_S)


@LINUX
@pytest.mark.alone
@pytest.mark.slow  # a whole recorded session whose analysis is killed, then replayed
def test_a_session_outlives_its_analysis_and_replays_to_the_same_events(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("engine: {threshold: 0.4}\napp: {selftest: false, latency_budget_ms: null}\n")
    options = ("--config", str(settings), "--record", "all", "--privacy", "full")
    session = LiveSession(tmp_path / "session", options)
    listener = Listener(session.address)
    try:
        session.wait_rows(60)
        wait_for(lambda: len(listener.seq.get("score", ())) > 10, "no score was heard", session)
        session.role("analysis").kill()
        wait_for(lambda: "analysis_restart" in listener.kinds(), "the restart was not published", session)
        settings.write_text(
            "engine: {threshold: 0.5}\napp: {selftest: false, latency_budget_ms: null}\nstream: {window_ms: 300}\n"
        )
        os.kill(session.process.pid, signal.SIGHUP)
        wait_for(lambda: "reload" in listener.kinds(), "the reload was not published", session)
        session.wait_rows(session.rows() + 60)
        session.process.send_signal(signal.SIGINT)
        assert session.end() == 0, session.log
        assert session.left_behind() == []
    finally:
        listener.close()
        session.kill()
    assert wrong_in(session.out, finished=True) == []
    summary = json.loads((session.out / "session.json").read_text())
    counters = summary["counters"]
    assert [incident["kind"] for incident in counters["incidents"]] == ["analysis_restart", "reload"]
    gap = counters["incidents"][0]
    with (session.out / "scores.csv").open(newline="") as lines:
        causes = {int(row["frame"]): row["cause"] for row in csv.DictReader(lines)}
    missing = [frame for frame, cause in causes.items() if cause == "analysis_restart"]
    assert missing == list(range(gap["from_frame"], gap["to_frame"] + 1))
    assert counters["dropped"]["analysis_restart"] == len(missing) > 0
    restart, threshold = counters["changes"]
    assert (restart["kind"], restart["value"] >= EVENT_MARGIN) == ("restart", True)
    assert (threshold["kind"], threshold["value"]) == ("threshold", 0.5)
    assert "engine.threshold from 0.4 to 0.5" in counters["incidents"][1]["text"]
    assert "stream.window_ms can only change with a new session" in counters["incidents"][1]["text"]
    for numbers in listener.seq.values():
        assert numbers == sorted(set(numbers)), "numbers go on; none comes twice"
    assert listener.lost < SEQ_MARGIN, "only what was said before the connection was taken up again is lost"
    assert "provisional" not in listener.states.values()
    again = subject(session.out, Config()).replay
    run_replay(replace(again, config=replay_config(again.config, single_process=True)), tmp_path / "replay")
    assert compare(session.out, tmp_path / "replay") is None


@LINUX
@pytest.mark.alone
@pytest.mark.slow  # a whole session with page and recorder, both killed, and the face detector
def test_dead_sinks_come_back_alone_where_they_were_and_faces_are_still_found(tmp_path: Path) -> None:
    port = free_address().rpartition(":")[2]
    options = ("--overlay", "web", "--set", f"sinks.web_address=127.0.0.1:{port}", "--record", "all")
    session = LiveSession(tmp_path / "session", (*options, "--privacy", "full", "--set", "app.selftest=false"))

    def page_is_served() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        session.wait_rows(30)
        wait_for(page_is_served, "the page never came", session)
        analysis = session.role("analysis").pid
        for name in ("overlay", "recorder"):
            dead = session.role(name)
            dead.kill()
            while session.role(name).pid == dead.pid:
                time.sleep(0.05)
        wait_for(page_is_served, "the page did not come back", session)
        wait_for((session.out / "recording_2.mcap").exists, "nothing is recorded any more", session)
        session.role("face").kill()
        session.wait_rows(session.rows() + 120)
        assert session.role("analysis").pid == analysis
        session.process.send_signal(signal.SIGINT)
        assert session.end() == 0, session.log
        assert session.left_behind() == []
    finally:
        session.kill()
    assert wrong_in(session.out, finished=True) == []
    counters = json.loads((session.out / "session.json").read_text())["counters"]
    texts = [incident["text"] for incident in counters["incidents"] if incident["kind"] == "sink_restart"]
    assert [re.sub(r" in [\d.]+ s", "", text) for text in texts] == [
        f"the {name} process was killed by SIGKILL; it is started again" for name in ("overlay", "recorder")
    ]
    (lost,) = (incident["text"] for incident in counters["incidents"] if incident["kind"] == "detector_lost")
    assert lost == "the face detector's process ended; faces are found in the analysis process from now on"
    assert counters["dropped"] == {} or set(counters["dropped"]) == {"ring_overwritten"}


@LINUX
def test_a_replay_whose_analysis_dies_has_failed(tmp_path: Path) -> None:
    session = LiveSession(tmp_path / "session", ("--speed", "0.5", "--policy", "lossless", "--set", "app.selftest=no"))
    try:
        session.wait_rows(5)
        session.role("analysis").kill()
        assert session.end() == 1
        assert "the analysis process was killed by SIGKILL" in session.log
        assert "started" not in session.log
        assert session.left_behind() == []
    finally:
        session.kill()


@LINUX
@pytest.mark.alone
def test_a_full_disk_is_said_on_the_bus_and_in_the_session(tmp_path: Path) -> None:
    session = LiveSession(tmp_path / "session", ("--set", "app.selftest=no"))
    last: list[dict[str, Any]] = []

    def listen() -> None:
        last.extend(dict(message.header) for message in subscribe(session.address, ("session",), timeout_s=WAIT_S))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        session.wait_rows(30)
        limit = max(path.stat().st_size for path in session.out.iterdir() if path.suffix == ".csv") + 2000
        session.role("analysis").rlimit(psutil.RLIMIT_FSIZE, (limit, limit))
        assert session.end() == 5, session.log
        listener.join(WAIT_S)
    finally:
        session.kill()
    assert "File too large" in session.log
    assert last[-1]["state"] == "failed"
    assert "can no longer be written: File too large" in last[-1]["counters"]["ended_because"]
    assert last[-1]["counters"]["incidents"][-1]["kind"] == "disk_full"
    assert json.loads((session.out / "session.json").read_text())["writing_failed"] == "File too large"
    assert wrong_in(session.out, finished=False) == []


@LINUX
def test_sigterm_ends_a_session_in_one_process_in_order(tmp_path: Path) -> None:
    session = LiveSession(tmp_path / "session", ("--single-process", "--set", "app.selftest=no"))
    try:
        session.wait_rows(5)
        session.process.terminate()
        session.process.terminate()  # as `timeout` does
        assert session.end() == 0, session.log
        assert session.left_behind() == []
    finally:
        session.kill()
    assert wrong_in(session.out, finished=True) == []
    assert json.loads((session.out / "session.json").read_text())["state"] == "ended"


@LINUX
@pytest.mark.slow  # a session with a recorder
def test_sigterm_to_the_whole_group_ends_a_recorded_session_in_order(tmp_path: Path) -> None:
    out = tmp_path / "session"
    recorded = ("--record", "all", "--privacy", "full", "--publish", "none", "--set", "app.selftest=no")
    live = start("sfam-live", "--camera", "demo", "--out", out, *recorded, own_group=True)
    scores = out / "scores.csv"
    try:
        until(lambda: scores.exists() and scores.read_bytes().count(b"\n") > 30, "thirty rows", WAIT_S)
        os.killpg(live.pid, signal.SIGTERM)
        _, errors = live.communicate(timeout=WAIT_S)
    finally:
        live.kill()
    assert live.returncode == 0, errors
    assert json.loads((out / "session.json").read_text())["state"] == "ended"
    assert wrong_in(out, finished=True) == []
    with open_source(CaptureConfig(camera=str(out / "recording.mcap"))) as recording:
        assert recording.info.warnings == ()


@LINUX
@pytest.mark.slow  # sessions that are ended in every way
@pytest.mark.parametrize("how", ["in order", "by force", "without its supervisor"])
def test_a_bus_in_a_socket_file_is_heard_and_leaves_no_file(how: str, tmp_path: Path) -> None:
    bus = tmp_path / "bus"
    session = LiveSession(tmp_path / "session", ("--set", "app.selftest=no"), address=f"ipc://{bus}")
    listener = Listener(session.address)
    try:
        wait_for(lambda: len(listener.seq.get("score", ())) > 10, "no score was heard", session)
        assert bus.is_socket()
        if how == "by force":
            session.role("analysis").suspend()  # so that it cannot remove the file itself
            session.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        session.process.send_signal(signal.SIGKILL if how == "without its supervisor" else signal.SIGINT)
        session.end()
        assert session.left_behind() == []
    finally:
        listener.close()
        session.kill()
    assert not bus.exists()


@LINUX
def test_a_process_that_holds_too_much_is_ended_by_name(tmp_path: Path) -> None:
    session = LiveSession(tmp_path / "session", ("--speed", "0.5", "--set", "app.memory_limit_mb=60"))
    try:
        assert session.end(WAIT_S) != 0
        assert re.search(r"the \w+ process held \d+ MB, over app\.memory_limit_mb=60", session.log), session.log
        assert session.left_behind() == []
    finally:
        session.kill()
    assert psutil.pid_exists(session.process.pid) is False
