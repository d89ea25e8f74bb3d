"""Where and when of a Matroska file's blocks, read from their heads: a few bytes per image, whatever its size.

The tree is walked flat: what holds blocks is entered, all else is passed over. Layout: RFC 9559 (Matroska), RFC 8794.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

_HEAD = 16
_SEGMENT, _INFO, _TRACKS, _TRACK = 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE
_CLUSTER, _GROUP, _SCALE, _NUMBER, _TIME, _BLOCK, _SIMPLE = 0x1F43B675, 0xA0, 0x2AD7B1, 0xD7, 0xE7, 0xA1, 0xA3
_ENTERED = frozenset((_SEGMENT, _INFO, _TRACKS, _TRACK, _CLUSTER, _GROUP))
_KNOWN_AT_TOP = 4
"""Identifiers of this many bytes stand at the top levels; damage seldom looks like one."""


@dataclass
class MatroskaBlocks:
    """The blocks of one file."""

    path: Path
    tracks: list[int] = field(default_factory=list)
    """Track numbers in the order of the file's track list; known once the first block was given."""
    whole: bool = True
    """False where the walk met what it does not understand: damage, or several images in one block."""

    def stamps(self) -> Iterator[tuple[int, int]]:
        """(place in `tracks`, time in ns) of each block that is there to its last byte, in file order."""
        size = self.path.stat().st_size
        scale_ns, cluster = 1_000_000, 0
        with self.path.open("rb", buffering=0) as file:
            position = 0
            while position < size:
                found = _element(file, position)
                if found is None:
                    self.whole = size - position < _HEAD
                    return
                name, start, length = found
                if name == _SCALE:
                    scale_ns = _number(file, start, length)
                elif name == _NUMBER:
                    self.tracks.append(_number(file, start, length))
                elif name == _TIME:
                    cluster = _number(file, start, length)
                elif name in (_BLOCK, _SIMPLE) and length is not None:
                    if start + length > size:
                        return
                    block = _block(file, start)
                    if block is None or block[0] not in self.tracks:
                        self.whole = False
                        return
                    yield self.tracks.index(block[0]), (cluster + block[1]) * scale_ns
                if name in _ENTERED:
                    position = start
                elif length is None:
                    self.whole = False
                    return
                else:
                    position = start + length


def missing_bytes(path: Path) -> int:
    """Bytes that the file's one segment promises and the file lacks; -1 where the length was never filled in."""
    with path.open("rb", buffering=0) as file:
        head = _element(file, 0)
        segment = None if head is None else _element(file, head[1] + (head[2] or 0))
    if segment is None or segment[0] != _SEGMENT:
        return 0
    _, start, length = segment
    return -1 if length is None else max(0, start + length - path.stat().st_size)


def _element(file: BinaryIO, position: int) -> tuple[int, int, int | None] | None:
    """(identifier, where its data begins, bytes of data or None = unknown); None where there is no element."""
    file.seek(position)
    head = file.read(_HEAD)
    if len(head) < 2 or not head[0]:
        return None
    width = 9 - head[0].bit_length()
    if width > _KNOWN_AT_TOP or len(head) <= width or not head[width]:
        return None
    length_width = 9 - head[width].bit_length()
    if len(head) < width + length_width:
        return None
    value = int.from_bytes(head[width : width + length_width], "big") & ((1 << 7 * length_width) - 1)
    length = None if value == (1 << 7 * length_width) - 1 else value
    return int.from_bytes(head[:width], "big"), position + width + length_width, length


def _number(file: BinaryIO, start: int, length: int | None) -> int:
    """An unsigned number of at most 8 bytes."""
    file.seek(start)
    return int.from_bytes(file.read(min(length or 0, 8)), "big")


def _block(file: BinaryIO, start: int) -> tuple[int, int] | None:
    """(track number, time against the cluster's); None for laced blocks and senseless ones."""
    file.seek(start)
    head = file.read(_HEAD)
    if len(head) < 4 or not head[0]:
        return None
    width = 9 - head[0].bit_length()
    if len(head) < width + 3 or head[width + 2] & 0x06:
        return None
    track = int.from_bytes(head[:width], "big") & ((1 << 7 * width) - 1)
    return track, int.from_bytes(head[width : width + 2], "big", signed=True)
