"""A RealSense that is plugged in but refuses: without the rights to open it, or failing while it is set up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from sfam.capture.camera_list import list_all
from sfam.capture.config import CaptureConfig
from sfam.capture.realsense import RealSenseSource
from sfam.capture.realsense_controls import Controls
from sfam.capture.realsense_presets import choose_preset
from sfam.capture.source import AbsentError, SourceError
from tests.capture.software_camera import SERIAL, SoftwareCamera, rs, software_camera

CONFIG = CaptureConfig(camera=f"realsense:{SERIAL}", warmup_frames=3, stall_timeout=20.0)


@pytest.fixture
def camera() -> Iterator[SoftwareCamera]:
    with software_camera() as running:
        yield running


class FirstRefused:
    """The devices of a context, and before them one that cannot be opened, as without a udev rule."""

    def __init__(self, real: Any) -> None:
        self._real = list(real)

    def __len__(self) -> int:
        return len(self._real) + 1

    def __getitem__(self, index: int) -> Any:
        if index == 0:
            raise RuntimeError("failed to open usb interface: 0, error: RS2_USB_STATUS_ACCESS")
        return self._real[index - 1]


def test_a_camera_that_cannot_be_asked_is_told_beside_those_that_can(
    camera: SoftwareCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = SimpleNamespace(query_devices=lambda: FirstRefused(camera.context.query_devices()))
    monkeypatch.setattr(rs, "context", lambda: context)
    found, unusable = list_all()
    assert SERIAL in [one.serial for one in found]
    told = r"plugged in but does not answer \(failed to open .*RS2_USB_STATUS_ACCESS\).*udev rule"
    assert re.search(told, unusable["realsense"])
    with RealSenseSource(CONFIG, context) as source:
        assert next(source.frames()).sequence == 0
    with pytest.raises(SourceError, match=told) as caught:
        RealSenseSource(CaptureConfig(camera="realsense:999"), context)
    assert not isinstance(caught.value, AbsentError)


def test_an_sdk_that_cannot_look_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("no backend")

    monkeypatch.setattr(rs, "context", refuse)
    assert "the SDK cannot look for cameras (no backend)" in list_all()[1]["realsense"]


def test_a_camera_that_refuses_while_it_is_started_is_closed_and_said_to(
    camera: SoftwareCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Controls, last_frames: dict[str, Any]) -> None:
        raise RuntimeError("hwmon command 0x1 failed")

    monkeypatch.setattr(Controls, "freeze", refuse)
    frozen = CONFIG.model_copy(update={"freeze_exposure": True})
    with pytest.raises(SourceError, match=f"^realsense {SERIAL}: refused while it was started .hwmon command 0x1"):
        RealSenseSource(frozen, camera.context)
    with RealSenseSource(CONFIG, camera.context) as source:
        assert next(source.frames()).sequence == 0


def test_an_option_that_is_refused_and_cannot_be_read_is_a_warning() -> None:
    class Sensor:
        reads = 0

        def supports(self, key: Any) -> bool:
            return bool(key == rs.option.depth_units)

        def get_option_range(self, key: Any) -> Any:
            raise RuntimeError("out of range")

        def get_option(self, key: Any) -> float:
            self.reads += 1
            if self.reads == 1:
                raise RuntimeError("timed out")
            return 0.001

    warnings: list[str] = []
    sensor = Sensor()
    assert Controls(rs, sensor, sensor, {}, warnings).prepare(choose_preset("none", "")) == 0.001
    assert warnings == [
        "depth option depth_units=0.0001 was refused: out of range",
        "depth option depth_units cannot be read: timed out",
    ]
