"""MCAP files at the level of records: a file that grows by whole blocks of chunks, and its summary.

After the format's specification (https://mcap.dev/spec).
"""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mcap.opcode import Opcode
from mcap.records import (
    AttachmentIndex,
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from .file_lock import hold
from .mcap_chunk import PackedChunk, record_bytes

MAGIC = b"\x89MCAP0\r\n"

DISK_RESERVE_BYTES = 32 * 2**20
"""A recording ends while this much of the disk is still free, so that its index finds room."""
_LOOK_AT_DISK_BYTES = 16 * 2**20
_INDEX_HEAD = struct.Struct("<9xQQ")
"""First and last time in a chunk index record, after its opcode and length."""
_COUNT = struct.Struct("<HI")


class RecordingError(OSError):
    """A recording cannot be written, or not any further; the text says what is left."""


@dataclass(slots=True)
class Summary:
    """What the end of a file says of its data section."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    """Messages per channel."""
    attachments: list[AttachmentIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    # As bytes: a chunk is noted every half second until the file ends, and objects would take ten times as much.
    _chunks: list[bytes] = field(default_factory=list)
    _chunk_counts: list[bytes] = field(default_factory=list)

    @property
    def chunk_count(self) -> int:
        """Chunks noted."""
        return len(self._chunks)

    def add(self, chunk: PackedChunk, offset: int) -> None:
        """Note a chunk that stands at `offset`."""
        places = {channel: offset + place for channel, place in chunk.index.message_index_offsets.items()}
        self.note(replace(chunk.index, chunk_start_offset=offset, message_index_offsets=places), chunk.counts)

    def note(self, index: ChunkIndex, counts: Mapping[int, int]) -> None:
        """Note a chunk by its index, whose offsets are those of the file, and its messages per channel."""
        self._chunks.append(record_bytes(index))
        self._chunk_counts.append(b"".join(_COUNT.pack(*item) for item in counts.items()))
        self.counts.update(counts)

    def pop(self) -> None:
        """Forget the chunk noted last."""
        self._chunks.pop()
        self.counts.subtract(dict(_COUNT.iter_unpack(self._chunk_counts.pop())))

    def ending(self, offset: int) -> bytes:
        """Everything from the data section's end at `offset` to the closing magic."""
        data_end = record_bytes(DataEnd(0))
        start = offset + len(data_end)
        groups = [
            (Opcode.SCHEMA, record_bytes(*self.schemas.values())),
            (Opcode.CHANNEL, record_bytes(*self.channels.values())),
            (Opcode.STATISTICS, record_bytes(self._statistics())),
            (Opcode.CHUNK_INDEX, b"".join(self._chunks)),
            (Opcode.ATTACHMENT_INDEX, record_bytes(*self.attachments)),
            (Opcode.METADATA_INDEX, record_bytes(*self.metadata)),
        ]
        content, offsets = b"", list[SummaryOffset]()
        for opcode, group in groups:
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
        times = [_INDEX_HEAD.unpack_from(chunk) for chunk in self._chunks]
        return Statistics(
            attachment_count=len(self.attachments),
            channel_count=len(self.channels),
            channel_message_counts=dict(self.counts),
            chunk_count=len(self._chunks),
            message_count=sum(self.counts.values()),
            message_start_time=min((start for start, _ in times), default=0),
            message_end_time=max((end for _, end in times), default=0),
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
        self._blocks = array("Q")  # where each begins, and behind it how many chunks it has
        self.size = 0
        """Bytes written."""
        self._looked_at = 0
        try:
            self._file = (open_file or _created)(path)
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
        self._blocks.extend((start, len(chunks)))
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
                    self._summary.pop()
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
        chunks, start = self._blocks.pop(), self._blocks.pop()
        for _ in range(chunks):
            self._summary.pop()
        self._file.truncate(start)
        self._file.seek(start)
        self.size = start


def _created(path: Path) -> io.RawIOBase:
    file = io.FileIO(path, "xb")
    hold(file)
    return file
