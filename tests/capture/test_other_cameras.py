"""Azure Kinect, OAK and Orbbec: the whole path of each adapter against a fake of its SDK."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from sfam.capture.camera_list import list_all, list_kind
from sfam.capture.config import CaptureConfig
from sfam.capture.device_source import DeviceSource
from sfam.capture.frame import ClockDomain, Distortion
from sfam.capture.source import AbsentError, FrameSource, SourceError, open_source
from tests.capture import fake_depthai, fake_pyk4a, fake_pyorbbecsdk


@dataclass(frozen=True)
class Kind:
    name: str
    module: str
    fake: ModuleType
    color: tuple[int, int]
    depth: tuple[int, int]
    scale_m: float = 0.001


KINDS = [
    Kind("kinect", "pyk4a", fake_pyk4a, (720, 1280), (576, 640)),
    Kind("oak", "depthai", fake_depthai, (480, 640), (480, 640)),
    Kind("orbbec", "pyorbbecsdk", fake_pyorbbecsdk, (720, 1280), (576, 640), 0.0005),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kind:
    found: Kind = request.param
    monkeypatch.setitem(sys.modules, found.module, found.fake)
    for name, value in {"lost": False, "busy": False, "silent": False, "present": True, "started": []}.items():
        monkeypatch.setattr(found.fake, name, value)
    return found


def opened(kind: Kind, **settings: Any) -> FrameSource:
    return open_source(
        CaptureConfig.model_validate({"camera": kind.name, "warmup_frames": 12, "stall_timeout": 0.4, **settings})
    )


def test_it_is_listed_with_its_serial_and_modes(kind: Kind) -> None:
    (listing,) = list_kind(kind.name)
    assert (listing.kind, listing.serial) == (kind.name, kind.fake.SERIAL)
    assert f"color {kind.color[1]}x{kind.color[0]}@30" in listing.modes
    assert f"depth {kind.depth[1]}x{kind.depth[0]}@30" in listing.modes


def test_pairs_come_with_hardware_stamps_and_geometry(kind: Kind) -> None:
    with opened(kind) as source:
        frames = [frame for frame, _ in zip(source.frames(), range(15), strict=False)]
        info = source.info
    assert [frame.sequence for frame in frames] == list(range(15))
    for frame in frames:
        assert frame.color.shape == (*kind.color, 3)
        assert frame.color[5, 5].tolist() == [1, 2, 3]
        assert frame.depth.shape == kind.depth
        assert abs(frame.t_device_ns - frame.t_depth_device_ns) < 1_000_000
        assert frame.clock_domain is ClockDomain.HARDWARE
        assert frame.depth_scale_m == kind.scale_m
    assert (info.kind, info.live, info.camera) == ("device", True, kind.fake.SERIAL)
    assert info.fps == pytest.approx(30, abs=0.01)
    assert kind.fake.started == []


def test_the_geometry_is_that_of_the_device(kind: Kind) -> None:
    with opened(kind) as source:
        calibration = source.info.calibration
    if kind.name == "oak":
        assert calibration.depth_aligned
        assert calibration.color.distortion is Distortion.NONE
        return
    assert calibration.depth_to_color.rotation == (0, -1, 0, 1, 0, 0, 0, 0, 1)
    assert calibration.depth_to_color.translation_m == pytest.approx((-0.032, 0.002, 0.004))
    assert calibration.depth.distortion is Distortion.RATIONAL
    expected = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08] if kind.name == "kinect" else [1, 2, 7, 8, 3, 4, 5, 6]
    assert list(calibration.depth.coeffs) == pytest.approx(expected)


def test_color_without_depth_is_counted(kind: Kind) -> None:
    with opened(kind) as source:
        for _ in zip(source.frames(), range(20), strict=False):
            pass
    assert source.drops.get("unpaired_color", 0) == (0 if kind.name == "oak" else 2)


def test_captures_that_a_kinect_loses_are_counted_though_it_numbers_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyk4a", fake_pyk4a)
    monkeypatch.setattr(fake_pyk4a, "never", set(range(31, 41)))
    with open_source(CaptureConfig(camera="kinect", warmup_frames=20)) as source:
        frames = [frame for frame, _ in zip(source.frames(), range(20), strict=False)]
    assert source.drops["lost"] == 10
    assert sum(frame.dropped_before for frame in frames if frame.dropped_before > 2) == 10


def test_depth_of_an_oak_does_not_wait_for_the_next_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "depthai", fake_depthai)
    monkeypatch.setattr(fake_depthai, "late", True)
    with open_source(CaptureConfig(camera="oak", warmup_frames=3)) as source:
        assert isinstance(source, DeviceSource)
        (color,), (depth,) = source.read(0.2), source.read(0.2)
    assert (color.role, depth.role) == ("color", "depth")
    assert color.number == depth.number


def test_a_lost_camera_ends_the_frames_and_can_be_opened_again(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(kind) as source:
        frames = source.frames()
        next(frames)
        monkeypatch.setattr(kind.fake, "lost", True)
        with pytest.raises(SourceError, match="lost while streaming"):
            for _ in frames:
                pass
    monkeypatch.setattr(kind.fake, "lost", False)
    with opened(kind, serial_no=kind.fake.SERIAL) as again:
        assert next(again.frames()).sequence == 0


def test_a_silent_camera_ends_the_frames(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(kind) as source:
        frames = source.frames()
        next(frames)
        monkeypatch.setattr(kind.fake, "silent", True)
        with pytest.raises(SourceError, match="no frame for"):
            for _ in frames:
                pass


def test_a_camera_in_use_is_said_to_be(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind.fake, "busy", True)
    with pytest.raises(SourceError, match=r"another program|none is free"):
        opened(kind)


def test_an_absent_camera_is_told_from_a_failing_one(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind.fake, "present", False)
    with pytest.raises(AbsentError, match=r"no camera is connected.*udev rule"):
        opened(kind)


def test_exposure_can_be_frozen(kind: Kind) -> None:
    with opened(kind, freeze_exposure=True) as source:
        assert source.info.details["frozen"] is True
    if kind.name == "oak":
        assert fake_depthai.sent[-2:] == [("exposure", True), ("balance", True)]


def test_an_orbbec_is_reset_before_the_start_where_asked(kind: Kind) -> None:
    with opened(kind, initial_reset=True) as source:
        warnings = source.info.warnings
    if kind.name == "orbbec":
        assert fake_pyorbbecsdk.rebooted
    if kind.name == "kinect":
        assert any("no hardware reset" in warning for warning in warnings)


def test_an_orbbec_that_cannot_be_asked_is_told_beside_those_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def second_only(self: fake_pyorbbecsdk.DeviceList, index: int) -> fake_pyorbbecsdk.Device:
        if index == 0:
            raise fake_pyorbbecsdk.OBError("failed to open usb device: -3")
        return fake_pyorbbecsdk.Device()

    monkeypatch.setitem(sys.modules, "pyorbbecsdk", fake_pyorbbecsdk)
    monkeypatch.setattr(fake_pyorbbecsdk.DeviceList, "get_count", lambda self: 2)
    monkeypatch.setattr(fake_pyorbbecsdk.DeviceList, "get_device_by_index", second_only)
    found, unusable = list_all()
    assert fake_pyorbbecsdk.SERIAL in [one.serial for one in found if one.kind == "orbbec"]
    assert "does not answer (failed to open usb device: -3). On Linux it needs the udev rule" in unusable["orbbec"]


@pytest.mark.parametrize("refused", ["reboot", "Pipeline"])
def test_an_orbbec_that_refuses_is_a_sentence(refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise fake_pyorbbecsdk.OBError("access denied")

    monkeypatch.setitem(sys.modules, "pyorbbecsdk", fake_pyorbbecsdk)
    config = CaptureConfig(camera="orbbec", warmup_frames=12, initial_reset=True)
    if refused == "reboot":
        monkeypatch.setattr(fake_pyorbbecsdk.Device, "reboot", refuse)
        with open_source(config) as source:
            assert "hardware reset was refused: access denied" in source.info.warnings
            assert next(source.frames()).sequence == 0
        return
    monkeypatch.setattr(fake_pyorbbecsdk, "Pipeline", refuse)
    with pytest.raises(SourceError, match=r"^orbbec CL8H741005J: refused while it was started .access denied"):
        open_source(config)


def test_a_missing_sdk_is_a_sentence_for_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in KINDS:
        monkeypatch.setitem(sys.modules, one.module, None)
        with pytest.raises(SourceError, match="pip install"):
            open_source(CaptureConfig(camera=one.name))
    _, unusable = list_all()
    assert {one.name for one in KINDS} <= unusable.keys()
