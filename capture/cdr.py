"""The ROS 2 messages that recordings of depth cameras hold, parsed from CDR by hand; pixels stay views, never copies.

Layout: a 4-byte header whose second byte says the byte order, then values aligned to their own size from there on.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from .frame import Extrinsics, Intrinsics
from .realsense_names import from_quaternion, intrinsics


class CdrReader:
    """Reads values one after the other.

    Raises:
        ValueError: when the message is shorter than what is asked of it.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        """Start behind the header of an encapsulated message."""
        if len(data) < 4 or data[0] != 0 or data[1] > 1:
            raise ValueError(f"a message of {len(data)} bytes does not begin as plain CDR")
        self._data = memoryview(data)[4:]
        self._order = "<" if data[1] == 1 else ">"
        self._at = 0

    def numbers(self, form: str, count: int = 1) -> tuple[float, ...]:
        """`count` values of a struct format letter, aligned to their size."""
        size = struct.calcsize("=" + form)
        self._at += -self._at % size
        try:
            values = struct.unpack_from(f"{self._order}{count}{form}", self._data, self._at)
        except struct.error as error:
            raise ValueError(f"a message of {len(self._data)} bytes is cut: {error}") from error
        self._at += size * count
        return values

    def integer(self, form: str = "I") -> int:
        """One integer."""
        return int(self.numbers(form)[0])

    def octets(self) -> memoryview:
        """A byte sequence, as a view."""
        length = self.integer()
        found = self._data[self._at : self._at + length]
        if len(found) < length:
            raise ValueError(f"a message of {len(self._data)} bytes is cut within {length} bytes of data")
        self._at += length
        return found

    def text(self) -> str:
        """A string, without the zero at its end."""
        return bytes(self.octets()).rstrip(b"\0").decode("utf-8", "replace")

    def stamp_ns(self) -> int:
        """A time as integer ns."""
        seconds = self.integer("i")
        return seconds * 1_000_000_000 + self.integer("I")


@dataclass(frozen=True, slots=True)
class RosImage:
    """A `sensor_msgs/Image`, or a `CompressedImage` with `format` instead of a size."""

    stamp_ns: int
    frame_id: str
    pixels: memoryview
    height: int = 0
    width: int = 0
    encoding: str = ""
    big_endian: bool = False
    step: int = 0
    format: str = ""


def image(data: bytes | memoryview) -> RosImage:
    """A `sensor_msgs/msg/Image`."""
    reader = CdrReader(data)
    stamp_ns, frame_id = reader.stamp_ns(), reader.text()
    height, width, encoding = reader.integer(), reader.integer(), reader.text()
    big_endian, step = bool(reader.integer("B")), reader.integer()
    return RosImage(stamp_ns, frame_id, reader.octets(), height, width, encoding, big_endian, step)


def compressed_image(data: bytes | memoryview) -> RosImage:
    """A `sensor_msgs/msg/CompressedImage`."""
    reader = CdrReader(data)
    stamp_ns, frame_id, form = reader.stamp_ns(), reader.text(), reader.text()
    return RosImage(stamp_ns, frame_id, reader.octets(), format=form)


def camera_info(data: bytes | memoryview) -> Intrinsics | None:
    """A `sensor_msgs/msg/CameraInfo`; None where its lens model is unknown."""
    reader = CdrReader(data)
    reader.stamp_ns()
    reader.text()
    height, width, model = reader.integer(), reader.integer(), reader.text()
    coeffs = reader.numbers("d", reader.integer())
    matrix = reader.numbers("d", 9)
    return intrinsics(width, height, (matrix[0], matrix[4]), (matrix[2], matrix[5]), model, coeffs)


def string(data: bytes | memoryview) -> str:
    """A `std_msgs/msg/String`."""
    return CdrReader(data).text()


def uint32(data: bytes | memoryview) -> int:
    """A `std_msgs/msg/UInt32`."""
    return CdrReader(data).integer()


def extrinsics(data: bytes | memoryview) -> Extrinsics:
    """A `realsense2_camera_msgs/msg/Extrinsics`; its rotation is column-major."""
    reader = CdrReader(data)
    columns, moved = reader.numbers("d", 9), reader.numbers("d", 3)
    return Extrinsics.of(np.reshape(columns, (3, 3)).T, moved)


def transforms(data: bytes | memoryview) -> dict[tuple[str, str], Extrinsics]:
    """A `tf2_msgs/msg/TFMessage`: (frame, child) -> the child's pose, which maps points of the child into the frame."""
    reader = CdrReader(data)
    found = {}
    for _ in range(reader.integer()):
        reader.stamp_ns()
        frame, child = reader.text(), reader.text()
        moved, (x, y, z, w) = reader.numbers("d", 3), reader.numbers("d", 4)
        found[frame, child] = from_quaternion(x, y, z, w, moved)
    return found
