"""Writes small RealSense-like ROS1 bags with whatever a test needs to be odd about them."""

from __future__ import annotations

import bz2
import struct
from dataclasses import dataclass, field
from pathlib import Path

import lz4.frame
import numpy as np
from numpy.typing import NDArray

DEPTH = "/device_0/sensor_0/Depth_0"
COLOR = "/device_0/sensor_1/Color_0"


def text(value: str) -> bytes:
    """A length-prefixed string."""
    return struct.pack("<I", len(value)) + value.encode()


def fields(**values: bytes) -> bytes:
    """A record header."""
    parts = [name.encode() + b"=" + value for name, value in values.items()]
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def record(header: bytes, data: bytes) -> bytes:
    """A record."""
    return struct.pack("<I", len(header)) + header + struct.pack("<I", len(data)) + data


def image(
    number: int, stamp_ns: int, pixels: bytes, width: int, height: int, encoding: str, step: int, trailer: bytes = b""
) -> bytes:
    """A sensor_msgs/Image; a trailer is the depth unit that newer SDKs append."""
    stamp = struct.pack("<III", number, *divmod(stamp_ns, 10**9))
    shape = struct.pack("<II", height, width) + text(encoding) + struct.pack("<BII", 0, step, len(pixels))
    return stamp + text("1" if trailer else "0") + shape + pixels + trailer


def camera_info(width: int, height: int, model: str = "Brown Conrady") -> bytes:
    """A sensor_msgs/CameraInfo with a focal length of the image's width."""
    matrix = (width, 0, width / 2, 0, width, height / 2, 0, 0, 1)
    front = struct.pack("<III", 0, 0, 0) + text("0") + struct.pack("<II", height, width) + text(model)
    return front + struct.pack("<I5d9d", 5, *([0.0] * 5), *matrix)


def _pack(compression: str, data: bytes) -> bytes:
    """A chunk's payload, with the checksum that the SDK writes too."""
    if compression == "lz4":
        return bytes(lz4.frame.compress(data, block_linked=False, content_checksum=True))
    return bz2.compress(data) if compression == "bz2" else data


@dataclass
class BagWriter:
    """Messages go into the current chunk; `end_chunk` closes it, `save` adds the index."""

    compression: str = "none"
    connections: dict[str, tuple[int, str]] = field(default_factory=dict)
    chunk: bytes = b""
    entries: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    body: bytes = b""
    infos: list[tuple[int, dict[int, int]]] = field(default_factory=list)

    def add(self, topic: str, datatype: str, data: bytes, time_ns: int = 1) -> None:
        """A message."""
        if topic not in self.connections:
            self.connections[topic] = (len(self.connections), datatype)
            self.chunk += self._connection(topic)
        number = self.connections[topic][0]
        self.entries.setdefault(number, []).append((time_ns, len(self.chunk)))
        when = struct.pack("<II", *divmod(time_ns, 10**9))
        self.chunk += record(fields(conn=struct.pack("<I", number), op=b"\x02", time=when), data)

    def end_chunk(self) -> None:
        """Compress and write the chunk and its index records."""
        packed = _pack(self.compression, self.chunk)
        self.infos.append((4117 + len(self.body), {number: len(one) for number, one in self.entries.items()}))
        head = fields(op=b"\x05", compression=self.compression.encode(), size=struct.pack("<I", len(self.chunk)))
        self.body += record(head, packed)
        for number, entries in self.entries.items():
            data = b"".join(struct.pack("<III", *divmod(time, 10**9), offset) for time, offset in entries)
            head = fields(
                op=b"\x04",
                ver=struct.pack("<I", 1),
                conn=struct.pack("<I", number),
                count=struct.pack("<I", len(entries)),
            )
            self.body += record(head, data)
        self.chunk, self.entries = b"", {}

    def save(self, path: Path, *, indexed: bool = True) -> Path:
        """The file."""
        if self.chunk:
            self.end_chunk()
        body = self.body + (self.index() if indexed else b"")
        path.write_bytes(self.front(4117 + len(self.body) if indexed else 0) + body)
        return path

    def front(self, index_position: int) -> bytes:
        """The 4117 bytes before the first chunk."""
        head = fields(
            op=b"\x03",
            index_pos=struct.pack("<Q", index_position),
            conn_count=struct.pack("<I", len(self.connections)),
            chunk_count=struct.pack("<I", len(self.infos)),
        )
        return b"#ROSBAG V2.0\n" + record(head, b" " * (4096 - len(head)))

    def index(self) -> bytes:
        """What stands behind the last chunk."""
        return b"".join(self._connection(topic) for topic in self.connections) + self._chunk_infos()

    def _connection(self, topic: str) -> bytes:
        number, datatype = self.connections[topic]
        head = fields(op=b"\x07", conn=struct.pack("<I", number), topic=topic.encode())
        return record(head, fields(topic=topic.encode(), type=datatype.encode()))

    def _chunk_infos(self) -> bytes:
        out = b""
        for position, counts in self.infos:
            head = fields(
                op=b"\x06",
                ver=struct.pack("<I", 1),
                chunk_pos=struct.pack("<Q", position),
                count=struct.pack("<I", len(counts)),
            )
            out += record(head, b"".join(struct.pack("<II", *one) for one in counts.items()))
        return out

    def head(
        self, *, color: str = "rgb8", size: tuple[int, int] = (8, 6), poses: bool = True, unit: bool = True
    ) -> None:
        """What a recording says before its first image."""
        self.add("/file_version", "std_msgs/UInt32", struct.pack("<I", 4))
        for base, encoding in ((DEPTH, "mono16"), (COLOR, color)):
            self.add(f"{base}/info", "realsense_msgs/StreamInfo", struct.pack("<I", 30) + text(encoding) + b"\0")
            self.add(f"{base}/info/camera_info", "sensor_msgs/CameraInfo", camera_info(*size))
            if poses:
                pose = struct.pack("<7d", 0.015 if base == COLOR else 0.0, 0, 0, 0, 0, 0, -1)
                self.add(f"{base}/tf/0", "geometry_msgs/Transform", pose)
        if unit:
            self.add("/device_0/sensor_0/option/Depth_Units/value", "std_msgs/Float32", struct.pack("<f", 0.0001))

    def pair(
        self,
        number: int,
        stamp_ns: int,
        color: NDArray[np.uint8] | None = None,
        encoding: str = "rgb8",
        *,
        size: tuple[int, int] = (8, 6),
        domain: str = "Hardware Clock",
        unit_m: float | None = None,
        base: str = COLOR,
    ) -> None:
        """One depth and one color image with their metadata."""
        width, height = size
        depth = np.full((height, width), number, np.uint16)
        pixels = np.full((height, width, 3), number % 256, np.uint8) if color is None else color
        trailer = b"" if unit_m is None else struct.pack("<f", unit_m)
        when = number * 10**6 + 2
        for topic, data in (
            (DEPTH, image(number, stamp_ns, depth.tobytes(), width, height, "mono16", 2 * width, trailer)),
            (
                base,
                image(number, stamp_ns + 100_000, pixels.tobytes(), width, height, encoding, pixels.nbytes // height),
            ),
        ):
            self.add(f"{topic}/image/data", "sensor_msgs/Image", data, when)
            for key, value in (("timestamp_domain", domain), ("Sensor Timestamp", str(stamp_ns // 1000))):
                self.add(f"{topic}/image/metadata", "diagnostic_msgs/KeyValue", text(key) + text(value), when)
