"""SQLite container of ROS 2 bags (.db3): topics and messages, zstd blobs undone; nothing here knows what they mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path

from .source import SourceError

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK = 160 * 1024
"""More than the largest compressed block, before the end of which nothing comes out."""
_LARGEST_MESSAGE = 2**28


class Rosbag2:
    """One .db3 file, opened read-only.

    Raises:
        SourceError: when it is damaged or holds no messages table.
    """

    def __init__(self, path: Path) -> None:
        """Open and list the topics."""
        self.path = path
        self.compressed = False
        """True once a zstd message was met."""
        self.damage: str | None = None
        self._check_size()
        # a journal beside the file belongs to a recorder that was killed: only SQLite itself can replay it
        beside = [path.with_name(path.name + ending) for ending in ("-journal", "-wal")]
        mode = "mode=ro" if any(one.exists() for one in beside) else "mode=ro&immutable=1"
        try:
            uri = f"{path.resolve().as_uri()}?{mode}"
            self._base = sqlite3.connect(
                uri, uri=True, check_same_thread=False
            )  # opened by one thread, read by another
            rows = self._base.execute("SELECT id, name, type FROM topics").fetchall()
        except (sqlite3.Error, UnicodeError) as error:
            raise self._damaged(error) from error
        self.topics: dict[str, str] = {str(name): str(datatype) for _, name, datatype in rows}
        self._numbers: dict[str, int] = {str(name): number for number, name, _ in rows}

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    @cached_property
    def counts(self) -> dict[str, int]:
        """Messages per topic; one walk over the rows' heads, the blobs stay unread."""
        try:
            rows = dict(self._base.execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        return {topic: int(rows.get(number, 0)) for topic, number in self._numbers.items()}

    def messages(self, topics: Collection[str], limit: int | None = None) -> Iterator[tuple[str, int, bytes]]:
        """(topic, time of recording in ns, CDR data) of some topics in file order."""
        for topic, time_ns, data in self.stored(topics, limit):
            yield topic, time_ns, self.plain(data)

    def stored(self, topics: Collection[str], limit: int | None = None) -> Iterator[tuple[str, int, bytes]]:
        """The same as stored, for whoever has a thread for `plain`."""
        names = {self._numbers[topic]: topic for topic in topics if topic in self._numbers}
        marks = ",".join("?" * len(names))
        query = f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) ORDER BY id"
        if limit is not None:
            query += f" LIMIT {limit:d}"
        try:
            for number, time_ns, data in self._base.execute(query, tuple(names)):
                time_ns, data = _sound(time_ns, data)
                yield names[number], time_ns, data
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def heads(self, topics: Collection[str], size: int) -> Iterator[tuple[str, int, bytes]]:
        """The same with the first `size` bytes of the data only; the pages behind them are not read."""
        names = {self._numbers[topic]: topic for topic in topics if topic in self._numbers}
        marks = ",".join("?" * len(names))
        query = f"SELECT rowid, topic_id, timestamp, typeof(data) FROM messages WHERE topic_id IN ({marks}) ORDER BY id"
        try:
            for place, number, time_ns, kind in self._base.execute(query, tuple(names)):
                time_ns, head = _sound(time_ns, self._head(place, size) if kind == "blob" else b"")
                yield names[number], time_ns, head
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def _head(self, place: int, size: int) -> bytes:
        """The first bytes of one message, unpacked."""
        with self._base.blobopen("messages", "data", place, readonly=True) as blob:
            data = blob.read(size)
            if data[:4] == ZSTD_MAGIC:
                data += blob.read(_ZSTD_BLOCK)
        return self._front(data)[:size]

    @staticmethod
    def _front(data: bytes) -> bytes:
        """What the first part of a message's zstd frame already gives."""
        if data[:4] != ZSTD_MAGIC:
            return data
        import zstandard

        try:
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
        except (zstandard.ZstdError, MemoryError):
            return b""

    def plain(self, data: bytes) -> bytes:
        """A message without the zstd frame that one SDK version puts around each of them; empty if it is damaged."""
        if data[:4] != ZSTD_MAGIC:
            return data
        import zstandard

        self.compressed = True
        try:
            size = zstandard.frame_content_size(data)
            if 0 < size < _LARGEST_MESSAGE:
                return zstandard.ZstdDecompressor().decompress(data)
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
        except (zstandard.ZstdError, MemoryError):
            return b""  # too short for any message: the reader counts it as unreadable

    def _check_size(self) -> None:
        """A database says how many pages it has; fewer in the file mean that its end is missing."""
        with self.path.open("rb") as file:
            head = file.read(100)
        page = int.from_bytes(head[16:18], "big")
        expected = int.from_bytes(head[28:32], "big") * (65536 if page == 1 else page)
        size = self.path.stat().st_size
        counted = head[24:28] == head[92:96]  # else an old writer left the number of pages stale
        if len(head) < 100 or (counted and size < expected):
            raise self._damaged(f"cut: {size} of {expected} bytes")

    def _damaged(self, reason: object) -> SourceError:
        """The one sentence for every kind of damage."""
        return SourceError(
            f"{self.path}: damaged database ({reason}); `sqlite3 FILE .recover` may save part of it into a new file"
        )


def _sound(time_ns: object, data: object) -> tuple[int, bytes]:
    """A row's time and data; empty data, which every reader counts as unreadable, where one of them is of another type.

    SQLite stores values of any type in any column, so damage can turn a time into text or bytes.
    """
    if isinstance(time_ns, int) and isinstance(data, bytes):
        return time_ns, data
    return time_ns if isinstance(time_ns, int) else 0, b""
