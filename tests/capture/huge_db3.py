"""A .db3 of many gigabytes whose pixels are holes in the file: SQLite's pages written by hand.

SQLite itself would write every page of a blob. A row holds the first bytes of its blob; the pages with the rest form a
chain, which is written for the first rows only and left as a hole for all others. Layout: https://sqlite.org/fileformat2.html
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from pathlib import Path

from tests.capture.cdr_writer import camera_info, image, string

SIZE = (848, 480)
PERIOD_NS = 33_333_333
PAGE = 4096
LOCK_PAGE = 2**30 // PAGE + 1
"""Never used by SQLite."""
_MOST_IN_ROW = PAGE - 35
_LEAST_IN_ROW = (PAGE - 12) * 32 // 255 - 23
_CHAINED = 24
"""Rows whose blobs can be read to their end: more than any reader looks ahead."""
_CHILDREN = 300
_LEAF, _INNER = 0x0D, 0x05
DEPTH = "/device_0/sensor_0/Depth_0"
COLOR = "/device_0/sensor_1/Color_0"
TEXT, IMAGE = "std_msgs/msg/String", "sensor_msgs/msg/Image"


class SparseDb3:
    """The messages table of a rosbag2 file; rows come in order."""

    def __init__(self, path: Path, topics: Sequence[tuple[str, str]]) -> None:
        """An empty file with these topics, (name, type); their numbers count from 1."""
        base = sqlite3.connect(path)
        base.execute(f"PRAGMA page_size={PAGE}")
        base.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT)")
        base.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)")
        base.executemany("INSERT INTO topics(name, type) VALUES(?, ?)", topics)
        base.commit()
        self._root = int(base.execute("SELECT rootpage FROM sqlite_master WHERE name='messages'").fetchone()[0])
        self._pages = int(base.execute("PRAGMA page_count").fetchone()[0])
        base.close()
        self._file = path.open("r+b")
        self._row = 0
        self._cells: list[bytes] = []
        self._leaves: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return self._pages * PAGE

    def add(self, topic: int, time_ns: int, head: bytes, hole: int = 0) -> None:
        """A message: its first bytes, and how many zeros follow them."""
        self._row += 1
        kinds = b"\0\x01\x06" + _varint(12 + 2 * (len(head) + hole))  # NULL, 8 and 64 bits, a blob
        front = bytes([1 + len(kinds)]) + kinds + struct.pack(">bq", topic, time_ns) + head
        total = len(front) + hole
        cell = _varint(total) + _varint(self._row)
        if total <= _MOST_IN_ROW:
            cell += front + bytes(hole)
        else:
            kept = _LEAST_IN_ROW + (total - _LEAST_IN_ROW) % (PAGE - 4)
            kept = kept if kept <= _MOST_IN_ROW else _LEAST_IN_ROW
            assert len(front) <= kept
            cell += front.ljust(kept, b"\0") + struct.pack(">I", self._chain(total - kept))
        if 8 + 2 * (len(self._cells) + 1) + sum(map(len, self._cells)) + len(cell) > PAGE:
            self._end_leaf(self._row - 1)
        self._cells.append(cell)

    def finish(self) -> None:
        """The tree over the rows, and the size of the file in its header."""
        self._end_leaf(self._row)
        children = self._leaves
        while len(children) > _CHILDREN:
            groups = [children[at : at + _CHILDREN] for at in range(0, len(children), _CHILDREN)]
            children = [(self._inner(group, self._new_page()), group[-1][1]) for group in groups]
        self._inner(children, self._root)
        self._file.truncate(self.size)
        self._file.seek(28)
        self._file.write(struct.pack(">I", self._pages))
        self._file.close()

    def _chain(self, size: int) -> int:
        """Pages for the rest of a blob; returns the first."""
        first, count = self._pages + 1, -(-size // (PAGE - 4))
        self._pages += count
        if self._row <= _CHAINED:
            for page in range(first, first + count):
                self._write(page, struct.pack(">I", page + 1 if page < first + count - 1 else 0))
        return first

    def _end_leaf(self, last_row: int) -> None:
        page = self._new_page()
        self._leaves.append((self._tree_page(page, _LEAF, self._cells), last_row))
        self._cells = []

    def _inner(self, children: Sequence[tuple[int, int]], page: int) -> int:
        """A page above others, each given with its last row."""
        cells = [struct.pack(">I", child) + _varint(last_row) for child, last_row in children[:-1]]
        return self._tree_page(page, _INNER, cells, struct.pack(">I", children[-1][0]))

    def _tree_page(self, page: int, kind: int, cells: Sequence[bytes], behind: bytes = b"") -> int:
        places, at = [], PAGE
        for cell in cells:
            at -= len(cell)
            places.append(at)
        head = struct.pack(">BHHHB", kind, 0, len(cells), at, 0) + behind + struct.pack(f">{len(places)}H", *places)
        self._write(page, head.ljust(at, b"\0") + b"".join(reversed(cells)))
        return page

    def _new_page(self) -> int:
        self._pages += 2 if self._pages + 1 == LOCK_PAGE else 1
        return self._pages

    def _write(self, page: int, content: bytes) -> None:
        self._file.seek((page - 1) * PAGE)
        self._file.write(content)


def huge_db3(path: Path, gigabytes: int) -> int:
    """As RealSense SDK 2.57 and later write raw images; returns its number of pairs."""
    streams = (DEPTH, COLOR)
    kinds = (("image/data", IMAGE), ("image/metadata", TEXT), ("info", TEXT), ("camera_info", TEXT), ("tf/ref_1", TEXT))
    topics = [(f"{stream}/{rest}", kind) for stream in streams for rest, kind in kinds]
    out = SparseDb3(path, topics)
    lens = f"width={SIZE[0]};height={SIZE[1]};fx=420;fy=420;ppx=424;ppy=240;model=Brown Conrady;coeffs=0,0,0,0,0"
    pose = "rotation=1,0,0,0,1,0,0,0,1;translation=0,0,0"
    for stream, encoding in enumerate(("Z16", "RGB8")):
        for rest, text in enumerate((f"encoding={encoding};fps=30", lens, pose), 3):
            out.add(5 * stream + rest, 0, string(text))
    images = [_image("mono16", 2), _image("rgb8", 3)]
    pairs = 0
    while out.size < gigabytes * 10**9:
        time_ns = pairs * PERIOD_NS
        told = f"Frame number={pairs};timestamp_domain=Hardware Clock;timestamp={time_ns / 1e6:.6f};depth_units=0.001"
        for stream, (head, hole) in enumerate(images):
            out.add(5 * stream + 1, time_ns, head, hole)
            out.add(5 * stream + 2, time_ns, string(told))
        pairs += 1
    out.finish()
    return pairs


def huge_ros_db3(path: Path, gigabytes: int) -> int:
    """A realsense-ros recording of raw images in SQLite; returns its number of pairs."""
    kinds = (("depth/image_rect_raw", "Image"), ("color/image_raw", "Image"))
    infos = (("depth/camera_info", "CameraInfo"), ("color/camera_info", "CameraInfo"))
    out = SparseDb3(path, [(f"/camera/{name}", f"sensor_msgs/msg/{kind}") for name, kind in kinds + infos])
    for topic in (3, 4):
        out.add(topic, 10**18, camera_info(SIZE))
    images = [_image("16UC1", 2), _image("rgb8", 3)]
    pairs = 0
    while out.size < gigabytes * 10**9:
        time_ns = 10**18 + pairs * PERIOD_NS
        stamp = struct.pack("<iI", *divmod(time_ns, 10**9))
        for topic, (head, hole) in enumerate(images, 1):
            out.add(topic, time_ns, head[:4] + stamp + head[12:], hole)
        pairs += 1
    out.finish()
    return pairs


def _image(encoding: str, pixel_bytes: int) -> tuple[bytes, int]:
    """An image message: up to its pixels, and the bytes of those."""
    whole = image(0, "optical", SIZE, encoding, bytes(SIZE[0] * SIZE[1] * pixel_bytes))
    head = whole.rstrip(b"\0")
    return head, len(whole) - len(head)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the highest first."""
    out = bytes([value & 0x7F])
    while value := value >> 7:
        out = bytes([value & 0x7F | 0x80]) + out
    return out
