"""Names and text forms that the RealSense SDK writes into all its files, in our terms."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from .frame import ClockDomain, Distortion, Extrinsics, Intrinsics
from .pairing import Role

STREAM_TOPIC = re.compile(r"^/device_\d+/(sensor_\d+)/([A-Za-z0-9 ]+)_(\d+)/(.+)$")
"""Sensor, stream type, stream index and what the topic holds."""
DISTORTIONS = {
    "none": Distortion.NONE,
    "brown conrady": Distortion.BROWN_CONRADY,
    "inverse brown conrady": Distortion.INVERSE_BROWN_CONRADY,
    "modified brown conrady": Distortion.MODIFIED_BROWN_CONRADY,
    "plumb_bob": Distortion.BROWN_CONRADY,
    "rational_polynomial": Distortion.RATIONAL,
}
"""Lens models by the SDK's names and by ROS's."""
DOMAINS = {
    "hardware clock": ClockDomain.HARDWARE,
    "system time": ClockDomain.SYSTEM,
    "global time": ClockDomain.GLOBAL,
}


def stream_name(kind: str, index: int) -> str:
    """Our name of an SDK stream: 'color', 'depth', 'infrared_1'; the index 0 is not said."""
    return kind.lower().replace(" ", "_") + (f"_{index}" if index else "")


def stream_role(kind: str) -> Role | None:
    """What a stream type is to us; infrared is a color stream only where it is asked for by name."""
    roles: dict[str, Role] = {"depth": "depth", "color": "color"}
    return roles.get(kind.lower())


def intrinsics(
    width: int, height: int, focal: Sequence[float], centre: Sequence[float], model: str, coeffs: Sequence[float]
) -> Intrinsics | None:
    """A pinhole camera from a file's numbers; None for a lens model that is not known."""
    distortion = DISTORTIONS.get(model.strip().lower() or "none")
    if distortion is None:
        return None
    padded = (*(float(one) for one in coeffs), 0.0, 0.0, 0.0, 0.0, 0.0)[: max(5, len(coeffs))]
    return Intrinsics(width, height, focal[0], focal[1], centre[0], centre[1], distortion, padded)


def device_details(device: Mapping[str, str]) -> dict[str, str | int | float | bool]:
    """What a session notes of a camera, from the SDK's names for it."""
    names = ("Name", "Serial Number", "Firmware Version", "Product Id", "Usb Type Descriptor")
    return {name.lower().replace(" ", "_"): device[name] for name in names if name in device}


def between(depth_pose: Extrinsics, color_pose: Extrinsics) -> Extrinsics:
    """Depth to color from the poses of both, each mapping points of one reference stream into its own.

    P_color = T_color * inverse(T_depth) * P_depth.
    """
    return color_pose.after(depth_pose.inverse())


def from_quaternion(x: float, y: float, z: float, w: float, translation_m: Sequence[float]) -> Extrinsics:
    """A pose from a unit quaternion (either sign) and a translation in metres."""
    norm = x * x + y * y + z * z + w * w
    s = 2.0 / norm if norm > 0 else 0.0
    rotation = (
        1 - s * (y * y + z * z),
        s * (x * y - z * w),
        s * (x * z + y * w),
        s * (x * y + z * w),
        1 - s * (x * x + z * z),
        s * (y * z - x * w),
        s * (x * z - y * w),
        s * (y * z + x * w),
        1 - s * (x * x + y * y),
    )
    return Extrinsics(rotation, (float(translation_m[0]), float(translation_m[1]), float(translation_m[2])))


def positive(text: str | None) -> float | None:
    """A positive number from metadata text; None for anything else, 0 being how the SDK says 'not known'."""
    try:
        value = float(text or 0)
    except ValueError:
        return None
    return value if 0 < value < math.inf else None


def sensor_ns(metadata: Mapping[str, str]) -> int | None:
    """The hardware stamp at mid-exposure, from microseconds, where the metadata hold it."""
    text = metadata.get("Sensor Timestamp", "")
    return int(text) * 1000 if text.isdecimal() else None


@lru_cache(maxsize=64)
def short_float(value: float) -> float:
    """The shortest decimal that a float32 stands for: 0.0010000000475 is 0.001."""
    return float(str(np.float32(value)))
