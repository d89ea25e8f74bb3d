"""Byte layout of the ring: its header, its reader table and its slots.

    header (8 KiB): 8-byte words | reader rows | reason of the end | two blocks of drop counters
    slot:           lock word | frame fields | calibration | stage times | color | depth

All words are native int64 at multiples of 8, so that each is read and written in one piece.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from sfam.capture.frame import (
    Calibration,
    ClockDomain,
    ColorImage,
    DepthImage,
    Distortion,
    Extrinsics,
    Intrinsics,
    RGBDFrame,
)

from .ring_segment import RingError

MAGIC = int.from_bytes(b"sfamrin1", "little")
HEADER_BYTES = 8192
READER_ROWS = 8
ROW_WORDS = 8
ROWS_AT = 1024
REASON_AT, REASON_BYTES = 2048, 2048
COUNTERS_AT, COUNTERS_BYTES = 4096, 2048
FIELDS_AT = 64
CALIBRATION_AT, CALIBRATION_BYTES = 256, 3072
STAGES_AT, STAGES_BYTES = 3328, 768
PIXELS_AT = 4096
PAGE = 4096
_DOMAINS = tuple(ClockDomain)
_FIELDS = struct.Struct("@13qd6q")


class Word(IntEnum):
    """Places of the header's words."""

    MAGIC = 0
    SLOTS = 1
    COLOR_HEIGHT = 2
    COLOR_WIDTH = 3
    DEPTH_HEIGHT = 4
    DEPTH_WIDTH = 5
    LOSSLESS = 6
    WRITER_PID = 7
    WRITER_BEAT_NS = 8
    HEAD = 9
    STATE = 10
    REASON_LENGTH = 11
    COUNTERS_VERSION = 12
    RESTARTS = 13
    """1 where the owner starts a writer again that died: readers wait for it."""


class Row(IntEnum):
    """Places of the words in one reader's row."""

    STATE = 0
    PID = 1
    CURSOR = 2
    BEAT_NS = 3


class RowState(IntEnum):
    """Life of a reader's row: a lossless writer waits for RESERVED and ATTACHED ones."""

    FREE = 0
    RESERVED = 1
    ATTACHED = 2
    GONE = 3


class StreamState(IntEnum):
    """Life of the stream in the ring."""

    OPEN = 0
    ENDED = 1
    FAILED = 2


@dataclass(frozen=True, slots=True)
class RingLayout:
    """Shapes, and the places that follow from them."""

    slots: int
    color_shape: tuple[int, int]
    """(H, W) of the uint8 RGB image."""
    depth_shape: tuple[int, int]
    """(Hd, Wd) of the uint16 depth image."""

    @property
    def color_bytes(self) -> int:
        """Bytes of one color image."""
        return self.color_shape[0] * self.color_shape[1] * 3

    @property
    def depth_at(self) -> int:
        """Where depth begins in a slot."""
        return PIXELS_AT + -(-self.color_bytes // 64) * 64

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot, whole pages."""
        return -(-(self.depth_at + self.depth_shape[0] * self.depth_shape[1] * 2) // PAGE) * PAGE

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole ring."""
        return HEADER_BYTES + self.slots * self.slot_bytes

    def slot_at(self, slot: int) -> int:
        """Where a slot begins."""
        return HEADER_BYTES + slot * self.slot_bytes


def row_word(reader: int, place: Row) -> int:
    """Index of a word of a reader's row among the header's words."""
    return ROWS_AT // 8 + reader * ROW_WORDS + place


def counters_at(version: int) -> int:
    """Where drop counters of that version stand: a length word, then text; two blocks take turns."""
    return COUNTERS_AT + version % 2 * COUNTERS_BYTES


def encode_calibration(calibration: Calibration) -> bytes:
    """Calibration as JSON; Python's float text reads back to the same bits."""
    return _fitting(json.dumps(asdict(calibration), default=float).encode(), CALIBRATION_BYTES, "calibration")


def decode_calibration(text: bytes) -> Calibration:
    """The calibration that `encode_calibration` wrote."""
    values = json.loads(text)
    return Calibration(
        color=_intrinsics(values["color"]),
        depth=_intrinsics(values["depth"]),
        depth_to_color=Extrinsics(
            tuple(values["depth_to_color"]["rotation"]), tuple(values["depth_to_color"]["translation_m"])
        ),
        depth_aligned=values["depth_aligned"],
    )


def _intrinsics(values: dict[str, Any]) -> Intrinsics:
    changed = {"distortion": Distortion(values["distortion"]), "coeffs": tuple(values["coeffs"])}
    return Intrinsics(**{**values, **changed})


def encode_counts(counts: Mapping[str, int], room: int, what: str) -> bytes:
    """Whole numbers by name as JSON."""
    text = json.dumps({name: int(value) for name, value in counts.items()}, separators=(",", ":")).encode()
    return _fitting(text, room, what)


def decode_counts(text: bytes) -> dict[str, int]:
    """The numbers that `encode_counts` wrote."""
    return dict(json.loads(text)) if text else {}


def mark_end(buffer: memoryview, state: StreamState, text: str, fence: Callable[[], None]) -> None:
    """Say why no more frames come, once: the first word holds."""
    words = buffer.cast("q")
    if words[Word.STATE] == StreamState.OPEN:
        reason = text.encode()[:REASON_BYTES].decode(errors="ignore").encode()
        buffer[REASON_AT : REASON_AT + len(reason)] = reason
        words[Word.REASON_LENGTH] = len(reason)
        fence()
        words[Word.STATE] = state
    words.release()


def _fitting(text: bytes, room: int, what: str) -> bytes:
    if len(text) > room:
        raise RingError(f"{what} takes {len(text)} bytes, a ring has room for {room}; shorten its names")
    return text


@dataclass(frozen=True, slots=True)
class SlotText:
    """Which texts a slot holds beside its frame's fields."""

    calibration_version: int
    calibration_bytes: int
    stages_bytes: int


def pack_fields(buffer: memoryview, slot_at: int, frame: RGBDFrame, text: SlotText) -> None:
    """Write all of a frame but its images and calibration."""
    _FIELDS.pack_into(
        buffer,
        slot_at + FIELDS_AT,
        frame.sequence,
        frame.t_capture_ns,
        frame.t_device_ns,
        frame.t_host_ns,
        frame.t_utc_ns,
        frame.t_depth_device_ns,
        frame.color_number,
        frame.depth_number,
        frame.segment,
        frame.dropped_before,
        frame.depth_missing,
        _DOMAINS.index(frame.clock_domain),
        frame.t_sensor_ns is not None,
        frame.depth_scale_m,
        frame.t_sensor_ns or 0,
        frame.t_global_ns is not None,
        frame.t_global_ns or 0,
        text.calibration_version,
        text.calibration_bytes,
        text.stages_bytes,
    )


@dataclass(frozen=True, slots=True)
class SlotFields:
    """What `unpack_fields` read: raw numbers, to be trusted only once the slot's lock was seen unchanged."""

    values: tuple[Any, ...]

    @property
    def text(self) -> SlotText:
        """Which texts the slot holds."""
        return SlotText(*self.values[17:20])

    def frame(self, color: ColorImage, depth: DepthImage, calibration: Calibration) -> RGBDFrame:
        """The frame as it was written."""
        values = self.values
        return RGBDFrame(
            sequence=values[0],
            color=color,
            depth=depth,
            calibration=calibration,
            depth_scale_m=values[13],
            t_capture_ns=values[1],
            t_device_ns=values[2],
            clock_domain=_DOMAINS[values[11]],
            t_host_ns=values[3],
            t_utc_ns=values[4],
            t_depth_device_ns=values[5],
            t_sensor_ns=values[14] if values[12] else None,
            t_global_ns=values[16] if values[15] else None,
            color_number=values[6],
            depth_number=values[7],
            segment=values[8],
            dropped_before=values[9],
            depth_missing=bool(values[10]),
        )


def unpack_fields(buffer: memoryview, slot_at: int) -> SlotFields:
    """Read all of a frame but its images and calibration."""
    return SlotFields(_FIELDS.unpack_from(buffer, slot_at + FIELDS_AT))
