"""The writing end of the ring: overwrites or waits, as the ring's policy says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sfam.capture.frame import Calibration, RGBDFrame

from . import ring_header as header
from .ring import LONG_WAIT_S, LOOK_AROUND_S, SHORT_WAIT_S, Memory, fence
from .ring_header import Row, RowState, SlotText, StreamState, Word, row_word
from .ring_segment import RingError, process_alive


class RingShapeError(RingError):
    """A frame's images have another size than the ring was made for."""


class RingWriter:
    """The one writer of a ring.

    Args:
        name: of the ring.
        reader_timeout_s: a lossless writer gives up on an attached reader that has not called `read` for so long; one
            whose process is gone is given up at once.

    Raises:
        RingError: no such ring, or it has a living writer.
    """

    def __init__(self, name: str, *, reader_timeout_s: float = 120.0) -> None:
        self._memory = Memory.attach(name)
        self._words = self._memory.words
        other = self._words[Word.WRITER_PID]
        if other and process_alive(other):
            self._memory.close()
            raise RingError(f"ring {name} already has a writer, process {other}; a ring takes one")
        self._layout = self._memory.layout
        self._lossless = bool(self._words[Word.LOSSLESS])
        self._reader_timeout_ns = int(reader_timeout_s * 1e9)
        self._calibration: Calibration | None = None
        self._calibration_text = b""
        self._calibration_version = 0
        self._slot_versions = [0] * self._layout.slots
        self._counters: dict[str, int] = {}
        self._restarts = bool(self._words[Word.RESTARTS])
        self.last: tuple[int, int] | None = None
        """Sequence and segment of the last frame of a writer before this one."""
        self.earlier_drops: dict[str, int] = {}
        """Drops by cause that a writer before this one reported."""
        if self.written:
            self._take_over()
        self.readers_lost = 0
        """Readers that a lossless writer stopped waiting for."""
        self._words[Word.WRITER_BEAT_NS] = time.monotonic_ns()
        self._words[Word.WRITER_PID] = os.getpid()

    @property
    def written(self) -> int:
        """Frames written so far."""
        return int(self._words[Word.HEAD])

    def write(
        self, frame: RGBDFrame, stage_ns: Mapping[str, int] | None = None, cancelled: Callable[[], bool] | None = None
    ) -> bool:
        """Copy one frame in; False where the wait for readers was cancelled.

        Args:
            frame: images of the ring's shapes.
            stage_ns: wall time of the stages so far, handed on to the reader.
            cancelled: asked at least every 50 ms while waiting (lossless only).

        Raises:
            RingShapeError: color or depth of another shape or type.
        """
        self._check(frame)
        stages = header.encode_counts(stage_ns, header.STAGES_BYTES, "stage_ns") if stage_ns else b""
        if self._lossless and not self._wait_for_room(cancelled):
            return False
        words, index = self._words, self.written
        slot = index % self._layout.slots
        start = self._layout.slot_at(slot)
        words[start // 8] = 2 * index + 1
        fence()
        np.copyto(self._memory.colors[slot], frame.color)
        np.copyto(self._memory.depths[slot], frame.depth)
        self._put_calibration(slot, start, frame.calibration)
        self._memory.write_bytes(start + header.STAGES_AT, stages)
        text = SlotText(self._calibration_version, len(self._calibration_text), len(stages))
        header.pack_fields(self._memory.buffer, start, frame, text)
        fence()
        words[start // 8] = 2 * index + 2
        fence()
        words[Word.HEAD] = index + 1
        words[Word.WRITER_BEAT_NS] = time.monotonic_ns()
        return True

    def beat(self) -> None:
        """Say that the writer lives while it has nothing to write."""
        self._words[Word.WRITER_BEAT_NS] = time.monotonic_ns()

    def report_drops(self, drops: Mapping[str, int]) -> None:
        """Make the source's drops by cause visible to readers; cheap where nothing changed."""
        if drops == self._counters:
            return
        self._counters = dict(drops)
        text = header.encode_counts(drops, header.COUNTERS_BYTES - 8, "drops")
        version = self._words[Word.COUNTERS_VERSION] + 1
        block = header.counters_at(version)
        self._words[block // 8] = len(text)
        self._memory.write_bytes(block + 8, text)
        fence()
        self._words[Word.COUNTERS_VERSION] = version

    def end(self, warnings: Sequence[str] = ()) -> None:
        """Mark the stream as complete; the source's warnings go along, one line each, up to 2 KB."""
        self._finish(StreamState.ENDED, "\n".join(warnings))

    def fail(self, text: str) -> None:
        """Mark the stream as broken off, with the error's text."""
        self._finish(StreamState.FAILED, text)

    def close(self) -> None:
        """Detach; a stream without an end marker counts as failed unless its writer is started again.

        Safe to call twice.
        """
        if self._memory.colors:
            if not self._restarts:
                self._finish(StreamState.FAILED, "the writer closed without an end")
            self._words[Word.WRITER_PID] = 0
            self._memory.close()

    def __enter__(self) -> RingWriter:
        """Context manager: detaches at the end."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Mark an error as the stream's end, unless a writer is started again after it; then detach."""
        if error is not None and not self._restarts:
            self.fail(str(error) or type(error).__name__)
        self.close()

    def _finish(self, state: StreamState, text: str) -> None:
        header.mark_end(self._memory.buffer, state, text, fence)

    def _take_over(self) -> None:
        """Learn where the writer before this one stopped."""
        start = self._layout.slot_at((self.written - 1) % self._layout.slots)
        fields = header.unpack_fields(self._memory.buffer, start)
        self.last = (fields.values[0], fields.values[8])
        self._calibration_version = fields.text.calibration_version
        block = header.counters_at(self._words[Word.COUNTERS_VERSION])
        length = min(self._words[block // 8], header.COUNTERS_BYTES - 8)
        self.earlier_drops = header.decode_counts(self._memory.read_bytes(block + 8, length))

    def _check(self, frame: RGBDFrame) -> None:
        layout = self._layout
        color, depth = frame.color, frame.depth
        if (color.shape, depth.shape) != ((*layout.color_shape, 3), layout.depth_shape):
            raise RingShapeError(
                f"ring {self._memory.segment.name} holds color {layout.color_shape} and depth {layout.depth_shape}, "
                f"frame {frame.sequence} has color {color.shape[:2]} and depth {depth.shape}; "
                "a new size needs a new ring"
            )
        if color.dtype != np.uint8 or depth.dtype != np.uint16:
            raise RingShapeError(
                f"frame {frame.sequence} has {color.dtype} color and {depth.dtype} depth; expected uint8 and uint16"
            )

    def _put_calibration(self, slot: int, start: int, calibration: Calibration) -> None:
        if calibration is not self._calibration:
            if calibration != self._calibration:
                self._calibration_text = header.encode_calibration(calibration)
                self._calibration_version += 1
            self._calibration = calibration
        if self._slot_versions[slot] != self._calibration_version:
            self._memory.write_bytes(start + header.CALIBRATION_AT, self._calibration_text)
            self._slot_versions[slot] = self._calibration_version

    def _wait_for_room(self, cancelled: Callable[[], bool] | None) -> bool:
        wait_s, looked_s = SHORT_WAIT_S, 0.0
        while self.written - self._slowest() >= self._layout.slots:
            now_s = time.monotonic()
            if now_s - looked_s >= LOOK_AROUND_S:
                looked_s = now_s
                self.beat()
                self._drop_dead_readers()
                if cancelled is not None and cancelled():
                    return False
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LONG_WAIT_S)
        return True

    def _slowest(self) -> int:
        """Cursor of the slowest reader that is waited for; the head where there is none."""
        slowest = self.written
        for reader in range(header.READER_ROWS):
            if self._words[row_word(reader, Row.STATE)] in (RowState.RESERVED, RowState.ATTACHED):
                slowest = min(slowest, self._words[row_word(reader, Row.CURSOR)])
        return slowest

    def _drop_dead_readers(self) -> None:
        for reader in range(header.READER_ROWS):
            state = row_word(reader, Row.STATE)
            if self._words[state] != RowState.ATTACHED:
                continue
            silent_ns = time.monotonic_ns() - self._words[row_word(reader, Row.BEAT_NS)]
            if silent_ns > self._reader_timeout_ns or not process_alive(self._words[row_word(reader, Row.PID)]):
                self._words[state] = RowState.GONE
                self.readers_lost += 1
