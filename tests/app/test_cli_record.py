from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sfam.app.cli_record import with_record_value
from sfam.app.record import run_convert
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.inspection import inspect
from sfam.capture.source import open_source
from tests.app.command import BIN, environment, run, start
from tests.capture.recorded_frames import assert_equal
from tests.shared_data import shared


def played(path: Path) -> list[RGBDFrame]:
    with open_source(CaptureConfig(camera=str(path))) as source:
        return list(source.frames())


def hashes(path: Path) -> dict[str, tuple[int, str | None]]:
    return {stream.name: (stream.frames, stream.sha256) for stream in inspect(path, deep=True).streams}


def test_record_alone_means_everything() -> None:
    assert with_record_value(["live", "--record"]) == ["live", "--record", "all"]
    assert with_record_value(["--record", "--out", "x"]) == ["--record", "all", "--out", "x"]
    assert with_record_value(["--record", "events", "-q"]) == ["--record", "events", "-q"]
    assert with_record_value(["--record=events", "--recorder"]) == ["--record=events", "--recorder"]


def test_a_converted_recording_holds_the_same_pairs_and_pixels(tmp_path: Path) -> None:
    bag, out, again = shared("recordings/face_a.bag"), tmp_path / "a.mcap", tmp_path / "b.mcap"
    done = run("sfam", "convert", bag, out)
    assert done.returncode == 0, done.stderr
    assert f"{out}: 180 frames" in done.stdout
    report, original = inspect(out, deep=True).to_json(), inspect(bag, deep=True).to_json()
    same = ("pairs", "duration_s", "gaps", "duplicates", "depth_unit_m", "recovered", "warnings")
    assert {key: report[key] for key in same} == {key: original[key] for key in same}
    assert hashes(out) == hashes(bag)
    run_convert(CaptureConfig(camera=str(bag)), again)
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    "name", ["odd_gap_duplicates.bag", "odd_time_backwards.bag", "small_2.59.1_raw.db3", "tum_face", "kinect_azure.mkv"]
)
def test_every_container_converts_frame_by_frame(tmp_path: Path, name: str) -> None:
    recording, out = shared(f"recordings/{name}"), tmp_path / "a.mcap"
    settings = CaptureConfig(camera=str(recording), depth_unit_m=inspect(recording).depth_unit_m or 0.001)
    assert run_convert(settings, out).frames > 0
    with open_source(settings) as source:
        frames = list(source.frames())
    replayed = played(out)
    assert len(replayed) == len(frames) == inspect(out).pairs
    for one, other in zip(frames, replayed, strict=True):
        assert one.color.tobytes() == other.color.tobytes()
        assert one.depth.tobytes() == other.depth.tobytes()
        assert (one.sequence, one.t_capture_ns, one.segment) == (other.sequence, other.t_capture_ns, other.segment)
        assert (one.calibration, one.dropped_before) == (other.calibration, other.dropped_before)


def test_our_own_recordings_convert_to_equal_frames(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mcap", tmp_path / "b.mcap"
    assert run("sfam", "record", "--camera", "demo", "--duration", "1", "--out", first).returncode == 0
    run_convert(CaptureConfig(camera=str(first)), second)
    frames = played(first)
    assert frames
    for one, other in zip(frames, played(second), strict=True):
        assert_equal(one, other)
    assert all(frame.t_utc_ns > 1_700_000_000_000_000_000 for frame in frames)


def test_a_recording_is_never_overwritten_and_a_missing_file_is_named(tmp_path: Path) -> None:
    out = tmp_path / "a.mcap"
    out.write_text("dear diary")
    for arguments in (("record", "--camera", "demo", "--out", out), ("convert", shared("recordings/tum_face"), out)):
        done = run("sfam", *arguments)
        assert done.returncode == 2
        assert "never overwritten" in done.stderr
    assert out.read_text() == "dear diary"
    done = run("sfam", "convert", tmp_path / "absent.bag", tmp_path / "b.mcap")
    assert done.returncode == 3
    assert "absent.bag" in done.stderr


def test_ctrl_c_ends_a_recording_with_its_index(tmp_path: Path) -> None:
    out = tmp_path / "a.mcap"
    process = start("sfam", "record", "--camera", "demo", "--out", out)
    wait_for_size(out, 3_000_000)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "lost: none" in errors
    report = inspect(out)
    assert report.pairs > 0
    assert not report.recovered


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is POSIX")
def test_killing_the_recorder_process_costs_half_a_second_of_its_recording(tmp_path: Path) -> None:
    out = tmp_path / "a.mcap"
    process = start("sfam", "record", "--camera", "demo", "--out", out)
    wait_for_size(out, 3_000_000)
    children = psutil.Process(process.pid).children(recursive=True)
    # the one that writes the file
    [recorder] = [child for child in children if any(str(out) in opened.path for opened in child.open_files())]
    killed_ns = time.time_ns()
    os.kill(recorder.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "recorder process was killed by SIGKILL" in errors
    before = inspect(out)
    assert before.recovered
    done = run("sfam", "repair", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["was_whole"] is False
    after = inspect(out, deep=True)
    assert not after.recovered
    assert after.pairs == before.pairs > 0
    missing_s = (killed_ns - played(out)[-1].t_utc_ns) / 1e9
    assert 0 < missing_s <= 0.5
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_repairing_what_is_no_recording_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("nothing to see")
    done = run("sfam", "repair", path)
    assert done.returncode == 5
    assert "no mcap file" in done.stderr
    done = run("sfam", "repair", tmp_path / "missing.mcap")
    assert done.returncode == 5
    assert "missing.mcap: repair cannot read it: No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_recording_faces_needs_the_full_privacy_tier(tmp_path: Path) -> None:
    out = tmp_path / "session"
    done = run("sfam-live", "--camera", "demo", "--record", "--publish", "none", "--out", out)
    assert done.returncode == 2
    assert "--record stores faces, which privacy tier 'results' forbids" in done.stderr
    assert not out.exists()


@pytest.mark.slow(reason="three sessions over 180 frames")
@pytest.mark.parametrize("mode", [(), ("--single-process",)])
def test_a_recorded_session_replays_to_the_same_tables(tmp_path: Path, mode: tuple[str, ...]) -> None:
    bag, session, again = shared("recordings/face_a.bag"), tmp_path / "session", tmp_path / "again"
    quiet = ("--speed", "max", "--publish", "none", "-q")
    done = run("sfam-live", "--camera", bag, "--record", "--privacy", "full", "--out", session, *quiet, *mode)
    assert done.returncode == 0, done.stderr
    assert hashes(session / "recording.mcap") == hashes(bag)
    recorded = session / "recording.mcap"
    done = run("sfam-live", "--camera", recorded, "--video", "face_a", "--out", again, *quiet, "--single-process")
    assert done.returncode == 0, done.stderr
    for table in ("scores.csv", "events.csv"):
        assert (again / table).read_bytes() == (session / table).read_bytes()
    assert len((again / "events.csv").read_text().splitlines()) > 2


@pytest.mark.slow(reason="runs the demo camera live for some seconds while its analysis is stopped")
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stopping a process is POSIX")
def test_a_live_session_whose_analysis_stumbled_replays_to_the_same_events(tmp_path: Path) -> None:
    session, again = tmp_path / "session", tmp_path / "again"
    process = start(
        *("sfam-live", "--camera", "demo", "--duration", "6", "--publish", "none"),
        *("--record", "--privacy", "full", "--out", session, "-q", "--set", "app.ring_slots=4"),
    )
    wait_for_size(session / "scores.csv", 5_000)
    [analysis] = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if any(opened.path.endswith("scores.csv") for opened in child.open_files())
    ]
    analysis.suspend()
    time.sleep(0.8)
    analysis.resume()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "ring_overwritten" in (session / "scores.csv").read_text()
    recorded = session / "recording.mcap"
    with open_source(CaptureConfig(camera=str(recorded))) as source:
        assert source.info.skipped
    replay = ("--speed", "max", "--publish", "none", "-q", "--video", "session", "--out", again, "--single-process")
    done = run("sfam-live", "--camera", recorded, *replay)
    assert done.returncode == 0, done.stderr
    assert (again / "events.csv").read_text() == (session / "events.csv").read_text()
    assert (again / "scores.csv").read_text() == (session / "scores.csv").read_text()


@pytest.mark.slow(reason="a live session of three seconds")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no limit of file sizes")
def test_a_full_disk_ends_the_recording_and_not_the_session(tmp_path: Path) -> None:
    session = tmp_path / "session"
    command = f"{BIN}/sfam-live --camera demo --duration 3 --publish none --record --privacy full --out {session} -q "
    command += "--set app.ring_slots=6"
    done = subprocess.run(
        # in units of 1 KiB; the ring is a file as well and fits
        ["bash", "-c", f"ulimit -f 14000; {command}"],
        capture_output=True,
        text=True,
        timeout=90,
        env=environment(),
    )
    assert done.returncode == 5
    assert "recording has ended" in done.stderr
    assert "File too large" in done.stderr
    report = inspect(session / "recording.mcap", deep=True)
    assert not report.recovered
    rows = (session / "scores.csv").read_text().splitlines()[1:]
    assert len(rows) > report.pairs > 0
    assert json.loads((session / "session.json").read_text())["state"] == "ended"


@pytest.mark.slow(reason="one session over 180 frames")
def test_clips_of_a_session_keep_its_frame_numbers(tmp_path: Path) -> None:
    session = tmp_path / "session"
    done = run(
        *("sfam-live", "--camera", shared("recordings/face_a.bag"), "--speed", "max", "--publish", "none", "-q"),
        *("--record", "events", "--privacy", "full", "--out", session),
        *("--set", "capture.record_before_s=0.11", "--set", "capture.record_after_s=0.11"),
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(",") for line in (session / "events.csv").read_text().splitlines()[1:]]
    wanted = {number for row in rows for number in range(int(row[2]) - 3, int(row[3]) + 4)}
    numbers = [frame.sequence for frame in played(session / "recording.mcap")]
    assert numbers == sorted(wanted & set(range(180)))
    assert len(numbers) < 180


def wait_for_size(path: Path, size: int) -> None:
    deadline_s = time.monotonic() + 240
    while not (path.exists() and path.stat().st_size > size):
        assert time.monotonic() < deadline_s, f"{path} does not grow"
        time.sleep(0.02)
