"""Recordings of many gigabytes whose pixels are holes in the file, so that they take no room and no time."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from mcap.data_stream import RecordBuilder
from mcap.records import Channel, ChunkIndex, DataEnd, Footer, Header, MessageIndex, Schema, Statistics

from tests.capture.cdr_writer import camera_info, image
from tests.shared_data import shared

SIZE = (1280, 720)
PERIOD_NS = 33_333_333
_MAGIC = b"\x89MCAP0\r\n"
_MESSAGE = struct.Struct("<BQHIQQ")


class SparseMcap:
    """Uncompressed chunks without checksums; what is given as a number is a hole of so many bytes."""

    def __init__(self, file: BinaryIO, topics: Sequence[tuple[str, str]]) -> None:
        self._file, self._position = file, 0
        self._schemas = [Schema(k + 1, b"", "ros2msg", datatype) for k, (_, datatype) in enumerate(topics)]
        self._channels = [Channel(k, topic, "cdr", {}, k + 1) for k, (topic, _) in enumerate(topics)]
        self._chunks: list[ChunkIndex] = []
        self._counts = dict.fromkeys(range(len(topics)), 0)
        self._put(_MAGIC + self._records(Header("ros2", "sparse")))

    @property
    def size(self) -> int:
        return self._position

    def chunk(self, t_ns: int, messages: Sequence[tuple[int, bytes, int]]) -> None:
        """A chunk of (channel, head of the data, zeros behind it)."""
        begin = self._position
        total = sum(_MESSAGE.size + len(head) + hole for _, head, hole in messages)
        self._put(struct.pack("<BQQQQIIQ", 6, 8 * 3 + 4 + 4 + 8 + total, t_ns, t_ns, total, 0, 0, total))
        start, offsets = self._position, []
        for channel, head, hole in messages:
            offsets.append((channel, self._position - start))
            self._put(_MESSAGE.pack(5, _MESSAGE.size - 9 + len(head) + hole, channel, 0, t_ns, t_ns) + head)
            self._position += hole
            self._counts[channel] += 1
        end, places = self._position, {}
        for channel, offset in offsets:
            places[channel] = self._position
            self._put(self._records(MessageIndex(channel, [(t_ns, offset)])))
        self._chunks.append(ChunkIndex(end - begin, begin, "", total, t_ns, t_ns, places, self._position - end, total))

    def finish(self) -> None:
        """The summary."""
        self._put(self._records(DataEnd(0)))
        begin = self._position
        count = sum(self._counts.values())
        statistics = Statistics(0, len(self._channels), self._counts, len(self._chunks), count, 2**62, 0, 0, 4)
        self._put(self._records(*self._schemas, *self._channels, *self._chunks, statistics))
        self._put(self._records(Footer(begin, 0, 0)) + _MAGIC)

    def _put(self, data: bytes) -> None:
        self._file.seek(self._position)
        self._file.write(data)
        self._position += len(data)

    @staticmethod
    def _records(*records: object) -> bytes:
        builder = RecordBuilder()
        for record in records:
            record.write(builder)  # type: ignore[attr-defined]
        return bytes(builder.end())  # type: ignore[no-untyped-call]


def huge_mcap(path: Path, gigabytes: int) -> int:
    """A realsense-ros recording of raw images; returns its number of pairs."""
    width, height = SIZE
    kinds = (("depth/image_rect_raw", "Image"), ("color/image_raw", "Image"), ("depth/camera_info", "CameraInfo"))
    topics = [(f"/camera/{name}", f"sensor_msgs/msg/{kind}") for name, kind in kinds]
    topics.append(("/camera/color/camera_info", "sensor_msgs/msg/CameraInfo"))
    images = []
    for channel, encoding, pixel in ((0, "16UC1", 2), (1, "rgb8", 3)):
        whole = image(0, "optical", SIZE, encoding, bytes(width * height * pixel))
        head = whole.rstrip(b"\0")
        images.append((channel, head, len(whole) - len(head)))
    pairs = 0
    with path.open("wb") as file:
        out = SparseMcap(file, topics)
        out.chunk(0, [(2, camera_info(SIZE), 0), (3, camera_info(SIZE), 0)])
        while out.size < gigabytes * 10**9:
            t_ns = 10**18 + pairs * PERIOD_NS
            stamp = struct.pack("<iI", *divmod(t_ns, 10**9))
            out.chunk(t_ns, [(channel, head[:4] + stamp + head[12:], hole) for channel, head, hole in images])
            pairs += 1
        out.finish()
    return pairs


def huge_mkv(path: Path, gigabytes: int) -> int:
    """The genuine Azure Kinect file's head and first pair, then pairs of holes; returns its number of pairs."""
    content = shared("recordings/kinect_azure.mkv").read_bytes()
    cluster = b"\x1f\x43\xb6\x75"
    front = bytearray(content[: content.index(cluster, content.index(cluster) + 4)])
    seek, segment = front.index(b"\x11\x4d\x9b\x74"), front.index(b"\x18\x53\x80\x67")
    total = 5 + (front[seek + 4] & 0x7F)
    front[seek : seek + 2] = bytes((0xEC, 0x80 | total - 2))  # places of things that are no longer there: now padding
    pairs, position = 1, len(front)
    with path.open("wb") as file:
        while position < gigabytes * 10**9:
            holes = (4_000_000, 184_320)
            blocks = [b"\xa3" + _size(4 + hole) + bytes((track, 0, 0, 0x80)) for track, hole in enumerate(holes, 0x81)]
            time = b"\xe7\x88" + struct.pack(">Q", pairs * PERIOD_NS // 1000)
            body = len(time) + sum(len(block) + hole for block, hole in zip(blocks, holes, strict=True))
            head = cluster + _size(body) + time
            for block, hole in zip(blocks, holes, strict=True):
                file.seek(position)
                file.write(head + block)
                position += len(head) + len(block) + hole
                head = b""
            pairs += 1
        file.truncate(position)
        front[segment + 4 : segment + 12] = _size(position - segment - 12)
        file.seek(0)
        file.write(front)
    return pairs


def _size(value: int) -> bytes:
    """A length of 8 bytes as Matroska writes it."""
    return struct.pack(">Q", value | 1 << 56)
