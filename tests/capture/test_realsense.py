from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from sfam.capture import realsense
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import ClockDomain, Distortion, RGBDFrame
from sfam.capture.realsense import RealSenseSource, list_cameras
from sfam.capture.source import AbsentError, FrameSource, SourceError
from tests.capture import resettable, sdk_names
from tests.capture.software_camera import SERIAL, WRAP_US, SoftwareCamera, rs, software_camera


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftwareCamera]:
    monkeypatch.setattr(realsense, "QUEUE_FRAMES", 300)  # a busy machine may not look for seconds
    with software_camera() as running:
        yield running


def opened(camera: SoftwareCamera, **settings: Any) -> RealSenseSource:
    config = {"camera": f"realsense:{SERIAL}", "warmup_frames": 3, "stall_timeout": 20.0, **settings}
    return RealSenseSource(CaptureConfig.model_validate(config), camera.context)


def take(source: FrameSource, count: int, at: dict[int, Callable[[], None]] | None = None) -> list[RGBDFrame]:
    """So many frames; `at` runs something after the frame of that index."""
    frames = []
    for frame in source.frames():
        frames.append(frame)
        if at and len(frames) - 1 in at:
            at[len(frames) - 1]()
        if len(frames) == count:
            break
    return frames


def test_a_camera_is_listed_with_serial_firmware_usb_type_and_modes(camera: SoftwareCamera) -> None:
    (listing,) = list_cameras(camera.context)
    assert (listing.kind, listing.serial, listing.firmware, listing.connection) == (
        "realsense",
        SERIAL,
        "5.16.0.1",
        "3.2",
    )
    assert listing.modes == ("depth 848x480@30", "depth 640x480@30", "color 640x480@30")


def test_color_and_depth_of_one_instant_come_together_as_sensed(camera: SoftwareCamera) -> None:
    with opened(camera) as source:
        frames = take(source, 20)
        info = source.info
    assert [frame.sequence for frame in frames] == list(range(20))
    for frame in frames:
        assert frame.color_number == frame.depth_number
        assert frame.color.shape == (480, 640, 3)
        assert frame.depth.shape == (480, 848)
        assert (frame.color == frame.color_number % 251).all()
        assert (frame.depth == frame.depth_number % 251 * 257).all()
    assert info.calibration.depth_aligned is False
    assert info.calibration.color.fx == 610
    assert info.calibration.color.distortion is Distortion.INVERSE_BROWN_CONRADY
    # A quarter turn: x of depth is y of color.
    assert info.calibration.depth_to_color.rotation == (0, -1, 0, 1, 0, 0, 0, 0, 1)
    assert info.calibration.depth_to_color.translation_m[0] == pytest.approx(0.015)
    assert dict(source.drops) == {}


def test_frames_stay_what_they_were_while_the_sdk_goes_on(camera: SoftwareCamera) -> None:
    with opened(camera) as source:
        frames = take(source, 60)
    assert all((frame.color == frame.color_number % 251).all() for frame in frames)


def test_what_came_while_nobody_read_is_passed_over(camera: SoftwareCamera) -> None:
    with opened(camera) as source:
        opened_at = camera.sent
        while camera.sent < opened_at + 30:
            time.sleep(0.01)
        newest = camera.sent
        frames = take(source, 5)
        assert frames[0].color_number >= newest - 2  # the SDK has threads of its own
        assert [frame.sequence for frame in frames] == list(range(5))
        assert dict(source.drops) == {}


def test_hardware_stamp_global_stamp_and_counter_are_three_fields(camera: SoftwareCamera) -> None:
    with opened(camera) as source:
        first, second = take(source, 2)
    assert first.clock_domain is ClockDomain.HARDWARE
    assert second.t_device_ns - first.t_device_ns == pytest.approx(1e9 / 30, abs=2000)
    assert first.t_sensor_ns == first.t_device_ns - 4_000_000
    assert first.t_global_ns is not None
    assert first.t_global_ns - first.t_device_ns == pytest.approx(1.7e18, rel=1e-9)
    assert second.color_number == first.color_number + 1


def test_without_metadata_global_time_is_said_to_be_global_time(camera: SoftwareCamera) -> None:
    camera.behaviour.metadata = False
    with opened(camera) as source:
        (frame,) = take(source, 1)
    assert frame.clock_domain is ClockDomain.GLOBAL
    assert frame.t_sensor_ns is None
    assert frame.t_device_ns == frame.t_global_ns


def test_the_preset_of_the_model_is_applied_and_read_back(camera: SoftwareCamera) -> None:
    with opened(camera) as source:
        details = source.info.details
        (frame,) = take(source, 1)
    assert details["preset"] == "D435"
    assert details["depth.visual_preset"] == rs.rs400_visual_preset.high_density.value
    assert details["depth.laser_power"] == 90
    assert details["color.auto_exposure_priority"] == 0
    assert details["depth_unit_m"] == 0.0001
    assert frame.depth_scale_m == 0.0001
    assert camera.depth.get_option(rs.option.laser_power) == 90


def test_preset_none_changes_the_depth_unit_only(camera: SoftwareCamera) -> None:
    with opened(camera, preset="none") as source:
        details = source.info.details
    assert details["preset"] == "none"
    assert camera.depth.get_option(rs.option.laser_power) == 150
    assert camera.color.get_option(rs.option.auto_exposure_priority) == 1
    assert details["depth.depth_units"] == 0.0001
    assert source.info.details["modes"] == "color 640x480@30, depth 640x480@30"


def test_an_unknown_preset_names_those_there_are(camera: SoftwareCamera) -> None:
    with pytest.raises(SourceError, match="none of auto, none, D405, D415, D435, D455"):
        opened(camera, preset="D345")


def test_frozen_exposure_is_what_the_automatic_had_arrived_at(camera: SoftwareCamera) -> None:
    with opened(camera, freeze_exposure=True) as source:
        details = source.info.details
    assert camera.color.get_option(rs.option.enable_auto_exposure) == 0
    assert camera.color.get_option(rs.option.enable_auto_white_balance) == 0
    assert (details["depth.exposure"], details["color.exposure"]) == (8300, 83)
    assert (details["depth.gain"], details["color.gain"]) == (64, 64)
    assert details["frozen"] is True


def test_skipped_numbers_are_counted_and_said_at_the_next_pair(camera: SoftwareCamera) -> None:
    with opened(camera) as source:
        frames = []
        for frame in source.frames():
            frames.append(frame)
            if len(frames) == 3:
                ahead = camera.sent + 10
                camera.behaviour.skip = {ahead, ahead + 1}
            if len(frames) > 3 and frame.color_number > ahead + 5:
                break
    assert source.drops == {"lost": 2, "unpaired_depth": 2}
    assert sum(frame.dropped_before for frame in frames) == 2
    assert {frame.segment for frame in frames} == {0}


def test_stamps_that_jump_back_begin_a_new_segment(camera: SoftwareCamera) -> None:
    def jump() -> None:
        camera.behaviour.hardware_offset_us = 1_000_000

    with opened(camera) as source:
        frames = take(source, 20, {5: jump})
    segments = [frame.segment for frame in frames]
    assert segments == sorted(segments)
    assert set(segments) == {0, 1}
    assert [frame.sequence for frame in frames] == list(range(20))


def test_a_change_of_the_clock_begins_a_new_segment(camera: SoftwareCamera) -> None:
    def change() -> None:
        camera.behaviour.domain = "system_time"

    with opened(camera) as source:
        camera.behaviour.domain = "hardware_clock"
        frames = take(source, 20, {5: change})
    assert {(frame.segment, frame.clock_domain) for frame in frames} == {
        (0, ClockDomain.HARDWARE),
        (1, ClockDomain.SYSTEM),
    }


def test_a_hardware_counter_that_wraps_goes_on(camera: SoftwareCamera) -> None:
    with opened(camera) as source:
        first = next(source.frames())
        assert first.t_device_ns < 60e9
        camera.behaviour.hardware_offset_us = WRAP_US - round(first.color_number * 1e6 / 30) - 800_000
        frames = take(source, 60)
    assert {frame.segment for frame in frames} == {0}
    steps = [b.t_device_ns - a.t_device_ns for a, b in pairwise(frames)]
    assert all(step > 0 for step in steps)
    assert max(frame.t_device_ns for frame in frames) > WRAP_US * 1000
    assert {frame.t_device_ns - (frame.t_sensor_ns or 0) for frame in frames} == {4_000_000}


@pytest.mark.parametrize(
    ("silent", "words"),
    [({"depth"}, "depth stream stalled"), ({"color"}, "color stream stalled"), ({"color", "depth"}, "no frame for")],
)
def test_a_stalled_stream_ends_the_frames_with_its_name(camera: SoftwareCamera, silent: set[str], words: str) -> None:
    with opened(camera, stall_timeout=0.4) as source, pytest.raises(SourceError, match=words):
        take(source, 1000, {3: lambda: camera.behaviour.silent.update(silent)})


def test_an_unplugged_camera_ends_the_frames_says_so_and_streams_again_when_it_is_back(camera: SoftwareCamera) -> None:
    context = resettable.Context(camera.context, away_s=0)
    config = CaptureConfig(camera=f"realsense:{SERIAL}", warmup_frames=3, stall_timeout=60.0)

    def unplug() -> None:
        context.unplug()
        for sensor in (
            camera.depth,
            camera.color,
        ):  # so no frame comes, and closing the source is refused as by a real one
            sensor.stop()
            sensor.close()

    told = f"^realsense {SERIAL}: unplugged; Plug it into a USB 3 port"
    with RealSenseSource(config, context) as source, pytest.raises(SourceError, match=told):
        take(source, 1000, {3: unplug})
    with pytest.raises(AbsentError, match=f"no camera with serial {SERIAL} is connected"):
        RealSenseSource(config, context)
    context.plug_in()
    with RealSenseSource(config, context) as source:
        assert len(take(source, 3)) == 3


def test_a_moment_without_frames_is_not_taken_for_an_unplugged_camera(camera: SoftwareCamera) -> None:
    def pause() -> None:
        camera.behaviour.silent = {"depth", "color"}
        threading.Timer(0.6, camera.behaviour.silent.clear).start()

    with opened(camera) as source:
        assert len(take(source, 12, {3: pause})) == 12


def test_an_absent_camera_is_missed_at_once_or_after_the_wait(camera: SoftwareCamera) -> None:
    with pytest.raises(SourceError, match=rf"no camera with serial 999; connected: {SERIAL}"):
        RealSenseSource(CaptureConfig(camera="realsense:999"), camera.context)
    began_s = time.monotonic()
    with pytest.raises(SourceError, match="udev rule"):
        RealSenseSource(CaptureConfig(camera="realsense", wait_for_device_timeout=0.5), rs.context())
    assert time.monotonic() - began_s >= 0.5


def test_a_camera_in_use_is_called_busy(camera: SoftwareCamera) -> None:
    with opened(camera), pytest.raises(SourceError, match="another program uses it"):
        opened(camera)


def test_a_camera_can_be_opened_again_after_it_was_closed(camera: SoftwareCamera) -> None:
    for _ in range(3):
        with opened(camera) as source:
            assert len(take(source, 3)) == 3
        source.close()


def test_a_refused_reset_is_a_warning(camera: SoftwareCamera) -> None:
    with opened(camera, initial_reset=True) as source:
        assert any("hardware reset was refused" in warning for warning in source.info.warnings)


def test_after_a_reset_the_same_camera_is_waited_for_and_streams(camera: SoftwareCamera) -> None:
    context = resettable.Context(camera.context, away_s=1.5)
    config = CaptureConfig(camera="realsense", warmup_frames=3, initial_reset=True)
    with RealSenseSource(config, context) as source:
        assert len(take(source, 3)) == 3
        assert source.info.details["serial"] == SERIAL
        assert not any("reset" in warning for warning in source.info.warnings)
    assert context.resets == 1
    assert context.missed >= 1


def test_a_camera_that_a_reset_does_not_bring_back_is_absent(
    camera: SoftwareCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realsense, "RESET_WAIT_S", 0.3)
    context = resettable.Context(camera.context, away_s=3600)
    with pytest.raises(AbsentError, match=f"no camera with serial {SERIAL} is connected"):
        RealSenseSource(CaptureConfig(camera="realsense", initial_reset=True), context)
    assert context.resets == 1


def test_what_stands_in_for_the_reset_is_in_the_sdk() -> None:
    for fake, real in ((resettable.Device, rs.device), (resettable.Context, rs.context)):
        for name in ("hardware_reset", "is_connected", "query_devices"):
            if hasattr(fake, name):
                assert sdk_names.overloads(getattr(fake, name))[0] in sdk_names.overloads(getattr(real, name)), name


def test_a_camera_that_gives_no_frame_after_opening_is_reported() -> None:
    with software_camera() as camera:
        camera.behaviour.silent = {"depth"}
        camera.behaviour.fps = 100
        with pytest.raises(SourceError, match="opened, but the depth stream stalled"):
            opened(camera, stall_timeout=0.4)


def test_a_usb_2_port_is_said_loudly_and_the_nearest_modes_are_taken() -> None:
    with software_camera(usb="2.1", depth_sizes=((480, 270), (640, 480))) as camera, opened(camera) as source:
        warnings = source.info.warnings
        assert source.info.details["modes"] == "color 640x480@30, depth 640x480@30"
    assert any(warning.startswith("USB 2.1 CONNECTION") for warning in warnings)
    assert any("asked for color 640x480@30, depth 848x480@30" in warning for warning in warnings)


def test_the_achieved_rate_comes_from_the_cameras_counter_and_clock(camera: SoftwareCamera) -> None:
    with opened(camera, warmup_frames=20) as source:
        assert source.info.fps == pytest.approx(30, abs=0.01)  # its own clock says 30, whatever the wall clock says
