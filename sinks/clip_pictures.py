"""Pictures of event clips at privacy tier `full`: the last seconds of frames in memory, put into the clips of events.

The frames are held as they came, not compressed: while nothing happens they cost a copy each and no more. The work of
compressing is done for the frames of an event only, on a thread of its own.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2

from sfam.capture.clock import SessionClock
from sfam.capture.frame import RGBDFrame
from sfam.capture.mcap_layout import unix_ns
from sfam.capture.source import SourceInfo

from .event_clip import MEMORY_S, ClipWish, Pictures, clip_path, read_clip, write_clip

WAITING_CLIPS = 2
"""Clips that may wait for the disk with their frames, beyond those in memory."""


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """Where the clips lie, and how much is held."""

    folder: Path
    """Of the session."""
    memory_bytes: int
    """Pixels held at most; beyond it the oldest frames go."""
    color: Literal["lossless", "jpeg"] = "lossless"
    jpeg_quality: int = 95
    waits: bool = False
    """A replay waits for the disk; a live session leaves a clip without pictures, and counts it."""


class ClipPictures:
    """Holds frames until it is known whether an event makes them worth storing.

    `push` and `close` are for one thread, `keep` for any.

    Args:
        settings: where and how much.
        warn: told what a clip lacks.
    """

    def __init__(self, settings: PictureSettings, warn: Callable[[str], None]) -> None:
        self._settings = settings
        self._warn = warn
        self._held: deque[RGBDFrame] = deque()
        self._bytes = 0
        self._wishes: deque[ClipWish] = deque()
        self._queue: queue.Queue[tuple[ClipWish, tuple[RGBDFrame, ...]] | None] = queue.Queue(WAITING_CLIPS)
        self._source: tuple[SourceInfo, SessionClock | None] | None = None
        self._writer = threading.Thread(target=self._run, name="clip pictures", daemon=True)
        self.written = 0
        """Clips that hold pictures now."""
        self.truncated = 0
        """Clips that hold pictures, but not from their beginning on."""
        self._forgotten_ns: int | None = None
        self._refused = self._failed = 0

    @property
    def lost(self) -> int:
        """Clips that stayed without."""
        return self._refused + self._failed

    @property
    def held_bytes(self) -> int:
        """Pixels in memory."""
        return self._bytes

    def begin(self, info: SourceInfo, clock: SessionClock | None) -> None:
        """The source is open; called once, before the first frame.

        Args:
            info: of the source.
            clock: of a live session.
        """
        self._source = (info, clock)
        self._writer.start()

    def keep(self, wish: ClipWish) -> None:
        """An event's clip is on disk: put the pictures of these times into it."""
        self._wishes.append(wish)

    def push(self, frame: RGBDFrame | None) -> None:
        """Hold the next frame, None = none came for a while; hand over the clips that are complete.

        Args:
            frame: not changed afterwards by anyone.
        """
        if frame is not None:
            self._held.append(frame)
            self._bytes += _pixels(frame)
            self._forget(frame.t_capture_ns)
        self._hand_over(at_end=False)

    def close(self) -> dict[str, int]:
        """Write what was asked for, and wait for it; how many clips got their pictures. Safe to call twice."""
        if self._writer.is_alive():
            self._hand_over(at_end=True)
            self._queue.put(None)
            self._writer.join()
        self._held.clear()
        self._bytes = 0
        return {"written": self.written, "lost": self.lost, "truncated": self.truncated}

    def _hand_over(self, at_end: bool) -> None:
        newest_ns = self._held[-1].t_capture_ns if self._held else None
        for _ in range(len(self._wishes)):
            wish = self._wishes.popleft()
            if not at_end and (newest_ns is None or newest_ns < wish.to_ns):
                self._wishes.append(wish)
                continue
            frames = tuple(frame for frame in self._held if wish.from_ns <= frame.t_capture_ns <= wish.to_ns)
            try:
                self._queue.put((wish, frames), block=self._settings.waits or at_end)
            except queue.Full:
                self._refused += 1
                self._warn(_without(wish, "the disk is behind"))
            else:
                self._say_if_truncated(wish, frames)

    def _say_if_truncated(self, wish: ClipWish, frames: tuple[RGBDFrame, ...]) -> None:
        if not frames or self._forgotten_ns is None or self._forgotten_ns < wish.from_ns:
            return
        self.truncated += 1
        missing_s = (self._forgotten_ns - wish.from_ns) / 1e9
        self._warn(
            f"the clip of event {wish.event_id} holds no pictures of its first {missing_s:.2f} s: they are held for "
            f"{MEMORY_S:g} s and up to sinks.clip_memory_mb"
        )

    def _forget(self, newest_ns: int) -> None:
        oldest_ns = newest_ns - round(MEMORY_S * 1e9)
        while self._held and (self._bytes > self._settings.memory_bytes or self._held[0].t_capture_ns < oldest_ns):
            gone = self._held.popleft()
            self._bytes -= _pixels(gone)
            self._forgotten_ns = gone.t_capture_ns

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            wish, frames = task
            try:
                self._write(wish, frames)
            except (OSError, ValueError, cv2.error) as error:
                self._failed += 1
                self._warn(_without(wish, str(error)))
            else:
                self.written += 1

    def _write(self, wish: ClipWish, frames: tuple[RGBDFrame, ...]) -> None:
        if not frames:
            raise ValueError("none of its frames is held any more; sinks.clip_memory_mb says how many are")
        assert self._source is not None
        info, clock = self._source
        settings = self._settings
        path = clip_path(settings.folder, wish.event_id)
        pictures = Pictures(info, frames, clock, settings.color, settings.jpeg_quality)
        write_clip(path, read_clip(path), pictures, utc_shift_ns=unix_ns(frames[0]) - frames[0].t_capture_ns)


def _without(wish: ClipWish, why: str) -> str:
    return f"the clip of event {wish.event_id} holds no pictures: {why}"


def _pixels(frame: RGBDFrame) -> int:
    return frame.color.nbytes + frame.depth.nbytes
