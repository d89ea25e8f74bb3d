"""Mends MCAP files that were cut off: everything whole stays, index and summary are written anew."""

from __future__ import annotations

import io
import mmap
import os
import shutil
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Attachment, AttachmentIndex, Channel, ChunkIndex, MessageIndex, Metadata, MetadataIndex, Schema

from .file_lock import is_held
from .mcap_chunk import index_records
from .mcap_file import MAGIC, RecordingError, Summary
from .mcap_scan import ChunkView, RawRecord, Scan, UnreadChunkError, chunk_behind

_SET_ASIDE = 0x80
"""Record types from here on are private and passed over by every reader: a damaged chunk becomes one."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was found and done."""

    path: Path
    was_whole: bool
    """Nothing had to be done."""
    messages: int
    chunks: int
    damaged_chunks: int
    """Chunks that do not open; they are set aside, not removed."""
    removed_bytes: int
    """Torn bytes at the end."""


@dataclass(slots=True)
class _Found:
    """What a file turned out to hold."""

    summary: Summary
    size: int
    """Of the file."""
    end: int
    """Behind the last whole record of the data section."""
    complete: bool
    tail: bytes
    """Index records that the last chunk lacks."""
    damaged: list[int]
    """Where chunks stand that do not open."""
    doubt: str
    """Why what would be cut off or set aside may be whole; empty where it is not."""

    @property
    def was_whole(self) -> bool:
        """Nothing is to be done."""
        return self.complete and not self.damaged

    @property
    def torn_bytes(self) -> int:
        """What stands behind the last whole record."""
        return 0 if self.complete else self.size - self.end


def repair(path: Path, out: Path | None = None) -> RepairReport:
    """Rebuild index and summary of an mcap file, ours or another's.

    In place nothing whole is ever rewritten: the torn end is cut and the index appended, so a kill in between leaves a
    file that the next repair mends alike. What may be more than a torn end is refused. A new file appears under its
    name only when it is complete.

    Args:
        path: the damaged file.
        out: where to write the mended file; None = in place.

    Raises:
        RecordingError: no mcap file, still being written, it cannot be read or written, or not be mended in place
            without loss.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise RecordingError(f"{path}: repair cannot read it: {error.strerror}") from error
    with file:
        if out is None and is_held(file):
            raise RecordingError(
                f"{path}: a program is still writing this file; end that recording first, or mend a copy of what is "
                "there now with --out"
            )
        found = _look(path, file)
        if out is None and found.doubt:
            raise RecordingError(
                f"{path}: {found.doubt}; nothing was changed, --out writes what can be mended into a new file"
            )
        try:
            if out is not None:
                _mend_copy(path, out, found)
            elif not found.was_whole:
                _mend(path, found)
        except RecordingError:
            raise
        except OSError as error:
            raise RecordingError(f"{out or path}: repair cannot write: {error.strerror}") from error
    messages, chunks = sum(found.summary.counts.values()), found.summary.chunk_count
    return RepairReport(out or path, found.was_whole, messages, chunks, len(found.damaged), found.torn_bytes)


def _mend_copy(path: Path, out: Path, found: _Found) -> None:
    """The mended file under another name."""
    if out.exists():
        raise RecordingError(f"{out}: exists already and is never overwritten; choose another name")
    part = out.with_name(f"{out.name}.part")
    shutil.copyfile(path, part)
    if not found.was_whole:
        _mend(part, found)
    os.replace(part, out)


def _mend(path: Path, found: _Found) -> None:
    """Cut, set aside, append; each step leaves a file that can be mended."""
    with path.open("r+b") as file:
        for start in found.damaged:
            file.seek(start)
            file.write(bytes([_SET_ASIDE | Opcode.CHUNK]))
        file.truncate(found.end)
        file.seek(found.end)
        file.write(found.tail + found.summary.ending(found.end + len(found.tail)))
        file.flush()
        os.fsync(file.fileno())


def _look(path: Path, file: BinaryIO) -> _Found:
    """Read the data section and check every chunk.

    Raises:
        RecordingError: no mcap file, or nothing whole in it.
    """
    head = file.read(len(MAGIC))
    if head != MAGIC:
        raise RecordingError(f"{path}: no mcap file; its first bytes are {head!r}")
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = memoryview(content)
    try:
        found = _Survey(view).found()
    except ValueError as error:
        raise RecordingError(f"{path}: damaged beyond repair; {error}") from error
    # not when an error passes by: its traceback may hold parts of the file, which then closes after it
    view.release()
    content.close()
    return found


class _Survey:
    """Walks over the records and gathers what a summary says."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._summary = Summary()
        self._damaged: list[int] = []
        self._indexes: dict[int, int] = {}  # of the last chunk: channel -> offset
        self._open: tuple[RawRecord, ChunkView, dict[int, MessageIndex], Counter[int]] | None = None
        self._index_end = 0
        self._opened_end = len(MAGIC)  # behind the last chunk that opened
        self._unread = ""  # of a chunk that does not open here and may yet be sound
        self._loose = False  # messages outside of chunks

    def found(self) -> _Found:
        """Everything whole in the file."""
        scan = Scan(self._view)
        end = scan.end
        for record in scan.records():
            if record.opcode in (Opcode.DATA_END, Opcode.FOOTER) or scan.data_end is not None:
                continue
            self._take(record)
            end = record.end
        tail = self._close_chunk(last=True, end=end)
        return _Found(self._summary, len(self._view), end, scan.complete, tail, self._damaged, self._doubt(scan))

    def _doubt(self, scan: Scan) -> str:
        if self._unread or scan.complete:
            return self._unread
        whole = chunk_behind(self._view, self._opened_end)
        if whole is not None:
            return f"damaged near byte {self._opened_end}, for a whole chunk follows at byte {whole}"
        if self._loose and scan.data_end is None:
            return f"cut off or damaged at byte {scan.end}; its messages are in no chunks, which would tell which"
        return ""

    def _take(self, record: RawRecord) -> None:
        if record.opcode == Opcode.MESSAGE_INDEX:
            if self._open is not None:
                channel = int.from_bytes(self._view[record.body : record.body + 2], "little")
                self._indexes[channel] = record.start
                self._index_end = record.end
            return
        self._close_chunk(last=False, end=record.start)
        if record.opcode == Opcode.CHUNK:
            self._take_chunk(record)
        elif record.opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            self._take_definition(record.opcode, bytes(self._view[record.body : record.end]))
        elif record.opcode in (Opcode.ATTACHMENT, Opcode.METADATA):
            self._take_extra(record)
        elif record.opcode == Opcode.MESSAGE:
            self._loose = True
            self._summary.counts[int.from_bytes(self._view[record.body : record.body + 2], "little")] += 1

    def _take_chunk(self, record: RawRecord) -> None:
        try:
            chunk = ChunkView(self._view, record)
            indexes: dict[int, MessageIndex] = {}
            counts: Counter[int] = Counter()
            for inner in chunk.records():
                if inner.opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                    self._take_definition(inner.opcode, chunk.content[inner.body : inner.end])
            for message in chunk.messages():
                entries = indexes.setdefault(message.channel, MessageIndex(message.channel, [])).records
                entries.append((message.t_ns, message.offset))
                counts[message.channel] += 1
        except ValueError as error:
            self._damaged.append(record.start)
            if isinstance(error, UnreadChunkError):
                self._unread = str(error)
            return
        self._opened_end = chunk.end
        self._open = (record, chunk, indexes, counts)
        self._indexes, self._index_end = {}, record.end

    def _take_definition(self, opcode: int, body: bytes) -> None:
        stream = ReadDataStream(io.BytesIO(body))
        try:
            if opcode == Opcode.SCHEMA:
                schema = Schema.read(stream)
                self._summary.schemas[schema.id] = schema
            else:
                channel = Channel.read(stream)
                self._summary.channels[channel.id] = channel
        except (McapError, struct.error, ValueError) as error:
            raise ValueError(f"a schema or channel record does not read: {error!r}") from error

    def _take_extra(self, record: RawRecord) -> None:
        """An attachment or metadata, as other recorders write them; one that does not read gets no index."""
        stream = ReadDataStream(io.BytesIO(self._view[record.body : record.end]))
        length = record.end - record.start
        try:
            found = (Metadata if record.opcode == Opcode.METADATA else Attachment).read(stream)
        except (McapError, struct.error, ValueError):
            return
        if isinstance(found, Metadata):
            self._summary.metadata.append(MetadataIndex(record.start, length, found.name))
            return
        self._summary.attachments.append(
            AttachmentIndex(
                offset=record.start,
                length=length,
                log_time=found.log_time,
                create_time=found.create_time,
                data_size=len(found.data),
                name=found.name,
                media_type=found.media_type,
            )
        )

    def _close_chunk(self, *, last: bool, end: int) -> bytes:
        """Note the chunk whose index records have all been seen; returns those the file's last chunk lacks."""
        if self._open is None:
            return b""
        record, chunk, indexes, counts = self._open
        self._open = None
        tail = b""
        missing = [index for channel, index in indexes.items() if channel not in self._indexes]
        if last and missing:
            places, tail = index_records(missing, end)
            self._indexes |= places
            self._index_end = end + len(tail)
        self._summary.note(
            ChunkIndex(
                chunk_start_offset=record.start,
                chunk_length=record.end - record.start,
                compression=chunk.compression,
                compressed_size=chunk.packed_size,
                message_start_time=chunk.start_ns,
                message_end_time=chunk.end_ns,
                message_index_length=self._index_end - record.end,
                message_index_offsets=dict(self._indexes),
                uncompressed_size=chunk.size,
            ),
            counts,
        )
        return tail
