"""RealSense frames, profiles and calibration in our terms; the SDK's module comes as an argument."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .frame import Calibration, ClockDomain, Extrinsics, Intrinsics
from .live_frames import SensorFrame
from .pairing import Role
from .realsense_names import DOMAINS, intrinsics, short_float
from .realsense_profiles import Mode, color_from
from .source import SourceError

CHANNELS = ("rgb8", "bgr8", "rgba8", "bgra8")
"""Color formats taken, best first; the SDK converts from what the camera sends."""


@dataclass(frozen=True, slots=True)
class Offered:
    """One stream profile of one sensor."""

    role: Role
    mode: Mode
    sensor: int
    """Index among the device's sensors."""
    format: str
    profile: Any


def offered(sensors: Iterable[Any]) -> list[Offered]:
    """Color and depth profiles that can be used, the best color format of each mode."""
    found: dict[tuple[Role, Mode], Offered] = {}
    for index, sensor in enumerate(sensors):
        for profile in sensor.get_stream_profiles():
            if not profile.is_video_stream_profile():
                continue
            video, form = profile.as_video_stream_profile(), profile.format().name
            kind = profile.stream_type().name
            role: Role | None = "depth" if (kind, form) == ("depth", "z16") else None
            if kind == "color" and form in CHANNELS:
                role = "color"
            if role is None:
                continue
            one = Offered(role, Mode(video.width(), video.height(), video.fps()), index, form, video)
            known = found.get((role, one.mode))
            if known is None or (role == "color" and CHANNELS.index(form) < CHANNELS.index(known.format)):
                found[(role, one.mode)] = one
    return list(found.values())


def read_calibration(color: Any, depth: Any) -> Calibration:
    """Geometry of two open profiles.

    Raises:
        SourceError: a lens model that is not known.
    """
    to_color = depth.get_extrinsics_to(color)
    # The SDK keeps rotations column by column.
    rotation = np.reshape(to_color.rotation, (3, 3)).T
    return Calibration(
        color=_intrinsics(color),
        depth=_intrinsics(depth),
        depth_to_color=Extrinsics.of(rotation, to_color.translation),
    )


def _intrinsics(profile: Any) -> Intrinsics:
    found = profile.get_intrinsics()
    model = found.model.name.replace("_", " ")
    camera = intrinsics(found.width, found.height, (found.fx, found.fy), (found.ppx, found.ppy), model, found.coeffs)
    if camera is None:
        raise SourceError(f"realsense: lens model {model!r} of {profile} is not known here; report it with the model")
    return camera


def metadata(rs: Any, frame: Any, name: str) -> int | None:
    """One metadata value of a frame; None where driver or camera give none."""
    key = getattr(rs.frame_metadata_value, name)
    return int(frame.get_frame_metadata(key)) if frame.supports_frame_metadata(key) else None


def sensor_frame(rs: Any, frame: Any, channels: str, arrived_ns: int) -> SensorFrame | None:
    """A copy of an SDK frame; None for one of another stream.

    A stamp in global time is kept beside the hardware's, never instead of it: where the frame's metadata carry the
    hardware stamp, that one is the device stamp.
    """
    kind = frame.get_profile().stream_type().name
    if kind not in ("color", "depth"):
        return None
    stamp_ns = round(frame.get_timestamp() * 1e6)
    domain = DOMAINS.get(frame.get_frame_timestamp_domain().name.replace("_", " "), ClockDomain.UNKNOWN)
    hardware_us = metadata(rs, frame, "frame_timestamp")
    sensor_us = metadata(rs, frame, "sensor_timestamp")
    counter = metadata(rs, frame, "frame_counter")
    global_ns = stamp_ns if domain is ClockDomain.GLOBAL else None
    if domain is ClockDomain.GLOBAL and (hardware_us is not None or sensor_us is not None):
        stamp_us = hardware_us if hardware_us is not None else sensor_us
        assert stamp_us is not None
        stamp_ns, domain = stamp_us * 1000, ClockDomain.HARDWARE
    data = np.asanyarray(frame.get_data())
    return SensorFrame(
        role="color" if kind == "color" else "depth",
        image=color_from(data, channels) if kind == "color" else data.copy(),
        number=frame.get_frame_number() if counter is None else counter,
        t_device_ns=stamp_ns,
        clock_domain=domain,
        t_host_ns=arrived_ns,
        t_sensor_ns=None if sensor_us is None else sensor_us * 1000,
        t_global_ns=global_ns,
        depth_scale_m=short_float(frame.as_depth_frame().get_units()) if kind == "depth" else 0.0,
    )
