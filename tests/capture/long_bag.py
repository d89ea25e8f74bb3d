"""Makes a long bag of a short genuine one: its middle chunks again and again, each time later."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from sfam.capture.rosbag1 import Rosbag1
from sfam.capture.rosbag1_records import CHUNK, CHUNK_INFO, CONNECTION, INDEX, MESSAGE, parse_fields

_HEADER_END = 4117


def lengthen(source: Path, to: Path, rounds: int, round_ns: int) -> Path:
    """An indexed, uncompressed bag with all but its first chunk and the last two repeated.

    Args:
        source: the bag; every chunk uncompressed and holding whole pairs.
        to: the file to write.
        rounds: how often the middle comes.
        round_ns: time that the middle covers.
    """
    content = source.read_bytes()
    bag = Rosbag1(source)
    assert bag.index is not None
    places = [position for position, _ in bag.index.chunks]
    numbers = {number for number, one in bag.connections.items() if one.topic.endswith("image/data")}
    bag.close()
    index = content.index(b"index_pos=") + len("index_pos=")
    (index_position,) = struct.unpack_from("<Q", content, index)
    infos = {info[0]: info for info in _infos(content, index_position)}
    with to.open("wb") as file:
        file.write(content[: places[1]])
        body = [(places[0], _HEADER_END, 0)]
        for k in range(rounds):
            for begin, end in pairwise(places[1:-1]):
                body.append((begin, file.tell(), k * round_ns))
                file.write(_later(content[begin:end], k * round_ns, 6 * k, numbers))
        position = file.tell()
        for at, end in _records(content, index_position, len(content)):
            if _fields(content, at)["op"][0] == CONNECTION:
                file.write(content[at:end])
        for begin, new, shift in body:
            file.write(_info(infos[begin][1], new, shift))
        file.seek(index)
        file.write(struct.pack("<Q", position))
        file.seek(content.index(b"chunk_count=") + len("chunk_count="))
        file.write(struct.pack("<I", len(body)))
    return to


def _records(content: bytes | bytearray, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where each record begins and ends."""
    while begin < end:
        (head,) = struct.unpack_from("<I", content, begin)
        (data,) = struct.unpack_from("<I", content, begin + 4 + head)
        yield begin, begin + 8 + head + data
        begin += 8 + head + data


def _fields(content: bytes | bytearray, at: int) -> dict[str, bytes]:
    (head,) = struct.unpack_from("<I", content, at)
    return parse_fields(bytes(content[at + 4 : at + 4 + head]))


def _data(content: bytes | bytearray, at: int) -> int:
    """Where a record's data begins."""
    return at + 8 + int(struct.unpack_from("<I", content, at)[0])


def _add(content: bytearray, at: int, ns: int) -> None:
    """A time of seconds and nanoseconds, moved."""
    seconds, rest = struct.unpack_from("<II", content, at)
    struct.pack_into("<II", content, at, *divmod(seconds * 10**9 + rest + ns, 10**9))


def _later(chunk: bytes, ns: int, frames: int, images: set[int]) -> bytes:
    """A chunk with its index records: times moved, image numbers too."""
    out = bytearray(chunk)
    for at, end in _records(out, 0, len(out)):
        if _fields(out, at)["op"][0] == CHUNK:
            for message, _ in _records(out, _data(out, at), end):
                fields = _fields(out, message)
                if fields["op"][0] != MESSAGE:
                    continue
                _add(out, out.index(b"time=", message) + 5, ns)
                if int.from_bytes(fields["conn"], "little") in images:
                    start = _data(out, message)
                    (number,) = struct.unpack_from("<I", out, start)
                    struct.pack_into("<I", out, start, number + frames)
                    _add(out, start + 4, ns)
        elif _fields(out, at)["op"][0] == INDEX:
            for entry in range(_data(out, at), end, 12):
                _add(out, entry, ns)
    return bytes(out)


def _infos(content: bytes, begin: int) -> Iterator[tuple[int, bytes]]:
    """(chunk position, record) of every chunk info."""
    for at, end in _records(content, begin, len(content)):
        fields = _fields(content, at)
        if fields["op"][0] == CHUNK_INFO:
            yield int.from_bytes(fields["chunk_pos"], "little"), content[at:end]


def _info(record: bytes, position: int, ns: int) -> bytes:
    """A chunk info for another place and time."""
    out = bytearray(record)
    struct.pack_into("<Q", out, out.index(b"chunk_pos=") + len("chunk_pos="), position)
    for name in (b"start_time=", b"end_time="):
        _add(out, out.index(name) + len(name), ns)
    return bytes(out)
