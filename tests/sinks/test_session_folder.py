from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sfam.engine.events import Event
from sfam.sinks import session_folder
from sfam.sinks.growing_file import GrowingFile
from sfam.sinks.session_folder import ROWS_AT_ONCE, SessionFolder
from sfam.sinks.sink_error import SinkError
from tests.sinks.session_parts import CLASSES, event, frame_result, session_info

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("scores.csv", "events.csv", "events.jsonl")
ENDLESS_WRITER = """
import itertools, sys, time
from sfam.sinks.growing_file import GrowingFile
from sfam.sinks.session_folder import SessionFolder
from tests.sinks.session_parts import event, frame_result, session_info
folder = SessionFolder(sys.argv[1], session_info(), "a: 1\\n")
print("ready", flush=True)
begin = time.monotonic()
for number in itertools.count():
    folder.row(frame_result(number))
    if number % 20 == 0:
        folder.event(event(number // 20, "provisional", number))
        folder.event(event(number // 20, "confirmed", number))
    folder.count({"frames": number})
    print(number, time.monotonic() - begin, flush=True)
    time.sleep(0.001)
"""
FULL_DISK = """
import resource, signal, sys, time
from sfam.sinks.growing_file import GrowingFile
from sfam.sinks.session_folder import SessionFolder
from sfam.sinks.sink_error import SinkError
from tests.sinks.session_parts import frame_result, session_info
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = SessionFolder(sys.argv[1], session_info())
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
try:
    for number in range(5000):
        folder.row(frame_result(number))
        time.sleep(0.0005)
except SinkError as error:
    print(error)
    sys.exit(5)
"""


def points_to_kill_at() -> list[float]:
    """Seconds from the first row: a few chosen ones, and as many by chance as `make kills` asks for."""
    chance = random.Random(1)
    more = int(os.environ.get("SFAM_KILLS", "0"))
    return [0.0, 0.05, 0.21, 0.45, 0.83, 1.04, 1.37, *(round(chance.uniform(0.0, 2.5), 4) for _ in range(more))]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def whole_lines(path: Path) -> list[str]:
    """Without one that was being written: the system ends a killed process' write at a page of 4,096 bytes."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return lines if not lines or lines[-1].endswith("\n") else lines[:-1]


def whole_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(whole_lines(path)))


def some_events() -> list[Event]:
    return [
        event(0, "provisional", 10),
        event(1, "provisional", 30),
        event(1, "confirmed", 31),
        event(0, "confirmed", 12),
        event(2, "provisional", 60),
        event(2, "withdrawn", 60),
        event(4, "provisional", 90),
        event(3, "provisional", 80, "macro"),
    ]


def write_session(path: Path, frames: int = 100, pause_s: float = 0.0) -> None:
    with SessionFolder(path, session_info(), "capture:\n  camera: demo\n") as folder:
        for number in range(frames):
            folder.row(frame_result(number))
            if pause_s:
                time.sleep(pause_s)
        for state in some_events():
            folder.event(state)
        folder.close({"offered": frames})


def test_a_session_holds_its_files_and_columns(tmp_path: Path) -> None:
    write_session(tmp_path / "deep" / "session")
    path = tmp_path / "deep" / "session"
    assert {found.name for found in path.iterdir()} == {*TABLES, "session.json", "config.yaml"}
    scores = table(path / "scores.csv")
    assert list(scores[0])[:13] == [
        *("frame", "face_id", "timestamp", "confidence", "success", "t_capture_ns", "t_device_ns", "spot"),
        *(f"p_{name}" for name in CLASSES),
    ]
    assert [int(row["frame"]) for row in scores] == list(range(100))
    assert scores[3]["timestamp"] == "0.100000"
    assert (scores[9]["success"], scores[9]["cause"], scores[9]["spot"]) == ("0", "overrun", "")
    assert (scores[3]["success"], scores[3]["cause"], scores[3]["spot"], scores[3]["p_positive"]) == (
        *("1", "too_early", "", ""),
    )
    assert float(scores[20]["spot"]) == pytest.approx(0.5 + 0.4 * -0.7568, abs=1e-4)
    assert scores[50]["flags"] == "blink"
    assert (path / "config.yaml").read_text() == "capture:\n  camera: demo\n"


def test_events_stand_in_the_order_of_confirmation_and_withdrawn_ones_do_not(tmp_path: Path) -> None:
    write_session(tmp_path / "s")
    events = table(tmp_path / "s" / "events.csv")
    assert list(events[0])[:9] == [
        *("subject", "video", "onset", "offset", "emotion", "kind", "apex", "score", "state"),
    ]
    assert [(row["id"], row["state"], row["onset"], row["offset"]) for row in events] == [
        ("1", "confirmed", "31", "42"),
        ("0", "confirmed", "12", "23"),
        ("3", "provisional", "80", "91"),
        ("4", "provisional", "90", "101"),
    ]
    assert (events[0]["subject"], events[0]["video"]) == ("s01", "face, a")
    states = [json.loads(line) for line in (tmp_path / "s" / "events.jsonl").read_text().splitlines()]
    assert [(state["id"], state["state"]) for state in states] == [(e.id, e.state) for e in some_events()]


def test_the_summary_carries_totals_model_and_what_it_is_not_for(tmp_path: Path) -> None:
    write_session(tmp_path / "s")
    summary = json.loads((tmp_path / "s" / "session.json").read_text())
    assert summary["state"] == "ended"
    assert summary["counters"] == {"offered": 100}
    assert summary["rows"] == {"scores.csv": 100, "events.csv": 4, "events.jsonl": 8}
    assert summary["model"]["limits"] == ["not evaluated on any real face"]
    assert summary["unsuitable_uses"]
    assert summary["versions"]["numpy"]


def test_the_same_results_give_the_same_bytes_whatever_the_speed(tmp_path: Path) -> None:
    write_session(tmp_path / "fast")
    write_session(tmp_path / "slow", pause_s=0.004)
    for name in (*TABLES, "config.yaml"):
        written = (tmp_path / "fast" / name).read_bytes()
        assert written == (tmp_path / "slow" / name).read_bytes()
        assert b"\r" not in written
        assert written.endswith(b"\n")


def test_a_folder_that_holds_something_is_refused_without_force(tmp_path: Path) -> None:
    write_session(tmp_path)
    before = (tmp_path / "scores.csv").read_bytes()
    with pytest.raises(SinkError, match=r"is not empty; choose another --out, or --force"):
        SessionFolder(tmp_path, session_info())
    assert (tmp_path / "scores.csv").read_bytes() == before
    with SessionFolder(tmp_path, session_info(), force=True) as folder:
        folder.row(frame_result(0))
    assert len(table(tmp_path / "scores.csv")) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"cannot make session folder .*file.*choose another --out"):
        SessionFolder(tmp_path / "file" / "session", session_info())


def test_an_error_inside_marks_the_session_as_failed(tmp_path: Path) -> None:
    def fail_inside() -> None:
        with SessionFolder(tmp_path / "s", session_info()) as folder:
            folder.row(frame_result(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert json.loads((tmp_path / "s" / "session.json").read_text())["state"] == "failed"
    assert len(table(tmp_path / "s" / "scores.csv")) == 1


class SlowDisk(GrowingFile):
    """A disk that waits for permission before each write but the first."""

    gate = threading.Event()

    def append(self, text: str) -> None:
        if text and not text.startswith(("frame,", "subject,")):
            assert self.gate.wait(10)
        super().append(text)


def test_latest_counts_rows_that_do_not_fit_and_keeps_every_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_folder, "GrowingFile", SlowDisk)
    monkeypatch.setattr(SlowDisk, "gate", threading.Event())
    with SessionFolder(tmp_path / "s", session_info(), policy="latest", queue_rows=10) as folder:
        folder.row(frame_result(0))
        time.sleep(0.3)
        for number in range(1, 50):
            folder.row(frame_result(number))
            folder.event(event(number, "confirmed", number))
        assert folder.rows_lost > 30
        SlowDisk.gate.set()
        folder.close()
    assert len(table(tmp_path / "s" / "scores.csv")) == 50 - folder.rows_lost
    assert len(table(tmp_path / "s" / "events.csv")) == 49
    assert json.loads((tmp_path / "s" / "session.json").read_text())["rows_lost"] == folder.rows_lost


def test_lossless_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_folder, "GrowingFile", SlowDisk)
    monkeypatch.setattr(session_folder, "ROOM_FOR_EVENTS", 0)
    monkeypatch.setattr(SlowDisk, "gate", threading.Event())
    threading.Timer(0.5, SlowDisk.gate.set).start()
    before = time.monotonic()
    with SessionFolder(tmp_path / "s", session_info(), queue_rows=10) as folder:
        for number in range(100):
            folder.row(frame_result(number))
        assert time.monotonic() - before > 0.3
    assert len(table(tmp_path / "s" / "scores.csv")) == 100


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file size to fill up")
def test_a_full_disk_ends_with_a_clear_error_and_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "s"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 5, done.stderr
    assert "can no longer be written: File too large" in done.stdout
    assert "stay valid" in done.stdout
    written = (path / "scores.csv").read_bytes()
    assert written.endswith(b"\n")
    rows = table(path / "scores.csv")
    assert [int(row["frame"]) for row in rows] == list(range(len(rows)))
    assert f"its {len(rows)} rows" in done.stdout


@pytest.mark.slow  # starts a process for every point at which it is killed
@pytest.mark.parametrize("after_s", points_to_kill_at())
def test_a_killed_writer_leaves_files_that_parse_up_to_the_last_second(tmp_path: Path, after_s: float) -> None:
    path = tmp_path / "s"
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS_WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        told = [line.split() for line in read_for(writer, after_s)]
    last, last_s = int(told[-1][0]), float(told[-1][1])
    numbers_a_second_ago = [int(number) for number, seconds in told if float(seconds) <= last_s - 1.0]
    rows = whole_rows(path / "scores.csv")
    assert [int(row["frame"]) for row in rows] == list(range(len(rows)))
    assert all(None not in row.values() for row in rows)
    assert len(rows) > max(numbers_a_second_ago, default=-1)
    assert len(rows) <= last + 2
    states = [json.loads(line) for line in whole_lines(path / "events.jsonl")]
    confirmed = [state["id"] for state in states if state["state"] == "confirmed"]
    listed = [int(row["id"]) for row in whole_rows(path / "events.csv")]
    assert listed == confirmed[: len(listed)]
    assert len(confirmed) - len(listed) <= ROWS_AT_ONCE
    summary = json.loads((path / "session.json").read_text())
    assert summary["state"] == "running"
    assert summary["classes"] == list(CLASSES)


def read_for(writer: subprocess.Popen[str], seconds: float) -> list[str]:
    """What a process prints in so many seconds, until it is killed."""
    assert writer.stdout is not None
    killer = threading.Timer(seconds, writer.kill)
    first = writer.stdout.readline()
    killer.start()
    return [line for line in [first, *writer.stdout] if line.endswith("\n") and len(line.split()) == 2]
