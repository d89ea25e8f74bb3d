"""ROS 2 messages and recordings for tests, written by hand as a node would record them."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from pathlib import Path

from mcap.writer import CompressionType, Writer

Message = tuple[str, str, int, bytes]
"""Topic, type, log time in ns, CDR data."""


class Cdr:
    """Builds one message, either byte order."""

    def __init__(self, *, big: bool = False) -> None:
        self.order = ">" if big else "<"
        self.head = b"\0\0\0\0" if big else b"\0\1\0\0"
        self.body = b""

    def add(self, form: str, *values: float) -> Cdr:
        """Values of one struct letter."""
        size = struct.calcsize("=" + form)
        self.body += b"\0" * (-len(self.body) % size) + struct.pack(f"{self.order}{len(values)}{form}", *values)
        return self

    def text(self, value: str) -> Cdr:
        """A string."""
        return self.octets(value.encode() + b"\0")

    def octets(self, value: bytes) -> Cdr:
        """A byte sequence."""
        self.add("I", len(value))
        self.body += value
        return self

    def header(self, stamp_ns: int, frame: str) -> Cdr:
        """A std_msgs/Header."""
        return self.add("i", stamp_ns // 10**9).add("I", stamp_ns % 10**9).text(frame)

    def done(self) -> bytes:
        """The message."""
        return self.head + self.body


def image(
    stamp_ns: int, frame: str, size: tuple[int, int], encoding: str, pixels: bytes, *, big: bool = False
) -> bytes:
    """A sensor_msgs/msg/Image."""
    width, height = size
    out = Cdr(big=big).header(stamp_ns, frame).add("I", height, width).text(encoding)
    return out.add("B", int(big)).add("I", len(pixels) // height).octets(pixels).done()


def compressed(stamp_ns: int, frame: str, form: str, data: bytes) -> bytes:
    """A sensor_msgs/msg/CompressedImage."""
    return Cdr().header(stamp_ns, frame).text(form).octets(data).done()


def camera_info(size: tuple[int, int], frame: str = "f", model: str = "plumb_bob", coeffs: int = 5) -> bytes:
    """A sensor_msgs/msg/CameraInfo with a focal length of the image's width."""
    width, height = size
    out = Cdr().header(0, frame).add("I", height, width).text(model).add("I", coeffs).add("d", *[0.0] * coeffs)
    return out.add("d", width, 0, width / 2, 0, width, height / 2, 0, 0, 1).done()


def string(value: str) -> bytes:
    """A std_msgs/msg/String."""
    return Cdr().text(value).done()


def tree(*edges: tuple[str, str, tuple[float, float, float]]) -> bytes:
    """A tf2_msgs/msg/TFMessage of pure translations."""
    out = Cdr().add("I", len(edges))
    for frame, child, moved in edges:
        out.header(0, frame).text(child).add("d", *moved).add("d", 0, 0, 0, 1)
    return out.done()


def write_mcap(path: Path, messages: Sequence[Message], compression: CompressionType = CompressionType.ZSTD) -> Path:
    """An mcap file with small chunks."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=4096, compression=compression)
        writer.start("ros2", "test")
        channels: dict[str, int] = {}
        for topic, datatype, time_ns, data in messages:
            if topic not in channels:
                schema = writer.register_schema(datatype, "ros2msg", b"")
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            writer.add_message(channels[topic], time_ns, data, time_ns)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


def write_db3(path: Path, messages: Sequence[Message]) -> Path:
    """A rosbag2 SQLite file."""
    base = sqlite3.connect(path)
    base.execute(
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT, "
        "offered_qos_profiles TEXT)"
    )
    base.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)")
    numbers: dict[str, int] = {}
    for topic, datatype, time_ns, data in messages:
        if topic not in numbers:
            numbers[topic] = len(numbers) + 1
            base.execute("INSERT INTO topics VALUES(?, ?, ?, 'cdr', '')", (numbers[topic], topic, datatype))
        base.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", (numbers[topic], time_ns, data))
    base.commit()
    base.close()
    return path
