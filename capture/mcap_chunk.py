"""Messages packed as chunks of an MCAP file, each with the index of its messages (https://mcap.dev/spec).

The `mcap` library writes the records; its `Writer` is not used because it cannot go back to the last whole block after
a failed write, nor choose how hard to compress.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import ChunkIndex, McapRecord, MessageIndex

Compression = Literal["", "lz4", "zstd"]
Bytes = bytes | bytearray | memoryview

ZSTD_LEVEL = 1
"""On noisy images half the size of LZ4's at twice its time; higher levels cost five times more for 3 %."""
_MESSAGE_HEAD = struct.Struct("<BQHIQQ")
_CHUNK_HEAD = struct.Struct("<BQQQQII")


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
