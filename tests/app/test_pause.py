from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from sfam.app import cli_pause
from sfam.app.pause import PauseGate, PauseRequest
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.pacing import ReplayControl
from sfam.capture.source import open_source
from sfam.sinks.folder_hold import FolderHold
from sfam.sinks.sink_error import SinkError
from tests.app.command import BIN, environment, run, start
from tests.app.free_port import free_address
from tests.sinks.session_parts import rgbd_frame
from tests.sinks.waiting import until

QUIET_S = 1.5
LABELS = ("demo", "demo_2")


class Wire:
    """Everything that one subscriber gets from a bus, as a count of bytes."""

    def __init__(self, address: str, cameras: Sequence[str] = ("demo",)) -> None:
        self._address = address
        self._cameras = cameras
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self.by_camera: Counter[str] = Counter()
        self.topics: set[str] = set()

    @property
    def bytes(self) -> int:
        """Of all cameras."""
        return sum(self.by_camera.values())

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join()

    def _listen(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as reader:
            reader.subscribe("sfam/")
            for camera in self._cameras:
                reader.subscribe(f"sfam/{camera}/frame")
                reader.subscribe(f"sfam/{camera}/flow")
            reader.connect(self._address)
            while not self._leaving.is_set():
                if reader.poll(20):
                    parts = reader.recv_multipart()
                    _, camera, kind = parts[0].decode().split("/")
                    self.topics.add(kind)
                    self.by_camera[camera] += sum(len(part) for part in parts)


def stored(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file, below it too."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    found = {path.relative_to(folder).as_posix(): path.stat() for path in paths}
    return {name: (seen.st_size, seen.st_mtime_ns) for name, seen in found.items()}


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    return content


def rows(folder: Path) -> int:
    table = folder / "scores.csv"
    return table.read_bytes().count(b"\n") if table.exists() else 0


@contextmanager
def session(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    running = start("sfam-live", "-q", "--out", folder, *arguments)
    try:
        until(lambda: rows(folder) > 20, "rows of scores.csv", 120)
        yield running
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
        assert running.returncode == 0, said
    finally:
        running.kill()
        running.communicate()


@contextmanager
def two_cameras(folder: Path, address: str) -> Iterator[Wire]:
    """A session with two cameras at tier full, recorded, and all that both send."""
    arguments = ["--camera", "demo", "--camera", "demo", "--publish", address, "--privacy", "full", "--record"]
    running = start("sfam-live", "-q", "--out", folder, *arguments)

    def begun() -> bool:
        assert running.poll() is None, running.communicate()[1]
        return all(rows(folder / label) > 20 for label in LABELS)

    try:
        until(begun, "rows of both cameras", 300)
        with Wire(address, LABELS) as wire:
            until(lambda: all(wire.by_camera[label] > 50_000 for label in LABELS), "pictures of both cameras", 120)
            yield wire
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=120)
        assert running.returncode == 0, said
    finally:
        running.kill()
        running.communicate()


def pause(folder: Path, command: str = "pause") -> None:
    done = run("sfam", command, folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # a session of several seconds
@pytest.mark.parametrize("mode", [["--record"], ["--single-process"]])
def test_a_pause_stops_every_byte_on_disk_and_on_the_wire(tmp_path: Path, mode: list[str]) -> None:
    folder, address = tmp_path / "s", free_address()
    arguments = ["--camera", "demo", "--publish", address, "--privacy", "full", *mode]
    with session(folder, *arguments), Wire(address) as wire:
        until(lambda: {"session", "score", "face", "frame", "flow", "status"} <= wire.topics, "every kind of message")
        pause(folder)
        kept, heard = _settled(folder, wire)
        time.sleep(QUIET_S)
        assert stored(folder) == kept
        assert wire.bytes == heard
        assert summary(folder)["state"] == "paused"
        pause(folder, "resume")
        until(lambda: wire.bytes > heard + 10_000, "messages after the pause")
        paused_rows = kept["scores.csv"][0]
        until(lambda: stored(folder)["scores.csv"][0] > paused_rows + 1000, "rows after the pause")
    _check_tables(folder, recorded="--record" in mode)


@pytest.mark.slow  # two cameras for several seconds
def test_a_pause_of_several_cameras_stops_every_byte_of_each(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with two_cameras(folder, free_address()) as wire:
        pause(folder)
        kept, heard = _settled(folder, wire)
        time.sleep(QUIET_S)
        assert stored(folder) == kept
        assert wire.bytes == heard
        assert [summary(folder / label)["state"] for label in LABELS] == ["paused", "paused"]
        before = dict(wire.by_camera)
        pause(folder, "resume")
        until(lambda: all(wire.by_camera[label] > before[label] + 10_000 for label in LABELS), "both go on", 120)
        until(
            lambda: all(
                stored(folder)[f"{label}/scores.csv"][0] > kept[f"{label}/scores.csv"][0] + 1000 for label in LABELS
            ),
            "rows of both after the pause",
            120,
        )
    for label in LABELS:
        _check_tables(folder / label, recorded=True)


@pytest.mark.slow  # two cameras for several seconds
def test_one_of_several_cameras_can_be_paused_while_the_others_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with two_cameras(folder, free_address()) as wire:
        pause(folder / "demo_2")
        until(lambda: _quiet(folder / "demo_2", wire, "demo_2"), "an end of what was under way", 120)
        kept, heard, other = stored(folder / "demo_2"), wire.by_camera["demo_2"], wire.by_camera["demo"]
        until(lambda: wire.by_camera["demo"] > other + 50_000, "the other camera goes on", 120)
        assert stored(folder / "demo_2") == kept
        assert wire.by_camera["demo_2"] == heard
        assert [summary(folder / label)["state"] for label in LABELS] == ["running", "paused"]
        pause(folder / "demo_2", "resume")
        until(lambda: wire.by_camera["demo_2"] > heard + 10_000, "it goes on", 120)
    assert summary(folder / "demo")["counters"]["pauses"] == []
    assert len(summary(folder / "demo_2")["counters"]["pauses"]) == 1


def _quiet(folder: Path, wire: Wire, camera: str) -> bool:
    """Whether nothing was written or sent for a second."""
    before = stored(folder), wire.by_camera[camera]
    time.sleep(1.0)
    return before == (stored(folder), wire.by_camera[camera])


def _settled(folder: Path, wire: Wire) -> tuple[dict[str, tuple[int, int]], int]:
    """What lies on disk and came by wire once frames from before the pause have been written to the end."""
    seen: list[tuple[dict[str, tuple[int, int]], int]] = []

    def still() -> bool:
        seen.append((stored(folder), wire.bytes))
        time.sleep(0.5)
        return len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]

    until(still, "an end of what was under way")
    return seen[-1]


def _check_tables(folder: Path, recorded: bool) -> None:
    (held,) = summary(folder)["counters"]["pauses"]
    assert held["ended_utc_ns"] - held["began_utc_ns"] > QUIET_S * 1e9
    clock = summary(folder)["clock"]
    offset_ns = clock["anchor_utc_ns"] - clock["anchor_monotonic_ns"]
    with (folder / "scores.csv").open(encoding="utf-8") as lines:
        table = list(csv.DictReader(lines))
    assert [int(row["frame"]) for row in table] == list(range(len(table))), "frames are numbered on without a gap"
    stamps = [int(row["t_capture_ns"]) + offset_ns for row in table if row["t_capture_ns"]]
    assert not [stamp for stamp in stamps if held["began_utc_ns"] < stamp < held["ended_utc_ns"]]
    after = held["after_frame"] + 1
    assert table[after]["spot"] == "", "motion was measured across the pause"
    assert table[after]["cause"] == "gap"
    assert not (folder / "paused").exists()
    if recorded:
        with open_source(CaptureConfig(camera=str(folder / "recording.mcap"))) as source:
            recorded_at = [frame.t_capture_ns for frame in source.frames()]
        assert len(recorded_at) > len(stamps) - 5
        longest_s = max(late - soon for soon, late in itertools.pairwise(recorded_at)) / 1e9
        assert longest_s > QUIET_S, "frames of the pause were recorded"


@pytest.mark.slow  # two sessions of several seconds
def test_a_replay_waits_and_loses_nothing(tmp_path: Path) -> None:
    arguments = ["--camera", "demo", "--speed", "2", "--duration", "3", "--publish", "none", "--video", "v"]
    assert run("sfam-live", "-q", "--out", tmp_path / "whole", *arguments).returncode == 0
    with session(tmp_path / "held", *arguments) as running:
        pause(tmp_path / "held")
        count = rows(tmp_path / "held")
        time.sleep(0.5)
        assert rows(tmp_path / "held") == count
        assert running.poll() is None
        pause(tmp_path / "held", "resume")
        running.wait(timeout=60)
    for name in ("scores.csv", "events.csv"):
        assert (tmp_path / "held" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_pausing_what_does_not_run_is_refused(tmp_path: Path) -> None:
    for command in ("pause", "resume"):
        done = run("sfam", command, tmp_path)
        assert done.returncode == 2
        assert "no running session" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # a session, and the wait for an answer
def test_a_session_that_was_killed_is_not_paused_and_stands_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    killed, live = Path("sessions/killed"), Path("sessions/live")
    arguments = ["--camera", "demo", "--publish", "none", "--subject", "s01"]
    line = [str(BIN / "sfam-live"), "-q", "--out", str(killed), *arguments]
    running = subprocess.Popen(line, env=environment(), start_new_session=True)
    try:
        until(lambda: rows(killed) > 20, "rows of scores.csv", 120)
        pause(killed)
    finally:
        os.killpg(running.pid, signal.SIGKILL)  # all of it: what outlives its supervisor would end in order
        running.wait()
    done = run("sfam", "pause", killed)
    assert done.returncode == 2
    assert "holds no running session (its state is paused)" in done.stderr
    with session(live, *arguments):
        assert run("sfam", "pause").stdout.startswith(f"{live}: paused")
    assert run("sfam", "erase", "sessions", "--subject", "s01", "--yes").returncode == 0
    assert not killed.exists()


def test_a_pause_that_is_not_answered_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_pause, "ANSWER_WITHIN_S", 0.1)
    (tmp_path / "session.json").write_text('{"state": "running"}', encoding="utf-8")
    holder = FolderHold(tmp_path)
    holder.take()
    with pytest.raises(SinkError, match="the request stands"):
        cli_pause.pause(tmp_path)
    assert PauseRequest(tmp_path).is_set
    (tmp_path / "session.json").write_text('{"state": "paused"}', encoding="utf-8")
    with pytest.raises(SinkError, match=r"has not answered for 0.1 s$"):
        cli_pause.resume(tmp_path)
    assert not PauseRequest(tmp_path).is_set
    holder.release()


def test_the_request_is_a_file_in_the_session_folder(tmp_path: Path) -> None:
    request = PauseRequest(tmp_path / "s")
    request.toggle()
    assert not request.is_set, "a session without folder cannot be paused yet"
    (tmp_path / "s").mkdir()
    request.toggle()
    assert request.is_set
    request.toggle()
    request.clear()
    assert not request.is_set


def passed(gate: PauseGate, closed: set[int], count: int = 10) -> list[RGBDFrame]:
    """What comes through a gate that is closed while the frames of these numbers arrive."""
    taken: list[RGBDFrame] = []

    def frames() -> Iterator[RGBDFrame]:
        for number in range(count):
            if (number in closed) != gate.closed:
                gate.open() if gate.closed else gate.close()
            yield replace(rgbd_frame(number), segment=number // 8)

    def take(frame: RGBDFrame) -> bool:
        taken.append(frame)
        return True

    assert len(list(gate.passed(frames(), take, lambda: False))) == count
    return taken


def test_frames_after_a_pause_are_numbered_on_in_a_new_segment() -> None:
    found = passed(PauseGate(True, ReplayControl()), {2, 3, 6})
    assert [frame.sequence for frame in found] == list(range(7))
    assert [frame.t_capture_ns // rgbd_frame(1).t_capture_ns for frame in found] == [0, 1, 4, 5, 7, 8, 9]
    assert [frame.segment for frame in found] == [0, 0, 1, 1, 2, 3, 3]


def test_a_frame_that_arrived_during_a_pause_does_not_come_when_it_is_over() -> None:
    gate = PauseGate(True, ReplayControl())
    gate.hold(True)
    opened_ns = gate.hold(False).at_ns
    taken: list[RGBDFrame] = []

    def take(frame: RGBDFrame) -> bool:
        taken.append(frame)
        return True

    frames = [replace(rgbd_frame(number), t_host_ns=opened_ns + number - 1) for number in range(3)]
    assert list(gate.passed(frames, take, lambda: False)) == [False, True, True]
    assert [frame.t_host_ns - opened_ns for frame in taken] == [0, 1]


def test_closing_waits_for_the_frame_that_is_on_its_way() -> None:
    gate = PauseGate(True, ReplayControl())
    taking, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def take(frame: RGBDFrame) -> bool:
        taking.set()
        return go_on.wait(60)

    def close() -> None:
        gate.close()
        done.set()

    worker = threading.Thread(target=lambda: list(gate.passed([rgbd_frame(0)], take, lambda: False)))
    worker.start()
    assert taking.wait(60)
    closer = threading.Thread(target=close)
    closer.start()
    assert not done.wait(0.1)
    go_on.set()
    assert done.wait(60)
    worker.join()
    closer.join()
