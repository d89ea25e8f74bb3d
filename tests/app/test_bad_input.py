"""Bad input ends, or goes on, with one clear sentence and the documented exit code; what was written stays."""

from __future__ import annotations

import csv
import json
import signal
import sqlite3
from pathlib import Path

import pytest
import zmq

from tests.app.command import run, run_installed, start
from tests.capture.bag_writer import COLOR, DEPTH, BagWriter
from tests.shared_data import shared
from tests.sinks.waiting import until


def sentence(text: str) -> str:
    """The one line that says what is wrong."""
    lines = [line for line in text.splitlines() if line.startswith("sfam: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("absent.bag", "does not exist|no such file"),
        ("damaged_empty.bag", "empty"),
        ("damaged_text.bag", "not a recording"),
        ("odd_no_depth.bag", "no depth"),
    ],
)
@pytest.mark.parametrize("mode", [[], ["--single-process"]])
def test_an_unusable_recording_exits_with_3(file: str, expected: str, mode: list[str], tmp_path: Path) -> None:
    path = tmp_path / file if file == "absent.bag" else shared(f"recordings/{file}")
    done = run("sfam-live", "--camera", path, "--publish", "none", "--out", tmp_path / "out", *mode)
    assert done.returncode == 3, done.stderr
    assert any(word in sentence(done.stderr).lower() for word in expected.split("|")), done.stderr


def test_a_database_that_is_no_recording_exits_with_3(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "notes.db3") as database:
        database.execute("create table notes (text)")
    done = run_installed(
        "sfam-live", "--camera", tmp_path / "notes.db3", "--publish", "none", "--out", tmp_path / "out"
    )
    assert done.returncode == 3
    assert "notes.db3" in sentence(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--set", "engine.treshold=0.5"], 2, "did you mean 'threshold'"),
        (["--model", "synthetic-5"], 4, "synthetic-4"),
        (["--publish", "tcp://192.0.2.1:5571"], 5, "--insecure"),
        (["--policy", "lossless"], 2, "live camera"),
        (["--speed", "fast"], 2, "--speed"),
        (["--overlay", "window"], 5, "display"),
    ],
)
def test_a_wrong_setting_exits_with_its_code(arguments: list[str], code: int, expected: str, tmp_path: Path) -> None:
    done = run("sfam-live", *arguments, "--duration", "1", "--out", tmp_path / "out")
    assert done.returncode == code, done.stderr
    assert expected in sentence(done.stderr)


def test_a_port_in_use_exits_with_5_and_says_which(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        done = run("sfam-live", "--duration", "1", "--publish", f"tcp://127.0.0.1:{port}", "--out", tmp_path / "out")
    assert done.returncode == 5, done.stderr
    assert f"port {port} is in use" in sentence(done.stderr)


def test_a_session_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("data")
    done = run("sfam-live", "--duration", "1", "--publish", "none", "--out", tmp_path)
    assert done.returncode == 5
    assert "not empty" in sentence(done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_file_without_a_face_gives_rows_without_success(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head(size=(320, 240))
    for number in range(10):
        writer.pair(number, number * 33_333_333, size=(320, 240))
    path = writer.save(tmp_path / "wall.bag")
    done = run("sfam-live", "--camera", path, "--speed", "max", "--publish", "none", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out" / "scores.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 10
    assert {row["success"] for row in rows} == {"0"}
    assert "no face was found in 10 frames" in done.stderr


@pytest.mark.parametrize("missing", ["color", "depth"])
def test_a_bag_without_color_or_depth_says_which(missing: str, tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head()
    writer.pair(1, 10**9)
    gone = {"color": COLOR, "depth": DEPTH}[missing].encode()
    path = writer.save(tmp_path / "half.bag")
    path.write_bytes(path.read_bytes().replace(gone, b"/" + b"x" * (len(gone) - 1)))
    done = run("sfam-live", "--camera", path, "--publish", "none", "--out", tmp_path / "out")
    assert done.returncode == 3
    assert f"no {missing} stream" in sentence(done.stderr)
    assert not (tmp_path / "out").exists()


def test_damage_is_passed_with_a_warning_that_counts(tmp_path: Path) -> None:
    done = run_installed("sfam-live", "--camera", shared("recordings/damaged_truncated.bag"), "--speed", "max",
               "--publish", "none", "--out", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out" / "scores.csv").read_text().splitlines()) == 11
    assert "truncated" in json.dumps(json.loads((tmp_path / "out" / "session.json").read_text()))
    assert "truncated" in done.stderr


def test_a_subscriber_that_never_reads_costs_no_frame(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    with zmq.Context() as context, context.socket(zmq.SUB) as deaf:
        deaf.setsockopt(zmq.LINGER, 0)
        deaf.setsockopt(zmq.RCVHWM, 1)
        deaf.setsockopt(zmq.SUBSCRIBE, b"")
        deaf.connect(f"tcp://127.0.0.1:{port}")
        done = run("sfam-live", "--camera", shared("recordings/face_a.bag"), "--speed", "max", "--out", tmp_path / "o",
                   "--publish", f"tcp://127.0.0.1:{port}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "o" / "scores.csv").read_text().splitlines()) == 181


def test_ctrl_c_ends_cleanly_and_keeps_what_was_written(tmp_path: Path) -> None:
    live = start("sfam-live", "--camera", "demo", "--publish", "none", "--out", tmp_path / "out")
    scores = tmp_path / "out" / "scores.csv"
    until(lambda: scores.exists() and len(scores.read_text().splitlines()) > 31, "rows", 240)
    live.send_signal(signal.SIGINT)
    _, errors = live.communicate(timeout=120)
    assert live.returncode == 0, errors
    content = json.loads((tmp_path / "out" / "session.json").read_text())
    assert content["state"] == "ended"
    assert content["rows"]["scores.csv"] == len(scores.read_text().splitlines()) - 1 > 30
    assert not list(Path("/dev/shm").glob(f"sfam_{live.pid}_*"))
