"""Writes frames into an MCAP file while they come, on a thread of its own: bounded, counted, whole up to any kill."""

from __future__ import annotations

import io
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from mcap.records import Header

from .clip_memory import ClipMemory, ClipSettings
from .clock import SessionClock
from .frame import RGBDFrame
from .frame_encoder import FrameEncoder, Note
from .mcap_chunk import PackedChunk
from .mcap_file import GrowingFile, RecordingError
from .mcap_layout import PROFILE, Topic, layout, source_record, unix_ns
from .source import SourceInfo

QUEUE_FULL = "recorder_queue"
"""Cause under which frames are counted that came while the disk was behind."""
OUTSIDE_CLIPS = "outside_clips"
"""Cause for frames that lie around no event."""
CLIP_MEMORY = "clip_memory"
"""Cause for frames around an event that were no longer held when it was decided."""
WRITE_ERROR = "write_error"
"""Cause for frames that the disk did not take."""
BLOCK_BYTES = 4 * 2**20
BLOCK_S = 0.12
"""A block is written once it holds so many bytes of pixels, or is so old: what a kill can cost, beside the queue."""
CLOCK_EVERY_S = 10.0
_LOOK_AROUND_S = 0.05
_LOSSLESS_WAIT_S = 120.0
_FINISH_S = 8.0
"""A disk that takes nothing for so long is given up."""


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """What to write, and how."""

    path: Path
    color: Literal["lossless", "jpeg"] = "lossless"
    jpeg_quality: int = 95
    compression: Literal["lz4", "zstd"] = "zstd"
    clips: ClipSettings | None = None
    """Keep only what lies around events; None = everything."""
    lossless: bool = False
    """Frames wait for the disk instead of being dropped: for files, never for live cameras."""
    queue_frames: int = 48
    """Frames that may wait for the disk, 1.6 s at 30 fps; a kill loses them."""
    discard: bool = False
    """Encode everything and keep nothing, for a rehearsal; `path` says whose disk must have room."""


@dataclass(frozen=True, slots=True)
class RecordingTotals:
    """What a finished recording holds."""

    path: Path
    frames: int
    size_bytes: int
    drops: Mapping[str, int]


@dataclass(slots=True)
class _Block:
    """Frames on their way into one image chunk and one record chunk."""

    began_s: float
    frames: list[RGBDFrame] = field(default_factory=list)
    bytes: int = 0


class Recorder:
    """Records one source into one file.

    Frames are handed over by `push`, encoded and written by the recorder's own thread. What goes wrong there ends the
    recording, leaves a valid file, and is raised by the next `push` and by `finish`.

    Args:
        settings: where and how.
        open_file: how to open the file for writing.

    Raises:
        RecordingError: the file exists or cannot be created.
    """

    def __init__(self, settings: RecorderSettings, open_file: Callable[[Path], io.RawIOBase] | None = None) -> None:
        self._settings = settings
        plan = layout(settings.color == "jpeg")
        header = Header(PROFILE, f"sfam-live {version('sfam-live')}")
        open_file = _open_nowhere if settings.discard else open_file
        self._file = GrowingFile(settings.path, header, plan.schemas, plan.channels, open_file)
        self._wake = threading.Condition()
        self._queue: deque[RGBDFrame] = deque()
        self._notes: deque[Note] = deque()
        self._clips = ClipMemory(settings.clips) if settings.clips else None
        self._ending: tuple[str, str] | None = None
        self._error: OSError | None = None
        self._clock: SessionClock | None = None
        self._accepted = 0
        self._queue_full = 0
        self._source_drops: dict[str, int] = {}
        self._told_drops: dict[str, int] = {}
        self._encoder = FrameEncoder(settings.color, settings.jpeg_quality, settings.compression)
        self._written: deque[int] = deque()  # frames per block
        self._frames = 0
        self._t_ns = 0
        self._clock_s = 0.0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    @property
    def drops(self) -> dict[str, int]:
        """Frames that are not in the file, by cause: the source's and this recorder's; write errors once it is over."""
        outside, too_late = (self._clips.left_out, self._clips.too_late) if self._clips else (0, 0)
        unwritten = self._accepted - self._frames - outside - too_late if self._error else 0
        own = {QUEUE_FULL: self._queue_full, OUTSIDE_CLIPS: outside, CLIP_MEMORY: too_late, WRITE_ERROR: unwritten}
        return {**self._source_drops, **{cause: count for cause, count in own.items() if count}}

    @property
    def frames(self) -> int:
        """Frames in the file."""
        return self._frames

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self._file.size

    def begin(self, info: SourceInfo, clock: SessionClock | None = None) -> None:
        """The source is open; called once, before the first frame.

        Args:
            info: of the source.
            clock: of the session, whose anchor goes into the file; None for conversions, which hold no wall time.
        """
        settings = self._settings
        more: dict[str, str | int | float | bool] = {"color": settings.color, "clips": settings.clips is not None}
        if clock is not None:
            more |= {"anchor_monotonic_ns": clock.anchor_monotonic_ns, "anchor_utc_ns": clock.anchor_utc_ns}
        self._clock = clock
        self._notes.append((Topic.SOURCE, source_record(info, **more)))
        self._encoder.number_of(info.calibration)
        self._thread.start()

    def push(self, frame: RGBDFrame, drops: Mapping[str, int] | None = None) -> bool:
        """Hand over the next frame; False where it was dropped, and counted, because the disk is behind.

        Args:
            frame: not changed afterwards by anyone.
            drops: of the source so far, by cause.

        Raises:
            RecordingError: the recording has ended with an error.
        """
        since_s = time.monotonic()
        with self._wake:
            if drops is not None:
                self._source_drops = dict(drops)
            while self._settings.lossless and len(self._queue) >= self._settings.queue_frames and not self._error:
                self._wake.wait(_LOOK_AROUND_S)
                self._give_up_after(since_s)
            if self._error is not None:
                raise self._error
            if self._ending is not None:
                raise RecordingError(f"{self._settings.path}: this recording was finished; start another")
            if len(self._queue) >= self._settings.queue_frames:
                self._queue_full += 1
                return False
            self._queue.append(frame)
            self._accepted += 1
            self._wake.notify_all()
            return True

    def report_drops(self, drops: Mapping[str, int]) -> None:
        """Drops of the source so far, by cause, without a frame."""
        with self._wake:
            self._source_drops = dict(drops)

    def note_skipped(self, first: int, last: int, cause: str) -> None:
        """Frames that the live analysis never saw, by their numbers; a replay leaves them out as well."""
        with self._wake:
            self._notes.append((Topic.SKIPPED, {"first": first, "last": last, "cause": cause}))

    def keep(self, from_ns: int, to_ns: int) -> None:
        """Of clips: store what was captured between these capture times, and the seconds before and after."""
        if self._clips is not None:
            with self._wake:
                self._clips.keep(from_ns, to_ns)

    def finish(self, state: Literal["ended", "failed"] = "ended", reason: str = "") -> RecordingTotals:
        """Write what waits, the totals and the index, and close.

        Raises:
            RecordingError: writing failed, now or before; the text says what is in the file.
        """
        with self._wake:
            self._ending = (state, reason)
            self._wake.notify_all()
        if self._thread.ident is None:
            self._close()
        elif not self._joined():
            raise RecordingError(
                f"{self._settings.path}: the disk has taken nothing for {_FINISH_S:.0f} s; the file has no index yet, "
                "run sfam repair on it"
            )
        if self._error is not None:
            raise self._error
        return RecordingTotals(self._settings.path, self._frames, self._file.size, self.drops)

    def _give_up_after(self, since_s: float) -> None:
        if time.monotonic() - since_s > _LOSSLESS_WAIT_S:
            self._error = RecordingError(f"{self._settings.path}: the disk has taken nothing for two minutes")

    def _joined(self) -> bool:
        """Wait for the thread for as long as the file grows."""
        size, since_s = -1, time.monotonic()
        while self._thread.is_alive() and (self._file.size != size or time.monotonic() - since_s < _FINISH_S):
            if self._file.size != size:
                size, since_s = self._file.size, time.monotonic()
            self._thread.join(_LOOK_AROUND_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        """The thread: everything that touches the file."""
        try:
            self._work()
        except Exception as error:
            what = error if isinstance(error, RecordingError) else f"{self._settings.path}: {error!r}"
            self._fail(RecordingError(str(what)))
        self._close()

    def _work(self) -> None:
        block = _Block(time.monotonic())
        while True:
            frame = self._next()
            if frame is not None:
                if not block.frames:
                    block.began_s = time.monotonic()
                block.frames.append(frame)
                block.bytes += frame.color.nbytes + frame.depth.nbytes
            ending = frame is None and self._ending is not None
            full = block.bytes >= (1 if self._clips else BLOCK_BYTES)
            if full or ending or time.monotonic() - block.began_s >= BLOCK_S:
                self._write_block(block)
                block = _Block(time.monotonic())
            if ending and not self._queue:
                return

    def _next(self) -> RGBDFrame | None:
        with self._wake:
            if not self._queue and self._ending is None:
                self._wake.wait(_LOOK_AROUND_S)
            if not self._queue:
                return None
            frame = self._queue.popleft()
            self._wake.notify_all()
            return frame

    def _write_block(self, block: _Block) -> None:
        """Notes first, so that a frame finds its calibration before it; none before the first frame tells the time."""
        chunks = self._encoder.frames(block.frames) if block.frames else []
        self._t_ns = unix_ns(block.frames[-1]) if block.frames else self._t_ns
        if (self._accepted or self._ending) and (notes := self._pending_notes(block)):
            self._append([notes], 0)
        if self._clips is not None:
            if chunks:
                self._clips.add(block.frames[0].t_capture_ns, chunks)
            with self._wake:
                due = self._clips.due()
            for held in due:
                self._append(held, 1)
        elif chunks:
            self._append(chunks, len(block.frames))

    def _append(self, chunks: list[PackedChunk], frames: int) -> None:
        self._file.append(chunks)
        self._written.append(frames)
        self._frames += frames

    def _pending_notes(self, block: _Block) -> PackedChunk | None:
        """What is to be said beside the frames, as one chunk at the block's time."""
        t_ns = unix_ns(block.frames[0]) if block.frames else self._t_ns
        with self._wake:
            drops = {cause: count for cause, count in self.drops.items() if cause != OUTSIDE_CLIPS}
            if drops != self._told_drops:
                self._notes.append((Topic.DROPS, {"drops": drops}))
                self._told_drops = drops
            notes = [self._notes.popleft() for _ in range(len(self._notes))]
        notes += self._encoder.new_calibrations()
        # only beside frames: in a pause nothing is stored
        if self._clock is not None and block.frames and time.monotonic() - self._clock_s >= CLOCK_EVERY_S:
            self._clock_s = time.monotonic()
            now = SessionClock.start()
            notes.append((Topic.CLOCK, {"monotonic_ns": now.anchor_monotonic_ns, "utc_ns": now.anchor_utc_ns}))
        return self._encoder.notes(t_ns, notes) if notes else None

    def _fail(self, error: OSError) -> None:
        with self._wake:
            self._error = error
            self._queue.clear()
            self._wake.notify_all()

    def _close(self) -> None:
        """Totals and index; without room for them, the index is left to `sfam repair`."""
        if self._clips is not None:
            self._clips.forget_all()
        state, reason = self._ending or ("failed", "")
        if self._error is not None:
            state, reason = "failed", str(self._error)

        def last_words(given_way: int) -> PackedChunk:
            gone = sum(list(self._written)[len(self._written) - given_way :])
            drops = {**self.drops, WRITE_ERROR: self.drops[WRITE_ERROR] + gone} if gone else self.drops
            totals = {"state": state, "reason": reason, "frames": self._frames - gone, "drops": drops}
            return self._encoder.notes(self._t_ns, [(Topic.END, totals)])

        try:
            given_way = self._file.finish(last_words)
        except OSError as error:
            self._error = RecordingError(f"{self._error or error}; its index could not be written: run sfam repair")
            return
        for _ in range(given_way):
            self._frames -= self._written.pop()


def _open_nowhere(_: Path) -> io.RawIOBase:
    return io.FileIO(os.devnull, "wb")
