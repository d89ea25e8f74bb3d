"""Frames from one writer to many readers through shared memory: fixed size, no locks, losses seen and counted.

Every slot has a sequence lock: the writer makes its word odd, fills the slot, makes it even; a reader copies between
two looks at that word and throws the copy away where it changed. Nothing is held that a killed process could keep.
The parent creates the `Ring` and removes it; writer and readers attach by name.
"""

from __future__ import annotations

import threading
import time
from typing import Literal

import numpy as np

from sfam.capture.frame import ColorImage, DepthImage

from . import ring_header as header
from .ring_header import RingLayout, Row, RowState, StreamState, Word, row_word
from .ring_segment import RingError, Segment

Policy = Literal["latest", "lossless"]
SHORT_WAIT_S, LONG_WAIT_S = 50e-6, 1e-3
"""Sleeps while waiting double from the first to the second."""
LOOK_AROUND_S = 0.05
"""How often a waiting process looks whether it is cancelled and the other side lives."""
_FENCE = threading.Lock()


class Memory:
    """The mapped ring: its words and its slots' images."""

    def __init__(self, segment: Segment, layout: RingLayout) -> None:
        self.segment = segment
        self.layout = layout
        self.buffer = segment.buffer
        self.words = segment.buffer.cast("q")
        self.colors: list[ColorImage] = []
        self.depths: list[DepthImage] = []
        height, width = layout.color_shape
        for slot in range(layout.slots):
            start = layout.slot_at(slot)
            color = np.frombuffer(self.buffer, np.uint8, layout.color_bytes, start + header.PIXELS_AT)
            depth_pixels = layout.depth_shape[0] * layout.depth_shape[1]
            depth = np.frombuffer(self.buffer, np.uint16, depth_pixels, start + layout.depth_at)
            self.colors.append(color.reshape(height, width, 3))
            self.depths.append(depth.reshape(layout.depth_shape))

    @classmethod
    def attach(cls, name: str) -> Memory:
        """Map an existing ring.

        Raises:
            RingError: no such ring, or one of another version.
        """
        segment = Segment.attach(name)
        words = segment.buffer.cast("q")
        magic = words[Word.MAGIC]
        layout = RingLayout(
            words[Word.SLOTS],
            (words[Word.COLOR_HEIGHT], words[Word.COLOR_WIDTH]),
            (words[Word.DEPTH_HEIGHT], words[Word.DEPTH_WIDTH]),
        )
        words.release()
        if magic != header.MAGIC:
            segment.close()
            raise RingError(f"shared memory {name} holds no ring of this version; let all processes run one version")
        return cls(segment, layout)

    def close(self) -> None:
        """Unmap. Safe to call twice."""
        if self.colors:
            self.colors.clear()
            self.depths.clear()
            self.words.release()
            self.segment.close()

    def read_bytes(self, start: int, length: int) -> bytes:
        """A copy of some bytes."""
        return bytes(self.buffer[start : start + length])

    def write_bytes(self, start: int, text: bytes) -> None:
        """Put bytes in place."""
        self.buffer[start : start + len(text)] = text


class Ring:
    """The owner's handle: made before the children start, removed after they ended.

    Args:
        color_shape: (H, W) of color.
        depth_shape: (Hd, Wd) of depth.
        policy: 'latest' overwrites what a slow reader has not taken, 'lossless' lets the writer wait.
        slots: frames it holds.
        readers: reader numbers 0 .. readers - 1 are expected; a lossless writer waits for them from the first frame.
        restarts: a writer that broke off is started again by the owner; readers wait for it until `fail` is called.

    Raises:
        RingError: not enough shared memory.
        ValueError: sizes without sense.
    """

    def __init__(
        self,
        color_shape: tuple[int, int],
        depth_shape: tuple[int, int],
        *,
        policy: Policy,
        slots: int = 16,
        readers: int = 1,
        restarts: bool = False,
    ) -> None:
        if slots < 2 or not 0 <= readers <= header.READER_ROWS or min(*color_shape, *depth_shape) < 1:
            raise ValueError(
                f"a ring needs 2 slots or more, 0 to {header.READER_ROWS} readers and images with pixels; "
                f"got {slots} slots, {readers} readers, color {color_shape}, depth {depth_shape}"
            )
        layout = RingLayout(slots, color_shape, depth_shape)
        self._segment = Segment.create(layout.total_bytes)
        words = self._segment.buffer.cast("q")
        words[Word.SLOTS] = slots
        words[Word.COLOR_HEIGHT], words[Word.COLOR_WIDTH] = color_shape
        words[Word.DEPTH_HEIGHT], words[Word.DEPTH_WIDTH] = depth_shape
        words[Word.LOSSLESS] = policy == "lossless"
        words[Word.RESTARTS] = restarts
        for reader in range(readers):
            words[row_word(reader, Row.STATE)] = RowState.RESERVED
        words[Word.MAGIC] = header.MAGIC
        self._words = words
        self._layout = layout
        self._open = True

    @property
    def name(self) -> str:
        """What writer and readers attach to."""
        return self._segment.name

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(H, W) of color and of depth."""
        return self._layout.color_shape, self._layout.depth_shape

    @property
    def written(self) -> int:
        """Frames written so far, by all writers."""
        return int(self._words[Word.HEAD])

    @property
    def writer_silence_s(self) -> float:
        """Time since the writer last gave a sign of life; infinite before the first."""
        beat_ns = self._words[Word.WRITER_BEAT_NS]
        return (time.monotonic_ns() - beat_ns) / 1e9 if beat_ns else float("inf")

    def reader_silence_s(self, reader: int) -> float:
        """Time since a reader last looked for a frame; 0 where no reader is attached."""
        if self._words[row_word(reader, Row.STATE)] != RowState.ATTACHED:
            return 0.0
        return float(time.monotonic_ns() - self._words[row_word(reader, Row.BEAT_NS)]) / 1e9

    def fail(self, text: str) -> None:
        """End a stream whose writer will not come back; readers get the text."""
        header.mark_end(self._segment.buffer, StreamState.FAILED, text, fence)

    def close(self) -> None:
        """Remove the ring; whoever is still attached keeps its memory until it detaches. Safe to call twice."""
        if self._open:
            self._open = False
            self._words.release()
            self._segment.unlink()
            self._segment.close()

    def __enter__(self) -> Ring:
        """Context manager: removes the ring at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove whatever happened."""
        self.close()


def fence() -> None:
    """Keep memory accesses before and after apart, also where the processor reorders them (ARM).

    Two lock rounds: the first's release and the second's acquire are ordered between themselves.
    """
    with _FENCE:
        pass
    with _FENCE:
        pass
