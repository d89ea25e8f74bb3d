"""Records of a ROS1 bag: what their headers say, and the nouns made of them.

Layout: http://wiki.ros.org/Bags/Format/2.0
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_U32 = struct.Struct("<I")
MESSAGE, HEADER, INDEX, CHUNK, CHUNK_INFO, CONNECTION = 2, 3, 4, 5, 6, 7


@dataclass(frozen=True, slots=True)
class Connection:
    """One topic of a bag."""

    number: int
    topic: str
    datatype: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk record: where its payload lies and what it becomes."""

    position: int
    compression: str
    size: int
    """Bytes once decompressed."""
    start: int
    stored: int
    """Bytes as stored."""


@dataclass(frozen=True, slots=True)
class BagIndex:
    """What the end of a complete bag says: every topic, every chunk, messages per topic and chunk."""

    connections: dict[int, Connection]
    chunks: tuple[tuple[int, dict[int, int]], ...]
    """(file position, {connection: messages}) in file order."""


def parse_fields(header: bytes) -> dict[str, bytes]:
    """The name=value fields of a record header; what is cut is left out."""
    fields: dict[str, bytes] = {}
    position, end = 0, len(header)
    while position + 4 <= end:
        start = position + 4
        position = start + _U32.unpack_from(header, position)[0]
        name, _, value = header[start:position].partition(b"=")
        fields[name.decode("ascii", "replace")] = value
    return fields


def connection_of(fields: dict[str, bytes], data: bytes) -> Connection:
    """A connection record; the topic stands in its header, the type in its data."""
    topic, datatype = field_of(fields, "topic"), parse_fields(data).get("type", b"")
    return Connection(number_of(fields, "conn"), topic.decode("utf-8", "replace"), datatype.decode("utf-8", "replace"))


def chunk_of(position: int, fields: dict[str, bytes], start: int, stored: int) -> Chunk:
    """A chunk record."""
    compression = field_of(fields, "compression").decode("ascii", "replace")
    return Chunk(position, compression, number_of(fields, "size"), start, stored)


def other_record(header: bytes, data: memoryview) -> Connection | tuple[int, int] | None:
    """A record that has not the usual message header: a connection, a message's (connection, time), or neither."""
    fields = parse_fields(header)
    op = (fields.get("op") or b"\0")[0]
    if op == CONNECTION:
        return connection_of(fields, bytes(data))
    if op != MESSAGE:
        return None
    seconds, nanoseconds = struct.unpack("<II", field_of(fields, "time", 8))
    return number_of(fields, "conn"), seconds * 1_000_000_000 + nanoseconds


def field_of(fields: dict[str, bytes], name: str, size: int | None = None) -> bytes:
    """A field of a record header.

    Raises:
        ValueError: when it is missing or of another size.
    """
    value = fields.get(name)
    if value is None or (size is not None and len(value) != size):
        raise ValueError(f"its field {name} is {'missing' if value is None else f'{len(value)} bytes long'}")
    return value


def number_of(fields: dict[str, bytes], name: str) -> int:
    """A 32-bit field of a record header."""
    return int.from_bytes(field_of(fields, name, 4), "little")
