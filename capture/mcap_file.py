"""MCAP files at the level of records: chunks packed with their index, a file that grows by whole blocks, its summary.

After the format's specification (https://mcap.dev/spec). The `mcap` library writes the records; its `Writer` is not
used because it cannot go back to the last whole block after a failed write, nor choose how hard to compress.
"""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    AttachmentIndex,
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MessageIndex,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

MAGIC = b"\x89MCAP0\r\n"
Compression = Literal["", "lz4", "zstd"]
Bytes = bytes | bytearray | memoryview

ZSTD_LEVEL = 1
"""On noisy images half the size of LZ4's at twice its time; higher levels cost five times more for 3 %."""
DISK_RESERVE_BYTES = 32 * 2**20
"""A recording ends while this much of the disk is still free, so that its index finds room."""
_LOOK_AT_DISK_BYTES = 16 * 2**20
_MESSAGE_HEAD = struct.Struct("<BQHIQQ")
_CHUNK_HEAD = struct.Struct("<BQQQQII")


class RecordingError(OSError):
    """A recording cannot be written, or not any further; the text says what is left."""


@dataclass(frozen=True, slots=True)
class PackedMessage:
    """One message, its data in parts that are joined only once."""

    channel: int
    t_ns: int
    """log_time = publish_time, Unix."""
    sequence: int
    parts: tuple[Bytes, ...]


@dataclass(frozen=True, slots=True)
class PackedChunk:
    """A chunk record and the message index records that follow it."""

    data: bytes
    index: ChunkIndex
    """Offsets count from the chunk's own start until it is placed in a file."""
    counts: Mapping[int, int]
    """Messages per channel."""


def pack_chunk(messages: Sequence[PackedMessage], compression: Compression) -> PackedChunk:
    """Messages as one chunk with its index."""
    parts: list[Bytes] = []
    indexes: dict[int, MessageIndex] = {}
    at = 0
    for message in messages:
        length = sum(len(part) for part in message.parts)
        entries = indexes.setdefault(message.channel, MessageIndex(message.channel, [])).records
        entries.append((message.t_ns, at))
        sequence = message.sequence & 0xFFFFFFFF
        parts.append(
            _MESSAGE_HEAD.pack(Opcode.MESSAGE, 22 + length, message.channel, sequence, message.t_ns, message.t_ns)
        )
        parts += message.parts
        at += _MESSAGE_HEAD.size + length
    content = b"".join(parts)
    packed = _compress(content, compression)
    times = [message.t_ns for message in messages]
    name = compression.encode()
    head = _CHUNK_HEAD.pack(
        Opcode.CHUNK,
        _CHUNK_HEAD.size - 9 + len(name) + 8 + len(packed),
        min(times),
        max(times),
        len(content),
        zlib.crc32(content),
        len(name),
    )
    start = head + name + struct.pack("<Q", len(packed))
    offsets, index_data = index_records(list(indexes.values()), len(start) + len(packed))
    index = ChunkIndex(
        chunk_start_offset=0,
        chunk_length=len(start) + len(packed),
        compression=compression,
        compressed_size=len(packed),
        message_start_time=min(times),
        message_end_time=max(times),
        message_index_length=len(index_data),
        message_index_offsets=offsets,
        uncompressed_size=len(content),
    )
    return PackedChunk(b"".join((start, packed, index_data)), index, Counter(one.channel for one in messages))


def index_records(indexes: Sequence[MessageIndex], offset: int) -> tuple[dict[int, int], bytes]:
    """Where each channel's message index stands when the first is at `offset`, and the records."""
    builder = RecordBuilder()
    offsets = {}
    for index in indexes:
        offsets[index.channel_id] = offset + builder.count
        index.write(builder)
    return offsets, _built(builder)


def _compress(content: bytes, compression: Compression) -> bytes:
    if compression == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(content)
    if compression == "lz4":
        import lz4.frame

        return bytes(lz4.frame.compress(content))
    return content


def record_bytes(*records: McapRecord) -> bytes:
    """Records as they stand in a file."""
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    return _built(builder)


def _built(builder: RecordBuilder) -> bytes:
    return bytes(builder.end())  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class Summary:
    """What the end of a file says of its data section."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[ChunkIndex] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)
    """Messages per channel."""
    attachments: list[AttachmentIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)

    def add(self, chunk: PackedChunk, offset: int) -> None:
        """Note a chunk that stands at `offset`."""
        places = {channel: offset + place for channel, place in chunk.index.message_index_offsets.items()}
        self.chunks.append(replace(chunk.index, chunk_start_offset=offset, message_index_offsets=places))
        self.counts.update(chunk.counts)

    def ending(self, offset: int) -> bytes:
        """Everything from the data section's end at `offset` to the closing magic."""
        data_end = record_bytes(DataEnd(0))
        start = offset + len(data_end)
        groups: list[tuple[int, Sequence[McapRecord]]] = [
            (Opcode.SCHEMA, list(self.schemas.values())),
            (Opcode.CHANNEL, list(self.channels.values())),
            (Opcode.STATISTICS, [self._statistics()]),
            (Opcode.CHUNK_INDEX, self.chunks),
            (Opcode.ATTACHMENT_INDEX, self.attachments),
            (Opcode.METADATA_INDEX, self.metadata),
        ]
        content, offsets = b"", list[SummaryOffset]()
        for opcode, records in groups:
            group = record_bytes(*records)
            if group:
                offsets.append(SummaryOffset(opcode, len(group), start + len(content)))
            content += group
        offsets_at = start + len(content)
        content += record_bytes(*offsets)
        # the checksum covers the footer up to itself
        footer = Footer(start, offsets_at, 0)
        crc = zlib.crc32(record_bytes(footer)[:-4], zlib.crc32(content))
        return data_end + content + record_bytes(replace(footer, summary_crc=crc)) + MAGIC

    def _statistics(self) -> Statistics:
        return Statistics(
            attachment_count=len(self.attachments),
            channel_count=len(self.channels),
            channel_message_counts=dict(self.counts),
            chunk_count=len(self.chunks),
            message_count=sum(self.counts.values()),
            message_start_time=min((chunk.message_start_time for chunk in self.chunks), default=0),
            message_end_time=max((chunk.message_end_time for chunk in self.chunks), default=0),
            metadata_count=len(self.metadata),
            schema_count=len(self.schemas),
        )


class GrowingFile:
    """An MCAP file that grows by whole blocks; each is with the operating system when `append` returns.

    So no kill can take it away. It is not forced onto the disk: that would hold the writer up for seconds, and guards
    only against a power cut within the half minute that systems keep data back.

    Args:
        path: must not exist.
        header: of the file.
        schemas, channels: written in front of all chunks.
        open_file: how to open it for writing.

    Raises:
        RecordingError: it exists, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        schemas: Sequence[Schema],
        channels: Sequence[Channel],
        open_file: Callable[[Path], io.RawIOBase] | None = None,
    ) -> None:
        self.path = path
        self._summary = Summary({one.id: one for one in schemas}, {one.id: one for one in channels})
        self._blocks: list[tuple[int, int, Counter[int]]] = []  # start, chunks, messages per channel
        self.size = 0
        """Bytes written."""
        self._looked_at = 0
        try:
            self._file = open_file(path) if open_file else io.FileIO(path, "xb")
        except FileExistsError as error:
            raise RecordingError(f"{path}: exists already and is never overwritten; choose another name") from error
        except OSError as error:
            raise RecordingError(f"{path}: cannot be created: {error.strerror}") from error
        self._write(MAGIC + record_bytes(header, *schemas, *channels))

    def append(self, chunks: Sequence[PackedChunk]) -> None:
        """Write a block of chunks whole, or not at all.

        Raises:
            RecordingError: disk full or write error; the file is as it was before this call.
        """
        self._check_room()
        start = self.size
        self._write(b"".join(chunk.data for chunk in chunks))
        counts = Counter[int]()
        for chunk in chunks:
            counts.update(chunk.counts)
        self._blocks.append((start, len(chunks), counts))
        for chunk in chunks:
            self._summary.add(chunk, start)
            start += len(chunk.data)

    def finish(self, last_words: Callable[[int], PackedChunk]) -> int:
        """Write a last chunk and the summary, and close; on a full disk the last blocks give way to them.

        Args:
            last_words: makes the last chunk, given how many blocks gave way.

        Returns:
            Blocks that gave way.

        Raises:
            RecordingError: nothing more can be written; what is there needs `sfam repair`.
        """
        given_way = 0
        try:
            while True:
                words = last_words(given_way)
                self._summary.add(words, self.size)
                try:
                    self._write(words.data + self._summary.ending(self.size + len(words.data)))
                except RecordingError:
                    self._forget(words)
                    if not self._blocks:
                        raise
                    self._give_way()
                    given_way += 1
                else:
                    return given_way
        finally:
            self.close()

    def close(self) -> None:
        """Close as it is. Safe to call twice."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        """All of `data`, or back to where the file ended."""
        view, done = memoryview(data), 0
        try:
            while done < len(view):
                done += self._file.write(view[done:]) or 0
        except OSError as error:
            self._file.truncate(self.size)
            self._file.seek(self.size)
            raise RecordingError(
                f"{self.path}: writing stopped after {self.size} bytes: {error.strerror}; what was written before is "
                "complete"
            ) from error
        self.size += len(view)

    def _check_room(self) -> None:
        if self.size - self._looked_at < _LOOK_AT_DISK_BYTES:
            return
        self._looked_at = self.size
        free = shutil.disk_usage(self.path.parent).free
        if free < DISK_RESERVE_BYTES:
            raise RecordingError(
                f"{self.path}: the disk is full but for {free >> 20} MiB; the recording ends here and is complete"
            )

    def _give_way(self) -> None:
        """Take the last block back."""
        start, chunks, counts = self._blocks.pop()
        del self._summary.chunks[len(self._summary.chunks) - chunks :]
        self._summary.counts.subtract(counts)
        self._file.truncate(start)
        self._file.seek(start)
        self.size = start

    def _forget(self, words: PackedChunk) -> None:
        self._summary.chunks.pop()
        self._summary.counts.subtract(words.counts)
