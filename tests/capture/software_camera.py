"""A camera of the vendor's own SDK that exists in software only: found by serial in a real context, fed by a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

rs = pytest.importorskip("pyrealsense2")

SERIAL = "843112070123"
WRAP_US = 2**32


@dataclass
class Behaviour:
    """What the feeding thread does; changed by tests while it runs."""

    fps: float = 60.0
    """Of the wall clock: faster than the nominal 30, so that tests are short."""
    silent: set[str] = field(default_factory=set)
    skip: set[int] = field(default_factory=set)
    """Numbers of color frames that never come."""
    domain: str = "global_time"
    hardware_offset_us: int = 5_000_000
    metadata: bool = True
    exposure_us: int = 8300


class SoftwareCamera:
    """Depth 848x480 and 640x480, color 640x480 in RGB; every 2nd value of an image is its frame number."""

    def __init__(self, usb: str = "3.2", depth_sizes: tuple[tuple[int, int], ...] = ((640, 480), (848, 480))) -> None:
        self.behaviour = Behaviour()
        self.sent = 0
        """Number of the newest frames."""
        self.context = rs.context()
        self.device = rs.software_device()
        for name, value in {
            "serial_number": SERIAL,
            "name": "Intel RealSense D435I",
            "firmware_version": "5.16.0.1",
            "usb_type_descriptor": usb,
            "product_line": "D400",
        }.items():
            key = getattr(rs.camera_info, name)
            # Some are registered by the SDK itself.
            put = self.device.update_info if self.device.supports(key) else self.device.register_info
            put(key, value)
        self.depth = self.device.add_sensor("Stereo Module")
        self.color = self.device.add_sensor("RGB Camera")
        self.depth_profiles = {
            size: self.depth.add_video_stream(_stream(rs.stream.depth, rs.format.z16, size, 10 + at), at == 0)
            for at, size in enumerate(depth_sizes)
        }
        self.color_profile = self.color.add_video_stream(_stream(rs.stream.color, rs.format.rgb8, (640, 480), 2), True)
        for profile in self.depth_profiles.values():
            profile.register_extrinsics_to(self.color_profile, _extrinsics())
        self._options()
        self._kept: list[Any] = []
        # The context holds devices weakly; the list handed to this callback keeps the device findable.
        self.context.set_devices_changed_callback(lambda change: self._kept.append(change.get_new_devices()))
        self.device.add_to(self.context)
        for _ in range(100):
            if self._kept:
                break
            time.sleep(0.01)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="software-camera", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.context.set_devices_changed_callback(_nothing)
        self._kept.clear()

    def _options(self) -> None:
        def add(sensor: Any, name: str, least: float, most: float, step: float, default: float) -> None:
            limits = rs.option_range()  # its constructor with values swaps step and default
            limits.min, limits.max, limits.step, limits.default = least, most, step, default
            sensor.add_option(getattr(rs.option, name), limits, True)

        add(self.depth, "depth_units", 1e-6, 0.01, 1e-6, 0.001)
        add(self.depth, "visual_preset", 0, 6, 1, 1)
        add(self.depth, "emitter_enabled", 0, 2, 1, 0)
        add(self.depth, "laser_power", 0, 360, 30, 150)
        for sensor in (self.depth, self.color):
            add(sensor, "enable_auto_exposure", 0, 1, 1, 1)
            add(sensor, "exposure", 1, 165_000, 1, 156)
            add(sensor, "gain", 0, 248, 1, 16)
        add(self.color, "auto_exposure_priority", 0, 1, 1, 1)
        add(self.color, "enable_auto_white_balance", 0, 1, 1, 1)
        add(self.color, "white_balance", 2800, 6500, 10, 4600)

    def _feed(self) -> None:
        number = 0
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            due_s += 1 / self.behaviour.fps
            number += 1
            self.sent = number
            units = self.depth.get_option(rs.option.depth_units)
            active = self.depth.get_active_streams()
            if active and "depth" not in self.behaviour.silent:
                self._send(self.depth, active[0].as_video_stream_profile(), 2, number, 0.0, units)
            if self.color.get_active_streams() and "color" not in self.behaviour.silent | (
                {"color"} if number in self.behaviour.skip else set()
            ):
                self._send(self.color, self.color_profile.as_video_stream_profile(), 3, number, 0.2, 0.0)

    def _send(self, sensor: Any, profile: Any, size: int, number: int, late_ms: float, units: float) -> None:
        behaviour = self.behaviour
        hardware_ms = behaviour.hardware_offset_us / 1e3 + number * 1000 / 30 + late_ms
        frame = rs.software_video_frame()
        width, height = profile.width(), profile.height()
        frame.pixels = np.full((height, width * size), number % 251, np.uint8)
        frame.stride, frame.bpp = width * size, size
        frame.domain = getattr(rs.timestamp_domain, behaviour.domain)
        frame.timestamp = hardware_ms % (WRAP_US / 1e3) + (1.7e12 if behaviour.domain == "global_time" else 0.0)
        frame.frame_number = number
        frame.profile = profile
        frame.depth_units = units
        if behaviour.metadata:
            key = rs.frame_metadata_value
            stamp_us = round(hardware_ms * 1000) % WRAP_US
            sensor.set_metadata(key.frame_timestamp, stamp_us)
            sensor.set_metadata(key.sensor_timestamp, (stamp_us - 4000) % WRAP_US)
            sensor.set_metadata(key.frame_counter, number)
            sensor.set_metadata(key.actual_exposure, behaviour.exposure_us)
            sensor.set_metadata(key.gain_level, 64)
        sensor.on_video_frame(frame)


@contextmanager
def software_camera(**options: Any) -> Iterator[SoftwareCamera]:
    """A running one."""
    camera = SoftwareCamera(**options)
    camera.start()
    try:
        yield camera
    finally:
        camera.close()


def _nothing(change: Any) -> None:
    """Takes the place of a callback that holds objects."""


def _stream(kind: Any, form: Any, size: tuple[int, int], uid: int) -> Any:
    stream = rs.video_stream()
    stream.type, stream.index, stream.uid, stream.fmt = kind, 0, uid, form
    stream.width, stream.height = size
    stream.fps, stream.bpp = 30, 2 if form == rs.format.z16 else 3
    lens = rs.intrinsics()
    lens.width, lens.height = size
    lens.fx, lens.fy, lens.ppx, lens.ppy = 610.0, 611.0, size[0] / 2 + 1.5, size[1] / 2 - 2.5
    lens.model = rs.distortion.inverse_brown_conrady
    lens.coeffs = [0.01, -0.02, 0.001, 0.002, 0.0]
    stream.intrinsics = lens
    return stream


def _extrinsics() -> Any:
    """15 mm to the side, a quarter turn about z (column by column, as the SDK wants it)."""
    transform = rs.extrinsics()
    transform.rotation = [0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    transform.translation = [0.015, 0.0, 0.001]
    return transform
