"""ROS 2 recordings in mcap files."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from .config import CaptureConfig
from .mcap_heads import message_heads
from .recording import Recording
from .ros2_topics import RosTopicRecording
from .source import SourceError


def open_mcap(path: Path, config: CaptureConfig) -> Recording:
    """Open an mcap file by what its channels hold.

    Raises:
        SourceError: when nothing in it can be read.
    """
    file = McapFile(path)
    recording = RosTopicRecording(path, config, file, f"mcap, {file.compression}", file.writer)
    if not file.indexed and file.damage is None:
        recording.warn("no index in this mcap file: all of it is read to look into it")
    return recording


class McapFile:
    """An mcap file as a ROS container; read through its summary where it has one, else from front to back."""

    def __init__(self, path: Path) -> None:
        """Open and list the channels.

        Raises:
            SourceError: when the file is cut before its first channel.
        """
        from mcap.reader import SeekingReader

        self.path = path
        self.damage: str | None = None
        self.topics: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self._channels: dict[int, str] = {}
        self._chunks: list[Any] = []
        self.writer = "unknown"
        self.compression = "no chunks"
        self._file = path.open("rb")
        self._limit = path.stat().st_size  # no record can be larger, whatever a damaged length says
        self._reader: Any = SeekingReader(self._file, record_size_limit=self._limit)
        self.indexed = self._read_summary() or self._read_through()
        if not self.topics:
            self.close()
            raise SourceError(f"{path}: nothing readable in this mcap file; {self.damage or 'it holds no channel'}")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def messages(self, topics: Collection[str], limit: int | None = None) -> Iterator[tuple[str, int, bytes]]:
        """(topic, log time in ns, CDR data) of some topics in file order, every one before any damage."""
        found = self._by_index(topics) if self.indexed else self._from_front(topics)
        for count, message in enumerate(found, 1):
            yield message
            if count == limit:
                return

    def _by_index(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Only the chunks that hold the topics, one after another; the library's own walk would hold all of them."""
        from mcap.data_stream import ReadDataStream
        from mcap.records import Chunk, Message
        from mcap.stream_reader import breakup_chunk

        names = self._numbers(topics)
        for index in self._chunks:
            if not names.keys() & index.message_index_offsets.keys():
                continue
            try:
                self._file.seek(index.chunk_start_offset + 9)
                stored = self._file.read(min(index.chunk_length, self._limit))
                records = list(breakup_chunk(Chunk.read(ReadDataStream(BytesIO(stored))), validate_crc=True))
            except self._troubles() as error:
                self._note_damage(index, error)
                continue
            for record in records:
                if isinstance(record, Message) and record.channel_id in names:
                    yield names[record.channel_id], record.log_time, record.data

    def heads(self, topics: Collection[str], size: int) -> Iterator[tuple[str, int, bytes]]:
        """The same with the first `size` bytes of the data only; with an index the rest is not even read."""
        if not self.indexed:
            for topic, time_ns, data in self._from_front(topics):
                yield topic, time_ns, data[:size]
            return
        names = self._numbers(topics)
        with self.path.open("rb", buffering=0) as file:
            for index in self._chunks:
                try:
                    yield from message_heads(file, index, names, size)
                except self._troubles() as error:
                    self._note_damage(index, error)

    def _note_damage(self, index: Any, error: Exception) -> None:
        """A chunk that is left out; the first is the one named."""
        reason = str(error) or type(error).__name__
        self.damage = self.damage or f"damaged: the chunk at byte {index.chunk_start_offset} is left out ({reason})"

    def _numbers(self, topics: Collection[str]) -> dict[int, str]:
        """Channel number -> topic of the topics asked for."""
        return {number: topic for number, topic in self._channels.items() if topic in topics}

    def _from_front(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Every record until the end or the damage."""
        from mcap.records import Channel, Message

        names: dict[int, str] = {}
        for record in self._records():
            if isinstance(record, Channel):
                names[record.id] = record.topic
            elif isinstance(record, Message) and names.get(record.channel_id) in topics:
                yield names[record.channel_id], record.log_time, record.data

    def _read_summary(self) -> bool:
        """Channels and counts from the end of the file; false where there is no usable summary."""
        try:
            header, summary = self._reader.get_header(), self._reader.get_summary()
        except self._troubles():
            return False
        self.writer = header.library or "unknown"
        if summary is None or not summary.channels or not summary.chunk_indexes or summary.statistics is None:
            return False
        if not all(one.message_index_offsets for one in summary.chunk_indexes):
            return False
        counts = summary.statistics.channel_message_counts
        for number, channel in summary.channels.items():
            schema = summary.schemas.get(channel.schema_id)
            self._channels[number] = channel.topic
            self.topics[channel.topic] = schema.name if schema else ""
            self.counts[channel.topic] = self.counts.get(channel.topic, 0) + counts.get(number, 0)
        self._chunks = sorted(summary.chunk_indexes, key=lambda one: int(one.chunk_start_offset))
        self.compression = f"{summary.chunk_indexes[0].compression or 'uncompressed'} chunks"
        return True

    def _read_through(self) -> bool:
        """Channels and counts from every record; always false, for there is no index."""
        from mcap.records import Channel, Header, Message, Schema

        schemas: dict[int, str] = {}
        names: dict[int, str] = {}
        counts: Counter[str] = Counter()
        for record in self._records():
            if isinstance(record, Header):
                self.writer = record.library or "unknown"
            elif isinstance(record, Schema):
                schemas[record.id] = record.name
            elif isinstance(record, Channel):
                names[record.id] = record.topic
                self.topics[record.topic] = schemas.get(record.schema_id, "")
            elif isinstance(record, Message):
                counts[names.get(record.channel_id, "")] += 1
        self.counts = {topic: counts[topic] for topic in self.topics}
        return False

    def _records(self) -> Iterator[Any]:
        """Records from the front, chunks opened; the end without a footer is damage."""
        from mcap.records import Footer
        from mcap.stream_reader import StreamReader

        self._file.seek(0)
        complete = False
        try:
            for record in StreamReader(self._file, validate_crcs=True, record_size_limit=self._limit).records:
                complete = complete or isinstance(record, Footer)
                yield record
        except self._troubles() as error:
            self.damage = f"truncated: {str(error) or type(error).__name__}"
            return
        if not complete:
            self.damage = "truncated: the file ends before its index"

    @staticmethod
    def _troubles() -> tuple[type[Exception], ...]:
        """Everything that a cut or scrambled file makes the readers raise."""
        import zstandard
        from mcap.exceptions import McapError

        return (
            McapError,
            zstandard.ZstdError,
            struct.error,
            EOFError,
            OSError,
            RuntimeError,
            ValueError,
            KeyError,
            OverflowError,
            MemoryError,
        )
