"""Foxglove's image and calibration messages in protobuf.

JSON would carry pixels as base64 text, a third larger and slow; three messages of this size need no protobuf library.
The tables below are at once the encoding and the descriptor that a file carries. After the published schemas
(https://docs.foxglove.dev/docs/visualization/message-schemas/introduction).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from .frame import Distortion, Intrinsics

Bytes = bytes | bytearray | memoryview
FieldTable = Mapping[str, tuple[int, str]]

COLOR_FRAME_ID = "camera_color_optical_frame"
DEPTH_FRAME_ID = "camera_depth_optical_frame"
"""Optical frames: x right, y down, z forward."""

RAW_IMAGE: FieldTable = {
    "timestamp": (1, "timestamp"),
    "frame_id": (7, "string"),
    "width": (2, "fixed32"),
    "height": (3, "fixed32"),
    "encoding": (4, "string"),
    "step": (5, "fixed32"),
    "data": (6, "bytes"),
}
COMPRESSED_IMAGE: FieldTable = {
    "timestamp": (1, "timestamp"),
    "frame_id": (4, "string"),
    "data": (2, "bytes"),
    "format": (3, "string"),
}
CAMERA_CALIBRATION: FieldTable = {
    "timestamp": (1, "timestamp"),
    "frame_id": (9, "string"),
    "width": (2, "fixed32"),
    "height": (3, "fixed32"),
    "distortion_model": (4, "string"),
    "D": (5, "doubles"),
    "K": (6, "doubles"),
    "R": (7, "doubles"),
    "P": (8, "doubles"),
}
"""Field name -> number and kind, in the published order."""
MESSAGES: dict[str, FieldTable] = {
    "foxglove.RawImage": RAW_IMAGE,
    "foxglove.CompressedImage": COMPRESSED_IMAGE,
    "foxglove.CameraCalibration": CAMERA_CALIBRATION,
}
_DESCRIPTOR_TYPE = {"doubles": 1, "int64": 3, "int32": 5, "fixed32": 7, "string": 9, "timestamp": 11, "bytes": 12}
_TIMESTAMP: FieldTable = {"seconds": (1, "int64"), "nanos": (2, "int32")}
_WIRE_VARINT, _WIRE_64, _WIRE_LENGTH, _WIRE_32 = 0, 1, 2, 5
_OPTIONAL, _REPEATED = 1, 3


def descriptor_set(name: str) -> bytes:
    """The serialised `google.protobuf.FileDescriptorSet` of one of `MESSAGES`, with what it depends on."""
    timestamp_file = "google/protobuf/timestamp.proto"
    package, _, short = name.rpartition(".")
    timestamp = _file_descriptor(timestamp_file, "google.protobuf", "Timestamp", _TIMESTAMP, ())
    own = _file_descriptor(f"{package}/{short}.proto", package, short, MESSAGES[name], (timestamp_file,))
    return _length_delimited(1, timestamp) + _length_delimited(1, own)


def raw_image(t_ns: int, frame_id: str, encoding: str, shape: tuple[int, int], pixels: Bytes) -> tuple[Bytes, ...]:
    """A `foxglove.RawImage` as parts to be joined; pixels are not copied.

    Args:
        t_ns: Unix time.
        frame_id: of the optical frame.
        encoding: 'rgb8' or '16UC1'.
        shape: (height, width).
        pixels: C-ordered rows, little-endian.
    """
    height, width = shape
    fields = {
        "timestamp": t_ns,
        "frame_id": frame_id,
        "width": width,
        "height": height,
        "encoding": encoding,
        "step": len(pixels) // height,
    }
    return _encode(RAW_IMAGE, fields) + _varint(6 << 3 | _WIRE_LENGTH) + _varint(len(pixels)), pixels


def compressed_image(t_ns: int, frame_id: str, form: str, data: Bytes) -> tuple[Bytes, ...]:
    """A `foxglove.CompressedImage` as parts to be joined; `form` is 'jpeg'."""
    head = _encode(COMPRESSED_IMAGE, {"timestamp": t_ns, "frame_id": frame_id, "format": form})
    return head + _varint(2 << 3 | _WIRE_LENGTH) + _varint(len(data)), data


def camera_calibration(t_ns: int, frame_id: str, camera: Intrinsics) -> bytes:
    """A `foxglove.CameraCalibration`.

    Inverse and modified Brown-Conrady go out as 'plumb_bob', as the vendor's own ROS node does, since viewers know no
    other name; the exact model stands in this project's own calibration record.
    """
    rational = camera.distortion is Distortion.RATIONAL
    fields = {
        "timestamp": t_ns,
        "frame_id": frame_id,
        "width": camera.width,
        "height": camera.height,
        "distortion_model": "rational_polynomial" if rational else "plumb_bob",
        "D": camera.coeffs,
        "K": (camera.fx, 0.0, camera.ppx, 0.0, camera.fy, camera.ppy, 0.0, 0.0, 1.0),
        "R": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        "P": (camera.fx, 0.0, camera.ppx, 0.0, 0.0, camera.fy, camera.ppy, 0.0, 0.0, 0.0, 1.0, 0.0),
    }
    return _encode(CAMERA_CALIBRATION, fields)


def decode(table: FieldTable, message: Bytes) -> dict[str, int | memoryview]:
    """Fields of a message by name: numbers as int, everything with a length as a view of `message`.

    Raises:
        ValueError: when it is no protobuf message.
    """
    names = {number: name for name, (number, _) in table.items()}
    view, at, found = memoryview(message), 0, dict[str, int | memoryview]()
    try:
        while at < len(view):
            tag, at = _read_varint(view, at)
            value: int | memoryview
            wire = tag & 7
            if wire == _WIRE_VARINT:
                value, at = _read_varint(view, at)
            elif wire == _WIRE_LENGTH:
                length, at = _read_varint(view, at)
                value, at = view[at : at + length], at + length
            elif wire in (_WIRE_32, _WIRE_64):
                [value], at = (
                    struct.unpack_from("<I" if wire == _WIRE_32 else "<Q", view, at),
                    at + 4 * (1 + (wire == 1)),
                )
            else:
                raise ValueError(f"wire type {wire} at byte {at}")
            if tag >> 3 in names:
                found[names[tag >> 3]] = value
    except (IndexError, struct.error) as error:
        raise ValueError("a message ends in the middle of a field") from error
    if at != len(view):
        raise ValueError("a message is shorter than its last field")
    return found


def _encode(table: FieldTable, values: Mapping[str, object]) -> bytes:
    """Fields in ascending order of their numbers, those without value left out."""
    encoded = bytearray()
    for name, (number, kind) in sorted(table.items(), key=lambda item: item[1][0]):
        value = values.get(name)
        if kind == "timestamp" and isinstance(value, int):
            seconds, nanos = divmod(max(value, 0), 1_000_000_000)
            inner = _varint(1 << 3) + _varint(seconds) + _varint(2 << 3) + _varint(nanos)
            encoded += _length_delimited(number, inner)
        elif kind == "fixed32" and isinstance(value, int):
            encoded += _varint(number << 3 | _WIRE_32) + struct.pack("<I", value)
        elif kind == "string" and isinstance(value, str):
            encoded += _length_delimited(number, value.encode())
        elif kind == "doubles" and isinstance(value, Sequence):
            encoded += _length_delimited(number, struct.pack(f"<{len(value)}d", *value))
    return bytes(encoded)


def _file_descriptor(file: str, package: str, name: str, table: FieldTable, imports: Sequence[str]) -> bytes:
    """A `FileDescriptorProto` with one message (google/protobuf/descriptor.proto)."""
    message = _length_delimited(1, name.encode())
    for field, (number, kind) in table.items():
        described = _length_delimited(1, field.encode()) + _varint(3 << 3) + _varint(number)
        described += _varint(4 << 3) + _varint(_REPEATED if kind == "doubles" else _OPTIONAL)
        described += _varint(5 << 3) + _varint(_DESCRIPTOR_TYPE[kind])
        if kind == "timestamp":
            described += _length_delimited(6, b".google.protobuf.Timestamp")
        message += _length_delimited(2, described)
    described_file = _length_delimited(1, file.encode()) + _length_delimited(2, package.encode())
    for other in imports:
        described_file += _length_delimited(3, other.encode())
    return described_file + _length_delimited(4, message) + _length_delimited(12, b"proto3")


def _length_delimited(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _WIRE_LENGTH) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError(f"a number longer than 64 bits at byte {at}")
