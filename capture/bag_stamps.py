"""Image headers of an indexed bag without its images.

Read with plain seeks, not through the map: looking at one page per chunk of a mapped file of 10 GB would leave its
neighbours in memory too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator
from typing import BinaryIO

from .lz4_frames import lz4_prefix
from .ros1 import IMAGE_HEADER_BYTES, image_header
from .rosbag1 import Rosbag1
from .rosbag1_records import CHUNK, INDEX, parse_fields

_RECORD_HEAD = 256
"""First read of a record: more than the header of any chunk or index record."""
_PEEK = 48 * 1024
"""Messages that begin deeper in a compressed chunk are read by decompressing the chunk."""


def peek_stamps(bag: Rosbag1, topics: Collection[str]) -> Iterator[tuple[str, int, int]]:
    """(topic, number, stamp in ns) of every image message of some topics, in file order; the bag must be indexed."""
    if bag.index is None:
        return
    bag.damage = None
    numbers = {number: one.topic for number, one in bag.index.connections.items() if one.topic in topics}
    with bag.path.open("rb", buffering=0) as file:
        for position, counts in bag.index.chunks:
            if not numbers.keys() & counts:
                continue
            try:
                yield from _peek_chunk(bag, file, position, {one: numbers[one] for one in numbers.keys() & counts})
            except (ValueError, KeyError, OverflowError, OSError, struct.error) as error:
                bag.damage = f"the chunk at byte {position} is senseless: {error}"
                return


def _peek_chunk(bag: Rosbag1, file: BinaryIO, position: int, numbers: dict[int, str]) -> Iterator[tuple[str, int, int]]:
    """The same for one chunk, found through the index records that follow it."""
    head = _read(file, position, _RECORD_HEAD)
    fields, start, stored = _split(head)
    if (fields.get("op") or b"\0")[0] != CHUNK:
        return
    offsets = sorted(_offsets(file, position + start + stored, numbers))
    front = b""
    for offset, topic in offsets:
        need = offset + IMAGE_HEADER_BYTES
        if fields["compression"] == b"none":
            message = _read(file, position + start + offset, IMAGE_HEADER_BYTES)
        else:
            if len(front) < need:
                front = _front(bag, file, position, start, stored, need)
            message = front[offset:need]
        _, begin, _ = _split(message)
        number, stamp_ns, _ = image_header(message[begin:])
        yield topic, number, stamp_ns


def _front(bag: Rosbag1, file: BinaryIO, position: int, start: int, stored: int, need: int) -> bytes:
    """The first `need` bytes of a compressed chunk."""
    if need <= _PEEK:
        front = lz4_prefix(memoryview(_read(file, position + start, min(stored, 2 * need + 256))), need)
        if front is not None:
            return front
    return bytes(bag.unpack(bag.chunk_at(position)))


def _offsets(file: BinaryIO, position: int, numbers: dict[int, str]) -> Iterator[tuple[int, str]]:
    """(offset in the unpacked chunk, topic) of the messages of some connections."""
    data = _read(file, position, 1024)
    at = 0
    while True:
        if at + _RECORD_HEAD > len(data):
            position, at = position + at, 0
            data = _read(file, position, 1024)
        if len(data) - at < 8:
            return
        fields, start, stored = _split(data[at : at + _RECORD_HEAD])
        if (fields.get("op") or b"\0")[0] != INDEX:
            return
        topic = numbers.get(int.from_bytes(fields["conn"], "little"))
        if topic is not None:
            entries = data[at + start : at + start + stored]
            if len(entries) < stored:
                entries = _read(file, position + at + start, stored)
            for _, _, offset in struct.iter_unpack("<III", entries):
                yield offset, topic
        at += start + stored


def _split(record: bytes) -> tuple[dict[str, bytes], int, int]:
    """(header fields, where the data begins, bytes of data) of a record that may be cut behind its header."""
    (head,) = struct.unpack_from("<I", record)
    if head + 8 > len(record):
        return {}, len(record), 0
    (stored,) = struct.unpack_from("<I", record, 4 + head)
    return parse_fields(record[4 : 4 + head]), 8 + head, stored


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    """Bytes at a position, fewer at the end of the file."""
    file.seek(position)
    return file.read(min(size, max(0, os.fstat(file.fileno()).st_size - position)))
