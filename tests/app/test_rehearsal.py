from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.live_session import free_address
from sfam.app.rehearsal import Rehearsed, judge, recorded_bytes
from sfam.capture.config import CaptureConfig
from sfam.capture.source import open_source
from tests.app.command import run, start
from tests.shared_data import shared

GOOD = Rehearsed(
    frames=1800,
    dropped={"ring_overwritten": 3},
    fps=30.0,
    delivered_fps=29.9,
    live=True,
    latency_ms={"p50": 6.0, "p95": 9.0, "p99": 12.0},
    face_share=0.98,
    depth_share=0.95,
    noise_px=0.03,
    noise_mm=0.4,
    disk_gb_per_hour=0.04,
    recorded=False,
)


def test_a_good_rehearsal_is_a_go() -> None:
    verdict = judge(GOOD, free_bytes=1e9, hours=1)
    assert verdict.go, verdict.reasons
    assert verdict.measured["face_share"] == 0.98


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frames": 0}, "no frame came"),
        ({"dropped": {"ring_overwritten": 30, "decimated": 1800}}, "30 frames lost (30 ring_overwritten)"),
        ({"delivered_fps": 15.0}, "15.0 of 30 fps"),
        ({"latency_ms": {"p99": 34.0}}, "34.0 ms is over one frame (33.3 ms)"),
        ({"latency_ms": {}}, "over one frame"),
        ({"face_share": 0.5}, "50%"),
        ({"depth_share": float("nan")}, "depth on only"),
        ({"depth_share": 0.3}, "depth on only 30%"),
        ({"noise_px": 0.31}, "0.31 px"),
        ({"disk_gb_per_hour": 60.0}, "need 72.0 GB"),
        ({"recording_lost": {"recorder_queue": 7}}, "lack 7 frames (7 recorder_queue)"),
        ({"incidents": ("the recorder process was killed",)}, "was killed"),
    ],
)
def test_each_flaw_is_a_no_go_with_its_reason(changes: dict[str, object], said: str) -> None:
    verdict = judge(replace(GOOD, **changes), free_bytes=1e9, hours=1)  # type: ignore[arg-type]
    assert not verdict.go
    assert any(said in reason for reason in verdict.reasons), verdict.reasons


def test_a_replay_owes_no_latency() -> None:
    assert judge(replace(GOOD, live=False, latency_ms={"p99": 900.0}, delivered_fps=5.0), 1e9, 1).go


def test_frames_that_the_policy_leaves_out_are_no_loss() -> None:
    assert judge(replace(GOOD, frames=900, dropped={"decimated": 900, "ring_overwritten": 3}), 1e9, 1).go


def test_a_recording_of_jpeg_is_smaller_and_neither_is_larger_than_the_pixels() -> None:
    with open_source(CaptureConfig(camera=str(shared("recordings/face_a.bag")))) as source:
        frame = next(source.frames())
    lossless = recorded_bytes(frame, CaptureConfig())
    jpeg = recorded_bytes(frame, CaptureConfig(record_color="jpeg"))
    assert 0 < jpeg < lossless < 1.02 * (np.asarray(frame.color).nbytes + np.asarray(frame.depth).nbytes)


@pytest.mark.slow  # starts two processes for a recording and one for the next
@pytest.mark.parametrize("how", [(), ("--single-process",)])
def test_a_rehearsal_measures_and_leaves_nothing_behind(
    how: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("sfam", "rehearse", "3", "--camera", shared("recordings/face_a.bag").resolve(), "--set",
               "app.speed=max", "--record", "all", "--set", "sinks.privacy=full", "--json", *how)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["go"] is True
    assert report["frames"] == 91  # the stamp of frame 90 is just under 3 s
    assert report["face_share"] > 0.9
    assert report["depth_share"] > 0.9
    assert 0 < report["noise_px"] < 0.2
    assert 5 < report["disk_gb_per_hour"] < 200
    assert report["recorded"] is True
    assert report["recording_lost"] == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # a live session with a page and a recorder
def test_what_shows_and_what_records_runs_too_and_only_results_that_stay_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = free_address()
    settings = ("sinks.privacy=full", f"sinks.publish={address}", "sinks.overlay=web", "sinks.mcap=kept.mcap")
    planned = [word for setting in settings for word in ("--set", setting)]
    rehearsal = start("sfam", "rehearse", "10", "--record", "all", *planned)
    seen: set[str] = set()
    supervisor = psutil.Process(rehearsal.pid)
    while rehearsal.poll() is None:
        with suppress(psutil.Error):
            seen |= {child.name() for child in supervisor.children(recursive=True)}
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) != 0, "the planned bus is silent"
        time.sleep(0.1)
    said, errors = rehearsal.communicate()
    assert {"sfam-capture", "sfam-analysis", "sfam-face", "sfam-recorder", "sfam-overlay"} <= seen
    assert not seen & {"sfam-mcap", "sfam-clips"}
    assert "overlay: http://127.0.0.1:" in errors
    assert "results and recording" in said
    assert "not rehearsed: event clips, mcap\n" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "said", "code"),
    [
        (("--record", "all"), "privacy tier 'results' forbids", 2),
        (("--set", "sinks.overlay=window"), "no display answers", 5),
        (("--set", "app.cameras=[demo, demo]"), "rehearsed one by one", 2),
        (("--set", "app.analyzers={nobody: {}}"), "which nothing offers", 2),
        (("--set", "app.markers=there"), "write lsl", 2),
        (("--single-process", "--set", "sinks.mcap=a.mcap"), "leave --single-process out", 2),
    ],
)
def test_a_session_that_would_be_refused_is_refused_here(settings: tuple[str, ...], said: str, code: int) -> None:
    done = run("sfam", "rehearse", "2", *settings)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr


def killed_while(rehearsal: subprocess.Popen[str], name: str, after_cpu_s: float) -> None:
    """Kill one of its processes once that has worked for so long."""
    supervisor = psutil.Process(rehearsal.pid)
    while rehearsal.poll() is None:
        with suppress(psutil.Error):
            for child in supervisor.children(recursive=True):
                if child.name() == name and sum(child.cpu_times()[:2]) > after_cpu_s:
                    child.kill()
                    return
        time.sleep(0.02)
    pytest.fail(f"no {name} was there to be killed: {rehearsal.communicate()}")


@pytest.mark.slow  # a live session that loses its recorder
def test_a_recorder_that_dies_is_no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rehearsal = start("sfam", "rehearse", "6", "--record", "all", "--privacy", "full")
    killed_while(rehearsal, "sfam-recorder", 0.6)
    said, errors = rehearsal.communicate()
    assert rehearsal.returncode == 6, said + errors
    assert said.count("the recorder process was killed by SIGKILL") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # plays a recording in real time, so that its recorder can be killed
def test_a_recorder_that_is_not_started_again_is_no_go_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recording = str(shared("recordings/face_a.bag").resolve())
    rehearsal = start("sfam", "rehearse", "6", "--camera", recording, "--record", "all", "--privacy", "full")
    killed_while(rehearsal, "sfam-recorder", 0.6)
    said, errors = rehearsal.communicate()
    assert rehearsal.returncode == 6, said + errors
    assert said.count("the recorder process was killed by SIGKILL") == 1


@pytest.mark.slow  # a live session that loses its camera
def test_a_lost_camera_ends_it_without_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rehearsal = start("sfam", "rehearse", "20")
    killed_while(rehearsal, "sfam-capture", 0.8)
    said, errors = rehearsal.communicate()
    assert rehearsal.returncode not in (0, 6), said + errors
    assert "GO" not in said
    assert "the capture process was killed by SIGKILL" in errors


@pytest.mark.slow  # live sessions that are interrupted
@pytest.mark.parametrize("how", [(), ("--single-process",)])
@pytest.mark.parametrize("after_s", [0.7, 4.0])
def test_one_that_was_interrupted_says_nothing(how: tuple[str, ...], after_s: float) -> None:
    rehearsal = start("sfam", "rehearse", "60", *how)
    time.sleep(after_s)
    rehearsal.send_signal(signal.SIGINT)
    said, errors = rehearsal.communicate(timeout=60)
    assert rehearsal.returncode != 0
    assert said == ""
    assert "Traceback" not in errors


@pytest.mark.slow  # plays two recordings
def test_what_the_camera_lost_is_not_the_recorders_fault() -> None:
    done = run("sfam", "rehearse", "6", "--camera", shared("recordings/odd_gap_duplicates.bag").resolve(), "--set",
               "app.speed=max", "--record", "all", "--privacy", "full", "--json")  # fmt: skip
    report = json.loads(done.stdout)
    assert report["dropped"]["duplicate"] > 0
    assert report["recording_lost"] == {}


@pytest.mark.slow  # a live session
def test_analyzers_and_markers_of_the_plan_store_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "markers.jsonl"
    kept.write_text("of somebody else")
    done = run("sfam", "rehearse", "2", "--out", tmp_path, "--set", "app.analyzers={blendshapes: {}}", "--set",
               f"app.markers={free_address()}")  # fmt: skip
    assert "frames" in done.stdout, done.stderr
    assert "not rehearsed: analyzers, markers\n" in done.stdout
    assert list(tmp_path.iterdir()) == [kept]
    assert kept.read_text() == "of somebody else"


def test_a_camera_that_is_not_there_is_exit_3(tmp_path: Path) -> None:
    done = run("sfam", "rehearse", "2", "--camera", tmp_path / "none.bag")
    assert done.returncode == 3, done.stderr
    assert "none.bag" in done.stderr
