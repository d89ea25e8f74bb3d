"""A session on color alone: it runs only when asked for, and tables, messages and notes say what it lacks."""

from __future__ import annotations

import csv
import json
import socket
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import pytest
import zmq

from sfam.app.capture_role import CaptureSettings
from sfam.app.exit_codes import class_names
from sfam.app.recovery import CameraRecovery
from sfam.app.role import RoleResult
from sfam.capture import webcam
from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.source import AbsentError, open_source
from tests.app.command import run, start
from tests.capture.video_writer import write_video
from tests.shared_data import shared

FRAMES = 60


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the demo's face as an ordinary mp4."""
    path = tmp_path_factory.mktemp("film") / "face.mp4"
    with open_source(CaptureConfig(camera="demo")) as source, av.open(str(path), "w") as file:
        track: Any = file.add_stream("libx264", rate=Fraction(30), options={"crf": "14"})
        track.width, track.height = source.info.calibration.color.width, source.info.calibration.color.height
        track.pix_fmt = "yuv420p"
        for frame in islice(source.frames(), FRAMES):
            file.mux(track.encode(av.VideoFrame.from_ndarray(frame.color, "rgb24")))
        file.mux(track.encode())
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_film_is_scored_with_every_window_flagged(film: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    context = zmq.Context()
    bus = context.socket(zmq.SUB)
    bus.setsockopt(zmq.SUBSCRIBE, b"sfam/")
    bus.setsockopt(zmq.RCVTIMEO, 60_000)
    bus.connect(address)
    live = start("sfam-live", "--camera", film, "--color-only", "--out", tmp_path / "s", "--publish", address)
    scores: list[dict[str, Any]] = []
    try:
        while True:
            topic, header, *_ = bus.recv_multipart()
            message = json.loads(header)
            if topic.endswith(b"/score"):
                scores.append(message)
            if topic.endswith(b"/session") and message["state"] == "ended":
                break
    finally:
        _, errors = live.communicate(timeout=60)
        bus.close()
        context.term()
    assert live.returncode == 0, errors
    assert "w is zero" in errors
    written = rows(tmp_path / "s" / "scores.csv")
    windows = [row for row in written if row["from_frame"]]
    assert len(written) == FRAMES
    assert len(windows) > FRAMES // 2
    assert all("no_depth" in row["flags"].split(";") for row in windows)
    assert {float(row["depth_valid_share"]) for row in windows} == {0.0}
    sent = [score for score in scores if score["flags"]]
    assert len(sent) > FRAMES // 4
    assert all("no_depth" in score["flags"] for score in sent)
    notes = json.loads((tmp_path / "s" / "session.json").read_text())
    assert any("w is zero" in warning for warning in notes["devices"]["warnings"])


@pytest.mark.parametrize("mode", [[], ["--single-process"]])
def test_a_bag_without_depth_runs_to_its_end(mode: list[str], tmp_path: Path) -> None:
    done = run("sfam-live", "--camera", shared("recordings/odd_no_depth.bag"), "--color-only", "--speed", "max",
               "--publish", "none", "--out", tmp_path, "--force", *mode)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path / "scores.csv")) == 5
    notes = json.loads((tmp_path / "session.json").read_text())
    assert any("w is zero" in warning for warning in notes["devices"]["warnings"])


def test_without_the_flag_a_film_is_refused_with_the_way_out(film: Path, tmp_path: Path) -> None:
    done = run("sfam-live", "--camera", film, "--publish", "none", "--out", tmp_path / "s")
    assert done.returncode == 3
    assert "--color-only" in done.stderr
    assert run("sfam", "inspect", film).returncode == 3
    inspected = run("sfam", "inspect", film, "--color-only", "--json")
    assert inspected.returncode == 0, inspected.stderr
    content = json.loads(inspected.stdout)
    assert (content["pairs"], content["streams"][0]["encoding"]) == (FRAMES, "h264")
    out = tmp_path / "film.mcap"
    assert "--color-only" in run("sfam", "convert", film, out).stderr
    converted = run("sfam", "convert", film, out, "--color-only", "--to", "0.5")
    assert converted.returncode == 0, converted.stderr
    with open_source(CaptureConfig(camera=str(out))) as source:
        frames = list(source.frames())
    assert len(frames) == 16
    assert all(frame.depth_missing for frame in frames)


def test_a_lost_webcam_is_opened_again_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.avi", "mjpeg", 20)
    asked: list[int] = []

    def plug(number: int) -> cv2.VideoCapture:
        asked.append(number)
        return cv2.VideoCapture(str(path))

    monkeypatch.setattr(webcam.WebcamSource, "open_device", staticmethod(plug))
    config = CaptureConfig(camera="webcam:2", color_only=True, warmup_frames=4)
    recovery = CameraRecovery(CaptureSettings(config, SessionClock(0, 0)), lambda text: None)
    for _ in range(3):
        with open_source(config) as source:
            recovery.opened(source.info)
            with pytest.raises(AbsentError) as lost:
                assert sum(1 for _ in source.frames()) == 15
        retry, _ = recovery.failed(RoleResult("capture", 1, {}, tuple(class_names(lost.value)), str(lost.value)))
        assert retry is not None
        config = retry.settings.config
    assert asked == [2, 2, 2]
