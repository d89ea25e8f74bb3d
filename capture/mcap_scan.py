"""MCAP files read by hopping from record to record: no index needed, stops at damage, opens only what is asked for."""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from mcap.opcode import Opcode

from .mcap_file import MAGIC

Buffer = bytes | bytearray | memoryview

LARGEST_CHUNK_BYTES = 256 * 2**20
"""Chunks that claim to hold more are not opened."""
_RECORD_HEAD = struct.Struct("<BQ")
_CHUNK_HEAD = struct.Struct("<QQQII")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_START = re.compile(rb"\x06(?=.{5}\x00{3}.{28}[\x00-\x10]\x00{3})", re.DOTALL)
"""How a chunk begins: opcode, length below 2^40, times, size, checksum, short name of its compression."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """Where a record stands."""

    opcode: int
    start: int
    body: int
    end: int


class Scan:
    """Records from the front, up to the closing magic or to the first that is not whole."""

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer
        self.end = len(MAGIC)
        """Behind the last whole record."""
        self.data_end: int | None = None
        """Where the data section's end record stands."""
        self.complete = False
        """True once footer and closing magic were seen."""

    def records(self) -> Iterator[RawRecord]:
        """Every whole record, in file order."""
        at, size = len(MAGIC), len(self._buffer)
        while at + _RECORD_HEAD.size <= size:
            opcode, length = _RECORD_HEAD.unpack_from(self._buffer, at)
            body = at + _RECORD_HEAD.size
            if opcode == 0 or length > size - body:
                return
            if opcode == Opcode.DATA_END:
                self.data_end = at
            yield RawRecord(opcode, at, body, body + length)
            at = self.end = body + length
            if opcode == Opcode.FOOTER:
                self.complete = bytes(self._buffer[at : at + len(MAGIC)]) == MAGIC
                return


@dataclass(frozen=True, slots=True)
class ChunkMessage:
    """One message in an opened chunk."""

    channel: int
    sequence: int
    t_ns: int
    data: memoryview
    offset: int
    """Of its record in the chunk."""


class UnreadChunkError(ValueError):
    """A chunk is larger, or compressed in another way, than is read here; it may be sound."""


class ChunkView:
    """A chunk record; its content is opened when asked for.

    Raises:
        ValueError: the record is no chunk.
    """

    def __init__(self, buffer: memoryview, record: RawRecord) -> None:
        self._buffer = buffer
        self.start, self.length = record.start, record.end - record.start
        try:
            head = _CHUNK_HEAD.unpack_from(buffer, record.body)
            self.start_ns, self.end_ns, self.size, self.crc, name_bytes = head
            at = record.body + _CHUNK_HEAD.size
            self.compression = bytes(buffer[at : at + name_bytes]).decode()
            [packed] = struct.unpack_from("<Q", buffer, at + name_bytes)
        except (struct.error, UnicodeDecodeError) as error:
            raise ValueError(f"the chunk at byte {record.start} is damaged") from error
        self._data_at = at + name_bytes + 8
        self.packed_size = packed
        self.end = self._data_at + packed
        """Behind its content; a sound record ends there too."""
        if self.end > record.end:
            raise ValueError(f"the chunk at byte {record.start} is damaged")

    @cached_property
    def content(self) -> bytes:
        """The records in it, checked against their checksum.

        Raises:
            ValueError: damaged.
            UnreadChunkError: it cannot be told.
        """
        if self.size > LARGEST_CHUNK_BYTES:
            raise UnreadChunkError(
                f"the chunk at byte {self.start} says that it holds {self.size} bytes; at most "
                f"{LARGEST_CHUNK_BYTES} are read"
            )
        packed = self._buffer[self._data_at : self._data_at + self.packed_size]
        content = self._opened(packed)
        if len(content) != self.size or (self.crc and zlib.crc32(content) != self.crc):
            raise ValueError(f"the chunk at byte {self.start} is damaged")
        return content

    def _opened(self, packed: memoryview) -> bytes:
        if self.compression == "":
            return bytes(packed)
        if self.compression == "zstd":
            import zstandard

            try:
                if zstandard.frame_content_size(packed) not in (-1, self.size):
                    return b""
                return zstandard.ZstdDecompressor().decompress(packed, max_output_size=self.size)
            except zstandard.ZstdError:
                return b""
        if self.compression == "lz4":
            import lz4.frame

            try:
                return bytes(lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=self.size))
            except (RuntimeError, EOFError):
                return b""
        raise UnreadChunkError(
            f"the chunk at byte {self.start} is compressed as {self.compression!r}; lz4 and zstd are read"
        )

    def records(self) -> Iterator[RawRecord]:
        """Records in the content.

        Raises:
            ValueError: damaged.
        """
        view, at = memoryview(self.content), 0
        while at < len(view):
            if at + _RECORD_HEAD.size > len(view):
                raise ValueError(f"the chunk at byte {self.start} ends in the middle of a record")
            opcode, length = _RECORD_HEAD.unpack_from(view, at)
            body = at + _RECORD_HEAD.size
            if length > len(view) - body:
                raise ValueError(f"the chunk at byte {self.start} ends in the middle of a record")
            yield RawRecord(opcode, at, body, body + length)
            at = body + length

    def messages(self) -> Iterator[ChunkMessage]:
        """Messages in the content.

        Raises:
            ValueError: damaged.
        """
        view = memoryview(self.content)
        for record in self.records():
            if record.opcode != Opcode.MESSAGE:
                continue
            if record.end - record.body < _MESSAGE_HEAD.size:
                raise ValueError(f"the chunk at byte {self.start} holds a message without head")
            channel, sequence, t_ns, _ = _MESSAGE_HEAD.unpack_from(view, record.body)
            yield ChunkMessage(
                channel, sequence, t_ns, view[record.body + _MESSAGE_HEAD.size : record.end], record.start
            )


def chunk_behind(buffer: memoryview, begin: int) -> int | None:
    """Where the first chunk stands that is whole from `begin` on, whatever lies before it; None without one."""
    for match in _CHUNK_START.finditer(buffer, begin):
        opcode, length = _RECORD_HEAD.unpack_from(buffer, match.start())
        body = match.start() + _RECORD_HEAD.size
        record = RawRecord(opcode, match.start(), body, body + length)
        if record.end <= len(buffer) and _is_whole(buffer, record):
            return record.start
    return None


def _is_whole(buffer: memoryview, record: RawRecord) -> bool:
    """Whether a chunk opens; of one that is not read here its lengths alone can be checked."""
    try:
        chunk = ChunkView(buffer, record)
        return bool(chunk.end == record.end and len(chunk.content) == chunk.size)
    except UnreadChunkError:
        return True
    except ValueError:
        return False


def let_go(mapped: mmap.mmap) -> None:
    """Take the pages of a mapped file that were looked at out of this process's memory; the file keeps them.

    Each look brings its neighbours in as well: hopping once over a recording of 10 GB would hold hundreds of MB.
    """
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
