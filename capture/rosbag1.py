"""ROS1 bag container (format 2.0): records, chunks, connections and messages, read in pure Python.

A bag is a flat list of records; chunks hold connection and message records, plain or compressed. `Rosbag1.messages`
walks them in file order and needs no index, so it reads recordings whose writer was killed or whose end is missing:
everything before the damage, then `damage` says what was found. Nothing here knows what a message means.
Layout: http://wiki.ros.org/Bags/Format/2.0
"""

from __future__ import annotations

import bz2
import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from .lz4_frames import unpack_lz4
from .rosbag1_records import (
    CHUNK,
    CHUNK_INFO,
    CONNECTION,
    HEADER,
    BagIndex,
    Chunk,
    Connection,
    chunk_of,
    connection_of,
    field_of,
    number_of,
    other_record,
    parse_fields,
)
from .source import SourceError

MAGIC = b"#ROSBAG V2.0\n"
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
FRONT = slice(4, 15)
"""Where a text begins in the data of a message that starts with one, behind its length."""
# A message record as every known writer begins it: length of the header and conn, op and time, bytes of data, front.
_MESSAGE = struct.Struct(f"<13sI17sIII{FRONT.start}x{FRONT.stop - FRONT.start}s")
_HEAD_BYTES = _MESSAGE.size - FRONT.stop
_CONN = _U32.pack(_HEAD_BYTES - 8) + b"\x09\0\0\0conn="
_OP_TIME = b"\x04\0\0\0op=\x02\x0d\0\0\0time="
_INDEX_OP, _CHUNK_OP = b"\x04\0\0\0op=\x04", b"\x04\0\0\0op=\x05"
_CHUNK_HEADER = 64
"""More than the header of any chunk record."""
_INDEX_RECORD, _INDEX_ENTRY = 55, 12
"""Bytes of an index record as every known writer makes it: without its entries, and of each of those."""
Wanted = Callable[[Connection], bool | frozenset[bytes]]
"""Says of a topic whether its messages are wanted; or which, by the `FRONT` of their data."""
_Taken = dict[int, tuple[Connection, frozenset[bytes] | None] | None]
"""Connection and wanted fronts (None = all) by number; None = not wanted."""


class Rosbag1:
    """A bag opened for reading; the file is mapped, never loaded.

    Raises:
        SourceError: when the file does not start as a bag of format 2.0.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: dict[int, Connection] = {}
        self.damage: str | None = None
        """What ended the last walk before the end of the file."""
        self.index_damage: str | None = None
        """Why there is no index."""
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._map)
        if bytes(self._view[: len(MAGIC)]) != MAGIC:
            raise SourceError(f"{path}: not a ROS1 bag of format 2.0; nothing else is read as a bag")
        self.verify = False
        """Compare checksums though the file was closed properly; one that was not is always compared."""
        self._index_bytes: dict[int, int] = {}
        """Bytes of the index records behind a chunk, by its position."""
        self.index = self._read_index()
        if self.index is not None:
            self.connections.update(self.index.connections)
            for position, counts in self.index.chunks:
                self._index_bytes[position] = _INDEX_RECORD * len(counts) + _INDEX_ENTRY * sum(counts.values())

    def close(self) -> None:
        """Let go of the file. Images handed out as views of it stay valid: the last of them frees the map."""
        self._view = memoryview(b"")
        try:
            self._map.close()
        except BufferError:
            return  # a frame still looks into the map, which goes with that frame

    def chunks(self, begin: int = len(MAGIC)) -> Iterator[Chunk]:
        """Chunk records in file order; stops at the end or at the first record that is cut or senseless."""
        for position, fields, start, stored in self._records(begin, len(self._view), pass_over=_INDEX_OP):
            op = fields["op"][0]
            if op == CHUNK:
                try:
                    chunk = chunk_of(position, fields, start, stored)
                except ValueError as error:
                    self.damage = f"the chunk at byte {position} is senseless: {error}"
                    return
                yield chunk
            elif op == CONNECTION:
                return  # connections outside chunks are the index at the end of a complete bag

    def chunk_at(self, position: int) -> Chunk:
        """The chunk record at a position that the index gave.

        Raises:
            ValueError: when there is none.
        """
        for found, fields, start, stored in self._records(position, len(self._view)):
            if fields["op"][0] == CHUNK:
                return chunk_of(found, fields, start, stored)
            break
        raise ValueError(f"the index names a chunk at byte {position} where there is none")

    def messages(self, wanted: Wanted, begin: int | None = None) -> Iterator[tuple[Connection, int, memoryview]]:
        """(connection, record time in ns, data) of wanted topics in file order, every one before any damage.

        `begin` is the position of a chunk to start at, which needs an index: connections are told before it.
        """
        self.damage = None
        taken = {number: _taken(one, wanted) for number, one in self.connections.items()}
        for chunk in self.chunks(begin or len(MAGIC)):
            data, whole = self._unpack(chunk)
            yield from self._messages_in(data, taken, wanted, whole)
            if not whole:
                self.damage = f"the chunk at byte {chunk.position} is cut or does not decompress"
                return
            if self.damage:
                return

    def messages_of(self, chunk: Chunk, wanted: Wanted) -> Iterator[tuple[Connection, int, memoryview]]:
        """Messages of one chunk only."""
        taken = {number: _taken(one, wanted) for number, one in self.connections.items()}
        data, whole = self._unpack(chunk)
        yield from self._messages_in(data, taken, wanted, whole)

    def unpack(self, chunk: Chunk) -> memoryview:
        """Payload of a chunk, as far as it is there."""
        return self._unpack(chunk)[0]

    def _messages_in(
        self, data: memoryview, taken: _Taken, wanted: Wanted, whole: bool
    ) -> Iterator[tuple[Connection, int, memoryview]]:
        """Walk the records of one unpacked chunk."""
        position, end = 0, len(data)
        unpack, most = _MESSAGE.unpack_from, len(data) - _MESSAGE.size
        while position + 8 <= end:
            if position <= most:  # one step for the usual record: there are a dozen for each image
                conn, number, op_time, seconds, nanoseconds, stored, front = unpack(data, position)
                if conn == _CONN and op_time == _OP_TIME:
                    start = position + _HEAD_BYTES
                    if start + stored > end:
                        break
                    position = start + stored
                    one = taken.get(number)
                    if one is not None and (one[1] is None or front in one[1]):
                        yield one[0], seconds * 1_000_000_000 + nanoseconds, data[start:position]
                    continue
            (head,) = _U32.unpack_from(data, position)
            start = position + 8 + head
            if start > end:
                break
            stored = int(_U32.unpack_from(data, start - 4)[0])
            if start + stored > end:
                break
            header = bytes(data[position + 4 : position + 4 + head])
            position = start + stored
            try:
                found = other_record(header, data[start:position])
            except ValueError as error:
                self.damage = f"a record within a chunk is senseless: {error}"
                return
            if isinstance(found, Connection):
                self.connections[found.number] = found
                taken[found.number] = _taken(found, wanted)
            elif found is not None and (one := taken.get(found[0])) is not None:
                content = data[start:position]
                if one[1] is None or bytes(content[FRONT]) in one[1]:
                    yield one[0], found[1], content
        if whole and position != end:
            self.damage = "a chunk ends within a message"

    def _unpack(self, chunk: Chunk) -> tuple[memoryview, bool]:
        """Payload of a chunk and whether all of it is there."""
        stored = self._view[chunk.start : chunk.start + chunk.stored]
        if chunk.compression == "none":
            return stored, len(stored) == chunk.stored
        if chunk.size == 0 and chunk.stored == 0:
            return stored, False  # a killed writer leaves the chunk it had just begun
        try:
            if chunk.compression == "lz4":
                verify = (self.verify or self.index is None) and len(stored) == chunk.stored
                data = unpack_lz4(stored, chunk.size, verify=verify)
            elif chunk.compression == "bz2":
                data = bz2.BZ2Decompressor().decompress(stored, chunk.size)
            else:
                return memoryview(b""), False
        except (RuntimeError, OSError, EOFError, ValueError, MemoryError):
            return memoryview(b""), False  # becomes `damage`, which names the chunk
        return memoryview(data), len(data) == chunk.size and len(stored) == chunk.stored

    def _records(
        self, position: int, end: int, *, pass_over: bytes = b""
    ) -> Iterator[tuple[int, dict[str, bytes], int, int]]:
        """(position, header fields, data start, data bytes) of top-level records; a cut chunk comes last.

        Records whose header holds the bytes `pass_over` are left out.
        """
        view = self._view
        while position + 8 <= end:
            (head,) = _U32.unpack_from(view, position)
            start = position + 8 + head
            if head == 0 or start > end:
                self.damage = f"the record at byte {position} is cut or senseless"
                return
            header = bytes(view[position + 4 : position + 4 + head])
            (stored,) = _U32.unpack_from(view, start - 4)
            if pass_over and pass_over in header:
                position = start + stored
                continue
            fields = parse_fields(header)
            if not fields.get("op"):
                self.damage = f"the record at byte {position} is senseless"
                return
            yield position, fields, start, stored
            position = self._behind(position, start + stored)
        if position != end:
            self.damage = f"the file ends within a record, at byte {end}"

    def _behind(self, record: int, end: int) -> int:
        """Where to go on behind a record: past the index records of a chunk, where the next one follows them."""
        following = end + self._index_bytes.get(record, 0)
        if not end < following <= len(self._view) - _CHUNK_HEADER:
            return end
        (head,) = _U32.unpack_from(self._view, following)
        header = bytes(self._view[following + 4 : following + _CHUNK_HEADER])
        return following if head <= _CHUNK_HEADER and _CHUNK_OP in header else end

    def _read_index(self) -> BagIndex | None:
        """The index at the end, None where it is absent or not whole (`index_damage` says which)."""
        try:
            return self._parse_index()
        except ValueError as error:
            self.index_damage = f"damaged: the index is senseless ({error})"
            return None

    def _parse_index(self) -> BagIndex | None:
        """The index at the end.

        Raises:
            ValueError: when a record lacks what it must hold.
        """
        first = next(self._records(len(MAGIC), len(self._view)), None)
        if first is None or first[1]["op"][0] != HEADER or len(first[1].get("index_pos", b"")) != 8:
            self.index_damage = "truncated: the file ends before its first record"
            return None
        (position,) = _U64.unpack(first[1]["index_pos"])
        if position == 0:
            self.index_damage = "unindexed: the recorder was stopped before it wrote the index"
            return None
        connections: dict[int, Connection] = {}
        chunks: list[tuple[int, dict[int, int]]] = []
        for _, fields, start, stored in self._records(position, len(self._view)):
            data = self._view[start : start + stored]
            op = fields["op"][0]
            if op == CONNECTION and len(data) == stored:
                one = connection_of(fields, bytes(data))
                connections[one.number] = one
            elif op == CHUNK_INFO and len(data) == stored:
                counts = dict(struct.iter_unpack("<II", data[: stored - stored % 8]))
                chunks.append((int.from_bytes(field_of(fields, "chunk_pos", 8), "little"), counts))
        promised = tuple(number_of(first[1], key) for key in ("conn_count", "chunk_count"))
        if (len(connections), len(chunks)) != promised:
            self.index_damage = "truncated: the index at the end is missing or cut"
            return None
        return BagIndex(connections, tuple(chunks))


def _taken(one: Connection, wanted: Wanted) -> tuple[Connection, frozenset[bytes] | None] | None:
    answer = wanted(one)
    if isinstance(answer, frozenset):
        return one, answer
    return (one, None) if answer else None
