"""A camera that is lost in a running session: real processes, a real ring, a camera that dies on command."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sfam.app.capture_role import CaptureSettings
from sfam.app.config import ConfigError, load_config
from sfam.app.exit_codes import SOURCE
from sfam.app.interruption import Interruption
from sfam.app.live import is_lossless, run_live
from sfam.app.marker_role import require_markers
from sfam.app.recovery import REFUSALS_BEFORE_RESET, CameraRecovery
from sfam.app.role import Retry, RoleResult
from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.source import SourceInfo
from sfam.capture.synthetic import SyntheticSource
from sfam.sinks.subscriber import subscribe
from tests.capture import dying_camera

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="kills with a POSIX signal")
CALIBRATION = SyntheticSource(CaptureConfig()).info.calibration
INFO = SourceInfo("D1E", "device", True, 30.0, CALIBRATION, details={"serial": "D1E"})
FAILURE = RoleResult("capture", 1, {}, ("SourceError",), "unplugged")
ABSENT = RoleResult("capture", 1, {}, ("AbsentError", "SourceError"), "not there")


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def recovery(clock: Clock, **settings: Any) -> CameraRecovery:
    config = CaptureConfig.model_validate({"camera": "dying", **settings})
    return CameraRecovery(CaptureSettings(config, SessionClock(0, 0)), lambda text: None, clock)


def retried(camera: CameraRecovery, result: RoleResult = FAILURE) -> Retry:
    retry, outage = camera.failed(result)
    assert retry is not None
    assert outage is not None
    return retry


def test_pauses_double_up_to_the_configured_longest() -> None:
    camera = recovery(Clock(), reconnect_timeout=3.0)
    camera.opened(INFO)
    assert [retried(camera).after_s for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_the_same_camera_is_looked_for_by_its_serial_number() -> None:
    camera = recovery(Clock())
    camera.opened(INFO)
    config = retried(camera).settings.config
    assert (config.serial_no, config.initial_reset, config.wait_for_device_timeout) == ("D1E", False, 6.0)


def test_the_hardware_is_reset_once_and_only_after_refusals() -> None:
    camera = recovery(Clock())
    camera.opened(INFO)
    assert not any(retried(camera, ABSENT).settings.config.initial_reset for _ in range(9))
    resets = [retried(camera).settings.config.initial_reset for _ in range(9)]
    assert resets == [number == REFUSALS_BEFORE_RESET - 1 for number in range(9)]
    _, outage = camera.failed(FAILURE)
    assert outage is not None
    assert outage.resets == 1


def test_a_reset_that_keeps_the_camera_away_for_long_is_not_repeated() -> None:
    camera = recovery(Clock())
    camera.opened(INFO)
    for _ in range(REFUSALS_BEFORE_RESET):
        assert not retried(camera).settings.config.initial_reset
    assert retried(camera).settings.config.initial_reset
    for result in (ABSENT, ABSENT, FAILURE):  # it was not back in time
        assert not retried(camera, result).settings.config.initial_reset
    _, outage = camera.failed(ABSENT)
    assert outage is not None
    assert outage.resets == 1


def test_a_session_gives_up_after_the_configured_time() -> None:
    clock = Clock()
    camera = recovery(clock, give_up_timeout=60.0)
    camera.opened(INFO)
    retried(camera)
    clock.now += 59
    retried(camera, ABSENT)
    clock.now += 2
    assert camera.failed(ABSENT) == (None, None)


def test_a_camera_that_never_opened_and_a_recording_are_not_tried_again() -> None:
    assert recovery(Clock()).failed(FAILURE) == (None, None)
    file = recovery(Clock())
    file.opened(SourceInfo("clip", "recording", False, 30.0, INFO.calibration))
    assert file.failed(FAILURE) == (None, None)
    assert file.hangs(1e9) is None


def test_silence_is_noticed_while_streaming_and_while_opening() -> None:
    clock = Clock()
    camera = recovery(clock, stall_timeout=1.0)
    camera.opened(INFO)
    clock.now += 100
    assert camera.hangs(1e9) is None, "the analysis may take its time to get ready"
    camera.streaming(0)
    assert camera.hangs(1e9) is None
    clock.now += 4
    assert camera.hangs(0.1) is None
    assert camera.hangs(3.5) == "gave no frame for 3 s"
    retried(camera)
    clock.now += 30
    assert camera.hangs(30.0) is None
    clock.now += 10
    assert camera.hangs(40.0) == "did not open the camera in time"


def test_the_outage_ends_with_the_first_frame_and_a_quick_relapse_climbs_on() -> None:
    clock = Clock()
    camera = recovery(clock)
    camera.opened(INFO)
    retried(camera)
    clock.now += 3
    camera.opened(INFO)
    camera.streaming(50)
    assert camera.flowing(50) is None
    outage = camera.flowing(51)
    assert outage == Interruption("unplugged", 100_000_000_000, 103_000_000_000, 1, 0)
    assert not camera.is_lost
    clock.now += 1
    assert retried(camera).after_s == 1.0
    camera.opened(INFO)
    camera.streaming(60)
    camera.flowing(61)
    clock.now += 11
    assert retried(camera).after_s == 0.5


def test_a_limited_session_is_not_prolonged_by_an_outage() -> None:
    clock = Clock()
    config = CaptureConfig(camera="dying")
    camera = CameraRecovery(CaptureSettings(config, SessionClock(0, 0), duration_s=10), lambda text: None, clock)
    camera.opened(INFO)
    camera.streaming(0)
    clock.now += 4
    assert retried(camera).settings.duration_s == 6


class Session:
    """A whole live session with the dying camera in processes of its own, and what its bus said."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
        self.orders = folder / "orders"
        self.orders.mkdir()
        self.out = folder / "session"
        monkeypatch.setenv(dying_camera.FOLDER, str(self.orders))
        monkeypatch.syspath_prepend(str(dying_camera.install(folder)))
        self.address = "tcp://127.0.0.1:5593"
        self.config = load_config(
            assignments=[
                "capture.camera=dying",
                "capture.stall_timeout=1.5",
                f"sinks.out={self.out}",
                f"sinks.publish={self.address}",
                *(f"capture.{key}={value}" for key, value in settings.items()),
            ]
        )
        self.devices: list[str] = []
        self.resets = 0
        """As the newest status message says."""
        self.interrupted_s = 0.0
        self._late = False
        """Something that was waited for did not come."""
        self._stop = threading.Event()
        self._listener = threading.Thread(target=self._listen)
        self._driver: threading.Thread | None = None

    def run(
        self,
        *orders: str,
        ends_itself: bool = False,
        stays_away: bool = False,
        until: Callable[[], bool] | None = None,
    ) -> int:
        """Give the orders one after the other once frames come, each after the one before was survived."""

        def drive() -> None:
            for number, order in enumerate(orders, 1):
                self.wait_for_life(number)
                if stays_away:
                    (self.orders / "absent").touch()
                (self.orders / order).touch()
                self.wait_for(lambda order=order: not (self.orders / order).exists())
            if ends_itself:
                return
            if until is not None:
                self.wait_for(until)
            elif stays_away:
                self.wait_for(lambda: len(self.openings()) > len(orders))
            else:
                self.wait_for_life(len(orders) + 1)
            self.interrupted_s = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)

        self._driver = threading.Thread(target=drive)
        self._driver.start()
        self._listener.start()
        try:
            code = run_live(self.config, quiet=True)
        finally:
            self._stop.set()
            self._driver.join()
            self._listener.join()
        assert not self._late, f"waited in vain; the camera was opened so: {self.openings()}"
        return code

    def wait_for_life(self, number: int) -> None:
        """Until the camera was opened so often and has given ten frames since."""
        self.wait_for(lambda: len(self.openings()) >= number)
        before = len(self.rows())
        self.wait_for(lambda: len(self.rows()) > before + 10)

    def openings(self) -> list[str]:
        """How the camera was opened, each time."""
        log = self.orders / "opened"
        return log.read_text().splitlines() if log.exists() else []

    def rows(self) -> list[dict[str, str]]:
        """The score table so far."""
        table = self.out / "scores.csv"
        return list(csv.DictReader(table.open())) if table.exists() else []

    def record(self) -> dict[str, Any]:
        """session.json."""
        return dict(json.loads((self.out / "session.json").read_text()))

    def wait_for(self, condition: Any) -> None:
        deadline_s = time.monotonic() + 240
        while not condition() and not self._late:
            self._late = time.monotonic() > deadline_s
            time.sleep(0.05)

    def _listen(self) -> None:
        for message in subscribe(self.address, kinds=("status",), running=lambda: not self._stop.is_set()):
            self.resets = message.header["hardware_resets"]
            self.devices.append(message.header["device"])


@pytest.mark.alone
@POSIX
@pytest.mark.slow  # loses a real process three times, each found again after its back-off
def test_a_session_survives_an_unplugged_a_hanging_and_a_killed_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(tmp_path, monkeypatch)
    assert session.run("unplug", "hang", "die") == 0
    counters = session.record()["counters"]
    causes = [outage["cause"] for outage in counters["interruptions"]]
    assert causes == [
        "dying D1E: unplugged",
        "the capture process gave no frame for 4 s and was killed",
        "the capture process was killed by SIGKILL",
    ]
    assert all(outage["ended_ns"] > outage["began_ns"] for outage in counters["interruptions"])
    rows = session.rows()
    assert [int(row["frame"]) for row in rows] == list(range(counters["analysed"]))
    assert counters["dropped"]["lost"] == 4, "each of the four lives of the camera lost one"
    assert [row["cause"] for row in rows].count("gap") >= 3
    assert {"lost", "streaming"} == set(session.devices)
    assert session.openings() == ["dying None False"] + ["dying D1E False"] * 3


@pytest.mark.alone
@POSIX
@pytest.mark.slow  # four attempts with their pauses
def test_a_camera_that_keeps_refusing_is_reset_once_and_the_status_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(tmp_path, monkeypatch, reconnect_timeout="0.5", stall_timeout="20")
    (session.orders / "busy").write_text(str(REFUSALS_BEFORE_RESET))
    assert session.run("unplug", until=lambda: session.resets == 1 and session.devices[-1] == "streaming") == 0
    assert session.openings() == [
        "dying None False",
        *["dying D1E False"] * REFUSALS_BEFORE_RESET,
        "dying D1E True",
    ]
    (outage,) = session.record()["counters"]["interruptions"]
    assert (outage["attempts"], outage["resets"]) == (REFUSALS_BEFORE_RESET + 1, 1)
    assert outage["ended_ns"] > outage["began_ns"]


@pytest.mark.alone
@POSIX
def test_a_camera_that_stays_away_ends_the_session_with_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(tmp_path, monkeypatch, give_up_timeout="0")
    assert session.run("unplug", ends_itself=True) == SOURCE
    record = session.record()
    assert record["state"] == "failed"
    assert "unplugged" in record["counters"]["ended_because"]
    assert len(session.rows()) == record["counters"]["analysed"] > 0


@pytest.mark.alone
@POSIX
def test_ctrl_c_ends_a_session_whose_camera_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(tmp_path, monkeypatch, reconnect_timeout="600")
    assert session.run("unplug", stays_away=True) == SOURCE
    assert time.monotonic() - session.interrupted_s < 120, "it did not wait for the camera"
    assert session.record()["counters"]["interruptions"][0]["ended_ns"] is None
    assert len(session.rows()) > 0


def test_a_camera_of_another_package_never_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(dying_camera.install(tmp_path)))
    assert not is_lossless(load_config(assignments=["capture.camera=dying"]))
    with pytest.raises(ConfigError, match="cannot hold with the live camera 'dying'"):
        is_lossless(load_config(assignments=["capture.camera=dying", "app.policy=lossless"]))
    require_markers(load_config(assignments=["capture.camera=dying", "app.markers=lsl"]))
    assert is_lossless(load_config(assignments=["capture.camera=dying.bag"]))
