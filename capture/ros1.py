"""The ROS1 messages inside a RealSense bag, parsed by hand.

By hand, because newer SDKs append a float (depth unit) to `sensor_msgs/Image` without declaring it, on which typed
readers fail.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .frame import Extrinsics, Intrinsics
from .realsense_names import from_quaternion, intrinsics, short_float

_HEADER = struct.Struct("<IIII")  # sequence, seconds, nanoseconds, bytes of frame_id
_U32 = struct.Struct("<I")
_SIZE = struct.Struct("<II")
_AFTER_ENCODING = struct.Struct("<BII")
IMAGE_HEADER_BYTES = 128
"""More than the bytes before the pixels of any image message of these files."""


class ImageHeader(NamedTuple):
    """An image message up to its pixels; a tuple, as that is made four times as fast as a frozen class."""

    number: int
    stamp_ns: int
    marker: str
    """`frame_id`; '1' means that the depth unit follows the pixels."""
    height: int
    width: int
    encoding: str
    big_endian: bool
    step: int
    start: int
    """Where the pixels begin."""
    size: int
    """Bytes of pixels."""


def image_header(data: bytes | memoryview) -> ImageHeader:
    """Parse the front of a `sensor_msgs/Image`.

    Raises:
        ValueError: when it is cut.
    """
    try:
        number, seconds, nanoseconds, length = _HEADER.unpack_from(data)
        position = 16 + length
        marker = str(data[16:position], "ascii", "replace")
        height, width = _SIZE.unpack_from(data, position)
        encoding, position = _string(data, position + 8)
        big_endian, step, size = _AFTER_ENCODING.unpack_from(data, position)
    except struct.error as error:
        raise ValueError(f"an image message of {len(data)} bytes is cut: {error}") from error
    stamp_ns = seconds * 1_000_000_000 + nanoseconds
    return ImageHeader(number, stamp_ns, marker, height, width, encoding, bool(big_endian), step, position + 9, size)


def trailing_unit_m(data: bytes | memoryview, header: ImageHeader) -> float | None:
    """The undeclared depth unit behind the pixels, None where there is none (old files, color)."""
    end = header.start + header.size
    if header.marker != "1" or len(data) != end + 4:
        return None
    (unit,) = struct.unpack_from("<f", data, end)
    return short_float(unit) if unit > 0 else None


def key_value(data: memoryview) -> tuple[str, str]:
    """A `diagnostic_msgs/KeyValue`.

    Raises:
        ValueError: when it is cut.
    """
    try:
        key_end = 4 + _U32.unpack_from(data)[0]
        end = key_end + 4 + _U32.unpack_from(data, key_end)[0]
    except struct.error as error:
        raise ValueError(f"a key and value of {len(data)} bytes are cut: {error}") from error
    if end > len(data):
        raise ValueError(f"a key and value of {end} bytes are cut after {len(data)}")
    return str(data[4:key_end], "utf-8", "replace"), str(data[key_end + 4 : end], "utf-8", "replace")


def stream_info(data: memoryview) -> tuple[int, str]:
    """Nominal frame rate and encoding of a `realsense_msgs/StreamInfo`."""
    return int(_U32.unpack_from(data)[0]), _string(data, 4)[0]


def camera_info(data: memoryview) -> Intrinsics | None:
    """A `sensor_msgs/CameraInfo`; None where its lens model is unknown."""
    (length,) = _U32.unpack_from(data, 12)
    position = 16 + length
    height, width = _SIZE.unpack_from(data, position)
    model, position = _string(data, position + 8)
    (count,) = _U32.unpack_from(data, position)
    coeffs = struct.unpack_from(f"<{count}d", data, position + 4)
    matrix = struct.unpack_from("<9d", data, position + 4 + 8 * count)
    return intrinsics(width, height, (matrix[0], matrix[4]), (matrix[2], matrix[5]), model, coeffs)


def transform(data: memoryview) -> Extrinsics:
    """A `geometry_msgs/Transform`: the pose that maps points of the reference stream into this stream."""
    x, y, z, qx, qy, qz, qw = struct.unpack_from("<7d", data)
    return from_quaternion(qx, qy, qz, qw, (x, y, z))


def float32(data: memoryview) -> float:
    """A `std_msgs/Float32`."""
    return short_float(struct.unpack_from("<f", data)[0])


def _string(data: bytes | memoryview, position: int) -> tuple[str, int]:
    """A length-prefixed string and where it ends.

    Raises:
        ValueError: when it is cut.
    """
    start = position + 4
    length = int.from_bytes(data[position:start], "little")
    end = start + length
    if start > len(data) or end > len(data):
        raise ValueError(f"a text of {length} bytes at byte {position} of {len(data)} is cut")
    return str(data[start:end], "utf-8", "replace"), end
