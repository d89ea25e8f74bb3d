"""What watches a session: latency, disk, memory, changed settings, and the check at its start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sfam.app import start_check
from sfam.app.config import load_config
from sfam.app.disk_watch import LOOK_EVERY_S, LOW_BYTES, DiskWatch, free_bytes
from sfam.app.latency_alarm import FEWEST_FRAMES, WINDOW_FRAMES, LatencyAlarm
from sfam.app.live import run_live
from sfam.app.memory_watch import MemoryWatch
from sfam.app.reload import LIVE_KEYS, reloaded
from sfam.app.start_check import StartCheck
from sfam.app.terminal import terminal_gone
from sfam.capture.config import CaptureConfig
from sfam.capture.synthetic import SyntheticSource
from sfam.engine.backend import ParityReport
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig

PARITY = ParityReport("onnxruntime", 4, 1e-7, 1e-7)
MS = 1_000_000


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_latency_alarm_begins_and_ends_once() -> None:
    alarm = LatencyAlarm(50.0)
    for _ in range(FEWEST_FRAMES - 1):
        alarm.add(90 * MS)
    assert alarm.look() is None, "too few frames to tell"
    alarm.add(90 * MS)
    began = alarm.look()
    assert began is not None
    assert (began.kind, began.values["p95_ms"], began.values["budget_ms"]) == ("latency", 90.0, 50.0)
    assert alarm.look() is None
    for _ in range(WINDOW_FRAMES):
        alarm.add(45 * MS)
    assert alarm.look() is None, "within the budget, but not by much"
    for _ in range(WINDOW_FRAMES):
        alarm.add(20 * MS)
    ended = alarm.look()
    assert ended is not None
    assert "is within the budget of 50 ms again" in ended.text
    assert not alarm.over


def test_a_single_late_frame_or_no_budget_is_no_alarm() -> None:
    alarm, silent = LatencyAlarm(50.0), LatencyAlarm(None)
    for number in range(WINDOW_FRAMES):
        alarm.add(500 * MS if number % 50 == 0 else 10 * MS)
        silent.add(10_000 * MS)
    assert alarm.look() is None
    assert silent.look() is None


def test_little_room_is_told_once_and_again_after_there_was_enough() -> None:
    clock, free = Clock(), [LOW_BYTES - 1]
    watch = DiskWatch(Path("session"), lambda _: free[0], clock)

    def later() -> bool:
        clock.now += LOOK_EVERY_S
        return watch.look() is not None

    assert watch.look() is not None
    assert watch.look() is None
    assert not later()
    free[0] = LOW_BYTES
    assert not later()
    free[0] = 0
    assert later()


def test_free_room_is_known_before_the_folder_is_made(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") > 0


def test_memory_is_asked_once_a_second_and_who_holds_too_much_is_named() -> None:
    clock, sizes = Clock(), {11: 50_000_000, 12: 150_000_000, os.getpid(): 80_000_000, 13: None}
    watch = MemoryWatch(100.0, lambda pid: sizes[pid], clock)
    pids = {"capture": 11, "analysis": 12, "gone": 13}
    assert watch.look(pids) is None
    clock.now += 1.0
    held = watch.look(pids)
    assert held == {"capture": 50.0, "analysis": 150.0, MemoryWatch.OWN: 80.0}
    assert list(watch.over(held)) == [("analysis", "held 150 MB, over app.memory_limit_mb=100,")]
    watch.limit_mb = None
    assert list(watch.over(held)) == []


def test_a_reload_takes_limits_and_names_what_needs_a_new_session() -> None:
    before = load_config(assignments=["engine.threshold=0.4"])
    fresh = load_config(assignments=["engine.threshold=0.6", "app.memory_limit_mb=900", "stream.window_ms=300"])
    now, reload = reloaded(before, fresh)
    assert (now.engine.threshold, now.app.memory_limit_mb) == (0.6, 900.0)
    assert now.stream == before.stream
    assert reload.threshold_changed
    assert reload.threshold == 0.6
    assert reload.text == (
        "settings reloaded: engine.threshold from 0.4 to 0.6, app.memory_limit_mb from None to 900.0; "
        "stream.window_ms can only change with a new session"
    )
    again, nothing = reloaded(now, now)
    assert again == now
    assert not nothing.threshold_changed
    assert nothing.text == "settings reloaded: nothing changed"


def test_every_key_that_may_change_live_exists() -> None:
    config = load_config()
    for key in LIVE_KEYS:
        section, name = key.split(".")
        assert hasattr(getattr(config, section), name)


HANGS_UP = """
import signal, sys, time
from pathlib import Path
from sfam.app.terminal import terminal_gone
signal.signal(signal.SIGHUP, lambda *_: Path(sys.argv[2]).write_text(str(terminal_gone())))
Path(sys.argv[1]).write_text(str(terminal_gone()))
while not Path(sys.argv[2]).exists():
    time.sleep(0.02)
"""


IN_A_TERMINAL = """
import os, pty, sys, time
from pathlib import Path
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
while not Path(sys.argv[2]).exists():
    time.sleep(0.02)
os.close(terminal)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has neither terminals of that kind nor SIGHUP")
def test_a_closed_terminal_is_told_from_a_wish_to_reload(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    arguments = [sys.executable, "-c", IN_A_TERMINAL, HANGS_UP, str(before), str(after)]
    subprocess.run(arguments, check=True, timeout=120)
    assert (before.read_text(), after.read_text()) == ("False", "True")


def test_this_process_still_has_what_it_was_started_with() -> None:
    assert not terminal_gone()


def collected(check: StartCheck) -> None:
    """Let it see the demo face until it needs no more frames."""
    analysis = Analysis(StreamConfig())
    with SyntheticSource(CaptureConfig()) as source:
        for frame in source.frames():
            windows = analysis.push(frame)
            check.push(frame, windows, analysis.tracks)
            if check.collected:
                break
    analysis.close()


def test_the_start_check_runs_in_spare_time_and_tells_its_result_once() -> None:
    check = StartCheck(StreamConfig(), PARITY)
    check.step()
    collected(check)
    steps = 0
    while (news := check.news()) is None:
        check.step()
        steps += 1
        assert steps < 1000
    assert steps > 50, "each of them is short"
    assert news.startswith("self-test: smallest motion seen: ")
    assert check.news() is None
    check.finish()
    check.step()
    assert check.news() is None
    fields = check.fields()
    assert fields["parity"]["backend"] == "onnxruntime"
    assert 0 < fields["selftest"]["smallest_px"] <= 1.0


@pytest.mark.parametrize("patience_s", [0.0, 30.0])
def test_a_session_that_ends_early_waits_a_moment_for_its_start_check(
    monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    monkeypatch.setattr(start_check, "LONGEST_END_S", patience_s)
    check = StartCheck(StreamConfig(), PARITY)
    collected(check)
    check.finish()
    found = check.fields()["selftest"]
    if patience_s:
        assert 0 < found["smallest_px"] <= 1.0
    else:
        assert found == {"not_run": "the session ended before its self-test had"}


@pytest.mark.parametrize("asked", [True, False])
def test_a_session_without_a_face_says_that_nothing_was_tested(asked: bool) -> None:
    check = StartCheck(StreamConfig(), PARITY, selftest=asked)
    check.finish()
    why = check.fields()["selftest"]["not_run"]
    assert why.startswith("the session ended before" if asked else "not asked for")
    assert check.news() is None


def test_a_supervisor_that_holds_too_much_ends_the_session_which_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over(*_: object) -> Iterator[tuple[str, str]]:
        yield MemoryWatch.OWN, "held 900 MB, over app.memory_limit_mb=800,"

    monkeypatch.setattr(MemoryWatch, "over", over)
    flags = {"capture.camera": "demo", "sinks.publish": "none", "sinks.out": str(tmp_path / "s"), "app.duration_s": 60}
    assert run_live(load_config(flags=flags), quiet=True) == 1
