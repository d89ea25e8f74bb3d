"""Several cameras in one session: names, folders, one network for all, and the same results as alone."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.live_session import LiveSession, free_address, wrong_in
from sfam.app.config import ConfigError, load_config
from sfam.app.live import run_live
from sfam.app.replay import Replay, replay_config, run_replay
from sfam.app.several_cameras import configs_of, labels_of
from sfam.app.verify import compare
from sfam.sinks.subscriber import subscribe
from tests.shared_data import shared
from tests.sinks.waiting import until


def test_cameras_are_named_by_serial_stem_or_kind_and_never_alike() -> None:
    cameras = [
        "realsense:0417",
        "realsense:0418",
        "demo",
        "demo",
        "interview one.bag",
        "/data/b.mkv",
        "tcp://host:5590",
    ]
    labels = ["0417", "0418", "demo", "demo_2", "interview_one", "b", "host_5590"]
    assert labels_of(cameras) == labels
    assert labels_of(["demo"] * 3) == ["demo", "demo_2", "demo_3"]
    assert labels_of(["a_2.bag", "a.bag", "a.bag"]) == ["a_2", "a", "a_3"]
    assert labels_of(["a.bag", "a.bag", "a_2.bag", "a_b.bag"]) == ["a", "a_2", "a_2_2", "a_b"]


def test_each_camera_has_settings_of_its_own() -> None:
    config = load_config(flags={"capture.camera": "demo", "app.cameras": ("demo", "a.bag"), "app.video": "trial"})
    found = configs_of(config)
    assert [one.capture.camera for one in found.values()] == ["demo", "demo", "a.bag"]
    assert [one.app.video for one in found.values()] == ["trial_demo", "trial_demo_2", "trial_a"]
    assert len({one.capture.demo_seed for one in found.values()}) == 3
    assert not any(one.app.cameras for one in found.values())


@pytest.mark.alone
@pytest.mark.slow  # two recordings through processes of their own, and one of them alone
def test_two_recordings_side_by_side_give_the_tables_that_each_gives_alone(tmp_path: Path) -> None:
    recording = shared("recordings/face_a.bag")
    flags = {"capture.camera": str(recording), "capture.to_s": 1.5, "app.speed": "max", "app.selftest": False}
    alone = load_config(flags=flags)
    run_replay(Replay(replay_config(alone, single_process=True, video="session_face_a")), tmp_path / "alone")
    address = free_address()
    folder = tmp_path / "both"
    both = load_config(
        flags={**flags, "app.cameras": (str(recording),), "sinks.out": str(folder), "sinks.publish": address}
    )
    ended: list[str] = []

    def listen() -> None:
        # From the first moment of the bus: a second try to connect may come too late, as the recordings are short.
        until(lambda: listens(address), "the bus", 120)
        states = (message.header for message in subscribe(address, ("session",), timeout_s=60))
        ended.extend(header["camera"] for header in states if header["state"] == "ended")

    listener = threading.Thread(target=listen)
    listener.start()
    assert run_live(both, quiet=True) == 0
    listener.join(60)
    assert set(ended) == {"face_a", "face_a_2"}
    overview = json.loads((folder / "session.json").read_text())
    assert (overview["state"], [camera["folder"] for camera in overview["cameras"]]) == (
        "ended",
        ["face_a", "face_a_2"],
    )
    clocks = []
    for label in ("face_a", "face_a_2"):
        summary = json.loads((folder / label / "session.json").read_text())
        assert (summary["camera"], summary["session"], summary["state"]) == (label, "both", "ended")
        clocks.append(summary["clock"])
    assert clocks[0] == clocks[1] == overview["clock"]
    assert compare(tmp_path / "alone", folder / "face_a") is None
    assert (folder / "face_a" / "scores.csv").read_bytes() == (folder / "face_a_2" / "scores.csv").read_bytes()


def test_what_cannot_share_a_session_is_refused(tmp_path: Path) -> None:
    out = {"sinks.out": str(tmp_path / "out"), "app.cameras": ("demo",)}
    with pytest.raises(ConfigError, match="leave --single-process out"):
        run_live(load_config(flags={**out, "app.single_process": True}), quiet=True)
    with pytest.raises(ConfigError, match="live cameras and recordings"):
        run_live(load_config(flags={**out, "capture.camera": "clip.bag"}), quiet=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes").write_text("mine")
    began_s = time.monotonic()
    with pytest.raises(ConfigError, match="not empty"):
        run_live(load_config(flags=out), quiet=True)
    assert time.monotonic() - began_s < 60


def listens(address: str) -> bool:
    """Whether a publisher is there."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.mark.alone
@pytest.mark.slow  # two cameras, whose one analysis is killed and started again
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes by their names")
def test_both_cameras_outlive_the_death_of_their_analysis(tmp_path: Path) -> None:
    session = LiveSession(tmp_path / "session", ("--camera", "demo", "--set", "app.selftest=no"))
    folders = [session.out / label for label in ("demo", "demo_2")]
    try:
        until(lambda: min(map(rows, folders)) > 20, "rows of both cameras", 240)
        session.role("analysis").kill()
        before = max(map(rows, folders))
        until(lambda: min(map(rows, folders)) > before + 30, "rows of both cameras after the kill", 240)
        session.process.send_signal(signal.SIGINT)
        assert session.end() == 0, session.log
        assert session.left_behind() == []
    finally:
        session.kill()
    assert json.loads((session.out / "session.json").read_text())["state"] == "ended"
    for folder in folders:
        assert wrong_in(folder, finished=True) == []
        counters = json.loads((folder / "session.json").read_text())["counters"]
        assert [incident["kind"] for incident in counters["incidents"]] == ["analysis_restart"]
        assert counters["dropped"]["analysis_restart"] > 0


def rows(folder: Path) -> int:
    """Whole lines of a camera's table."""
    table = folder / "scores.csv"
    return table.read_bytes().count(b"\n") - 1 if table.exists() else 0
