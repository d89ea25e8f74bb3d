"""The reading end of the ring: frames in order, torn ones thrown away, lost ones counted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sfam.capture.frame import Calibration, RGBDFrame

from . import ring_header as header
from .image_pool import ImagePool
from .ring import LONG_WAIT_S, LOOK_AROUND_S, Memory, fence
from .ring_header import Row, RowState, StreamState, Word, row_word
from .ring_segment import RingError, process_alive

OVERWRITTEN = "ring_overwritten"
"""Cause under which a reader counts frames it was too slow for."""
_ATTEMPTS = 64
_ALERT_WAIT_S, _IDLE_WAIT_S, _IDLE_AFTER_S = 0.2e-3, 2e-3, 0.2


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """Why no more frames come."""

    state: Literal["ended", "failed"]
    reason: str = ""
    """What went wrong; empty where the stream ended as it should."""
    warnings: tuple[str, ...] = ()
    """What the source had to say when it ended."""


class _Rhythm:
    """How long to sleep between two looks: long while no frame can be due, short around the time one is due."""

    def __init__(self) -> None:
        self._period_s = 0.0
        self._last_s = 0.0

    def beat(self, now_s: float, on_time: bool) -> None:
        """A frame has come; `on_time` where it was waited for, so that its distance to the last one says something."""
        if on_time and self._last_s:
            interval_s = min(now_s - self._last_s, 1.0)
            self._period_s += 0.25 * (interval_s - self._period_s) if self._period_s else interval_s
        self._last_s = now_s

    def pause_s(self, now_s: float) -> float:
        """Seconds to sleep now."""
        elapsed_s = now_s - self._last_s
        if elapsed_s > _IDLE_AFTER_S or elapsed_s < 0.85 * self._period_s - _IDLE_WAIT_S:
            return _IDLE_WAIT_S
        return _ALERT_WAIT_S if elapsed_s < 1.15 * self._period_s else LONG_WAIT_S


class RingReader:
    """One reader of a ring; frames come in order, each as arrays of its own.

    Args:
        name: of the ring.
        reader: number of the row this reader holds; None = an onlooker that no lossless writer waits for. A row that
            was reserved, or whose holder died, goes on from its cursor, so that nothing is lost uncounted; any other
            reader starts at the oldest frame still there.

    Raises:
        RingError: no such ring, or the row is held by a living reader.
    """

    def __init__(self, name: str, reader: int | None = 0) -> None:
        if reader is not None and not 0 <= reader < header.READER_ROWS:
            raise ValueError(f"reader {reader}: a ring has rows 0 to {header.READER_ROWS - 1}")
        self._memory = Memory.attach(name)
        self._words = self._memory.words
        self._row = reader
        try:
            self._cursor = self._take_row()
        except RingError:
            self._memory.close()
            raise
        self.first = self._cursor
        """Frames written before this reader's first one."""
        self.read_count = 0
        """Frames handed out."""
        self.lost = 0
        """Frames overwritten before this reader took them; read_count + lost = written - first at the end."""
        self.torn = 0
        """Copies thrown away because the writer came by meanwhile; each such frame is in `lost`."""
        self.lost_before = 0
        """Frames lost directly before the last one."""
        self.stage_ns: Mapping[str, int] = {}
        """Stage times that came with the last frame."""
        self.end: StreamEnd | None = None
        """Why no more frames come, once all were taken."""
        self._pending_lost = 0
        self._drops: dict[str, int] = {}
        self._calibration: tuple[int, Calibration] | None = None
        self._looked_s = 0.0
        self._images = ImagePool(self._memory.layout.color_shape, self._memory.layout.depth_shape)
        self._rhythm = _Rhythm()

    @property
    def drops(self) -> dict[str, int]:
        """Drops by cause: the source's as its writer last reported them, and this reader's own."""
        self._refresh_drops()
        return {**self._drops, OVERWRITTEN: self.lost} if self.lost else dict(self._drops)

    @property
    def writer_silence_s(self) -> float:
        """Time since the writer last gave a sign of life; infinite before the first."""
        beat_ns = self._words[Word.WRITER_BEAT_NS]
        return (time.monotonic_ns() - beat_ns) / 1e9 if beat_ns else float("inf")

    @property
    def waiting(self) -> int:
        """Frames that were written and not taken yet, lost ones included."""
        return max(0, int(self._words[Word.HEAD]) - self._cursor)

    def read(self, timeout_s: float) -> RGBDFrame | None:
        """The next frame; None where none came in time or, with `end` set, none will."""
        now_s = time.monotonic()
        deadline_s = now_s + timeout_s
        waited = False
        while True:
            frame = self._next()
            if frame is not None:
                self._rhythm.beat(now_s, waited)
            if frame is not None or self._at_end() or now_s >= deadline_s:
                return frame
            time.sleep(min(self._rhythm.pause_s(now_s), deadline_s - now_s))
            now_s, waited = time.monotonic(), True

    def skip_to_newest(self) -> int:
        """Pass over everything but the newest frame; returns how many frames, which are not counted in `lost`."""
        skipped = max(0, self._words[Word.HEAD] - 1 - self._cursor)
        self._cursor += skipped
        self._show_progress()
        return int(skipped)

    def frames(self, stop: Callable[[], bool] | None = None) -> Iterator[RGBDFrame]:
        """Frames until the end, or until `stop` says so (asked between frames and at least every 50 ms)."""
        while self.end is None and not (stop is not None and stop()):
            frame = self.read(LOOK_AROUND_S)
            if frame is not None:
                yield frame

    def close(self) -> None:
        """Give the row back and detach. Safe to call twice."""
        if self._memory.colors:
            if self._row is not None:
                self._words[row_word(self._row, Row.STATE)] = RowState.FREE
            self._memory.close()

    def __enter__(self) -> RingReader:
        """Context manager: detaches at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Detach whatever happened."""
        self.close()

    def _take_row(self) -> int:
        oldest = max(0, self._words[Word.HEAD] - self._memory.layout.slots + 1)
        if self._row is None:
            return oldest
        row = self._row
        state, pid = self._words[row_word(row, Row.STATE)], self._words[row_word(row, Row.PID)]
        if state == RowState.ATTACHED and process_alive(pid):
            raise RingError(
                f"reader {row} of ring {self._memory.segment.name} is process {pid}; take another reader number"
            )
        if state == RowState.FREE:
            self._words[row_word(row, Row.CURSOR)] = oldest
        self._words[row_word(row, Row.BEAT_NS)] = time.monotonic_ns()
        self._words[row_word(row, Row.PID)] = os.getpid()
        fence()
        self._words[row_word(row, Row.STATE)] = RowState.ATTACHED
        return int(self._words[row_word(row, Row.CURSOR)])

    def _next(self) -> RGBDFrame | None:
        """The frame at the cursor, or the oldest one left where the writer has overtaken; None where there is none."""
        lost = 0
        frame = None
        for _ in range(_ATTEMPTS):
            if self._cursor >= self._words[Word.HEAD]:
                break
            frame = self._copy(self._cursor)
            if frame is not None:
                self._cursor += 1
                break
            # One slot of distance to the writer, lest the next copy be torn as well.
            slots = self._memory.layout.slots
            resumed = max(self._cursor + 1, self._words[Word.HEAD] - slots + min(2, slots - 1))
            lost += resumed - self._cursor
            self._cursor = resumed
        self._show_progress()
        self.lost += lost
        self._pending_lost += lost
        if frame is not None:
            self.read_count += 1
            self.lost_before, self._pending_lost = self._pending_lost, 0
        return frame

    def _copy(self, index: int) -> RGBDFrame | None:
        """Frame number `index` as arrays of its own; None where it is, or while copying becomes, overwritten."""
        slot = index % self._memory.layout.slots
        start = self._memory.layout.slot_at(slot)
        complete = 2 * index + 2
        if self._words[start // 8] != complete:
            return None
        fence()
        fields = header.unpack_fields(self._memory.buffer, start)
        color, depth = self._images.take()
        np.copyto(color, self._memory.colors[slot])
        np.copyto(depth, self._memory.depths[slot])
        # A torn length is no harm: slices of the mapping end with it, and the copy is thrown away below.
        stages = self._memory.read_bytes(start + header.STAGES_AT, fields.text.stages_bytes)
        calibration_text = b""
        if self._calibration is None or self._calibration[0] != fields.text.calibration_version:
            calibration_text = self._memory.read_bytes(start + header.CALIBRATION_AT, fields.text.calibration_bytes)
        fence()
        if self._words[start // 8] != complete:
            self.torn += 1
            return None
        if calibration_text:
            self._calibration = (fields.text.calibration_version, header.decode_calibration(calibration_text))
        assert self._calibration is not None
        self.stage_ns = header.decode_counts(stages)
        return fields.frame(color, depth, self._calibration[1])

    def _show_progress(self) -> None:
        if self._row is not None:
            self._words[row_word(self._row, Row.CURSOR)] = self._cursor
            self._words[row_word(self._row, Row.BEAT_NS)] = time.monotonic_ns()

    def _at_end(self) -> bool:
        """True once the stream is over and everything of it was taken; sets `end`."""
        if self.end is not None:
            return True
        state = self._words[Word.STATE]
        died = state == StreamState.OPEN and self._writer_died()
        fence()
        if self._cursor < self._words[Word.HEAD] or (state == StreamState.OPEN and not died):
            return False
        if died and self._words[Word.STATE] == StreamState.OPEN:
            self.end = StreamEnd("failed", f"the writing process {self._words[Word.WRITER_PID]} was killed")
            return True
        length = min(self._words[Word.REASON_LENGTH], header.REASON_BYTES)
        text = self._memory.read_bytes(header.REASON_AT, length).decode(errors="replace")
        if self._words[Word.STATE] == StreamState.FAILED:
            self.end = StreamEnd("failed", text)
        else:
            self.end = StreamEnd("ended", warnings=tuple(text.splitlines()))
        return True

    def _writer_died(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_AROUND_S:
            return False
        self._looked_s = now_s
        if self._words[Word.RESTARTS]:
            return False
        pid = self._words[Word.WRITER_PID]
        return bool(pid) and not process_alive(pid)

    def _refresh_drops(self) -> None:
        for _ in range(_ATTEMPTS):
            version = self._words[Word.COUNTERS_VERSION]
            block = header.counters_at(version)
            fence()
            length = min(self._words[block // 8], header.COUNTERS_BYTES - 8)
            text = self._memory.read_bytes(block + 8, length)
            fence()
            if version == self._words[Word.COUNTERS_VERSION]:
                self._drops = header.decode_counts(text)
                return
