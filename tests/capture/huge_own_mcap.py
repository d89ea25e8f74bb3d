"""A recording of ours of many gigabytes whose images are holes in the file, all but the first."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from mcap.records import Header

from sfam.capture.frame import Intrinsics, RGBDFrame
from sfam.capture.frame_encoder import FrameEncoder
from sfam.capture.mcap_chunk import PackedChunk, PackedMessage, pack_chunk, record_bytes
from sfam.capture.mcap_file import MAGIC, Summary
from sfam.capture.mcap_layout import PROFILE, Topic, frame_record, layout, source_record
from sfam.capture.source import SourceInfo

PERIOD_NS = 33_333_333
BLOCK_FRAMES = 3
"""As many as the recorder puts into a block at this size."""
BLOCK_HOLE = 2_400_000
_HEAD = 9 + 32 + len("zstd") + 8
"""A chunk record up to its compressed content."""
LENS = Intrinsics(640, 480, 615.0, 615.0, 320.0, 240.0)
COLOR, DEPTH = np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640), np.uint16)


def huge_own_mcap(path: Path, gigabytes: float) -> int:
    """Closed properly, but without an index of its chunks, which our reader does not look at; returns its frames."""
    plan, encoder = layout(jpeg=False), FrameEncoder("lossless", 95, "zstd")
    frames = [_frame(k) for k in range(BLOCK_FRAMES)]
    first, records = encoder.frames(frames)
    info = SourceInfo("sparse", "device", True, 30.0, frames[0].calibration)
    notes = encoder.notes(0, [(Topic.SOURCE, source_record(info)), *encoder.new_calibrations()])
    head, index = _hollow(first)
    count = BLOCK_FRAMES
    with path.open("wb") as file:
        file.write(MAGIC + record_bytes(Header(PROFILE, "sparse"), *plan.schemas, *plan.channels))
        file.write(notes.data + first.data + records.data)
        while file.tell() < gigabytes * 10**9:
            file.write(head)
            file.seek(BLOCK_HOLE, 1)
            file.write(index + _records(range(count, count + BLOCK_FRAMES)))
            count += BLOCK_FRAMES
        schemas, channels = {one.id: one for one in plan.schemas}, {one.id: one for one in plan.channels}
        file.write(Summary(schemas, channels).ending(file.tell()))
    return count


def _frame(k: int) -> RGBDFrame:
    return RGBDFrame.from_arrays(COLOR, DEPTH, LENS, k * PERIOD_NS, sequence=k)


def _records(numbers: range) -> bytes:
    """A record chunk."""
    messages = []
    for frame in map(_frame, numbers):
        data = json.dumps(frame_record(frame, 0)).encode()
        messages.append(PackedMessage(Topic.FRAME, frame.t_capture_ns, frame.sequence, (data,)))
    return pack_chunk(messages, "").data


def _hollow(images: PackedChunk) -> tuple[bytes, bytes]:
    """What stands before and behind the compressed content of an image chunk of `BLOCK_HOLE` bytes."""
    head = bytearray(images.data[:_HEAD])
    struct.pack_into("<Q", head, 1, _HEAD - 9 + BLOCK_HOLE)
    struct.pack_into("<Q", head, _HEAD - 8, BLOCK_HOLE)
    return bytes(head), images.data[len(images.data) - images.index.message_index_length :]
