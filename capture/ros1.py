"""The ROS1 messages inside a RealSense bag, parsed by hand.

By hand, because newer SDKs append a float (depth unit) to `sensor_msgs/Image` without declaring it, on which typed
readers fail.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .frame import Extrinsics, Intrinsics
from .realsense_names import from_quaternion, intrinsics, short_float

_STAMP = struct.Struct("<III")  # sequence, seconds, nanoseconds
_U32 = struct.Struct("<I")
_F32 = struct.Struct("<f")
_SIZE = struct.Struct("<II")
_AFTER_ENCODING = struct.Struct("<BII")
IMAGE_HEADER_BYTES = 128
"""More than the bytes before the pixels of any image message of these files."""


@dataclass(frozen=True, slots=True)
class ImageForm:
    """What the images of a stream have in common: their header but for number and stamp."""

    front: bytes
    """As it stands in the message, behind the stamp and before the pixels."""
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


def image_header(data: bytes | memoryview, like: ImageForm | None = None) -> tuple[int, int, ImageForm]:
    """Number, stamp in ns and form of a `sensor_msgs/Image`; the form is `like` where the bytes are the same.

    Raises:
        ValueError: when it is cut.
    """
    try:
        number, seconds, nanoseconds = _STAMP.unpack_from(data)
        if like is None or data[_STAMP.size : like.start] != like.front:
            like = _image_form(data)
    except struct.error as error:
        raise ValueError(f"an image message of {len(data)} bytes is cut: {error}") from error
    return number, seconds * 1_000_000_000 + nanoseconds, like


def trailing_unit_m(data: bytes | memoryview, form: ImageForm) -> float | None:
    """The undeclared depth unit behind the pixels, None where there is none (old files, color)."""
    end = form.start + form.size
    if form.marker != "1" or len(data) != end + 4:
        return None
    (unit,) = _F32.unpack_from(data, end)
    return short_float(unit) if unit > 0 else None


def key_value(data: memoryview) -> tuple[str, str]:
    """A `diagnostic_msgs/KeyValue`.

    Raises:
        ValueError: when it is cut.
    """
    content = bytes(data)
    try:
        key_end = 4 + _U32.unpack_from(content)[0]
        end = key_end + 4 + _U32.unpack_from(content, key_end)[0]
    except struct.error as error:
        raise ValueError(f"a key and value of {len(content)} bytes are cut: {error}") from error
    if end > len(content):
        raise ValueError(f"a key and value of {end} bytes are cut after {len(content)}")
    return content[4:key_end].decode("utf-8", "replace"), content[key_end + 4 : end].decode("utf-8", "replace")


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
    return short_float(_F32.unpack_from(data)[0])


def _image_form(data: bytes | memoryview) -> ImageForm:
    """Everything between the stamp of an image and its pixels."""
    begin = _STAMP.size
    marker_end = begin + 4 + _U32.unpack_from(data, begin)[0]
    marker = str(data[begin + 4 : marker_end], "ascii", "replace")
    height, width = _SIZE.unpack_from(data, marker_end)
    encoding, position = _string(data, marker_end + 8)
    big_endian, step, size = _AFTER_ENCODING.unpack_from(data, position)
    start = position + _AFTER_ENCODING.size
    return ImageForm(bytes(data[begin:start]), marker, height, width, encoding, bool(big_endian), step, start, size)


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
