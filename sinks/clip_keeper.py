"""Event clips while a session runs: the last seconds of motion are remembered, and a clip of each event is written."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sfam.engine.events import Event
from sfam.stream.scene_flow import CROP_PX, SceneFlow

from .event_clip import AFTER_S, BEFORE_S, MEMORY_S, ClipFrame, ClipWish, EventClip, clip_path, write_clip
from .frame_result import FrameResult
from .wire_fields import event_fields, flow_fields, flow_payload, score_fields

MEMORY_BYTES = 256 * 2**20
"""Of motion, about 100 kB for each face and frame: MEMORY_S of two faces at 90 fps, of six at 30."""
WAITING_CLIPS = 8
TRUNCATED = "clip_truncated"
"""Flag of an event in a clip that lacks its beginning."""


@dataclass(slots=True)
class _Wanted:
    event: Event
    wish: ClipWish


@dataclass(slots=True)
class ClipKeeper:
    """Remembers the last seconds of motion and writes a clip of each confirmed event, on a thread of its own.

    Args:
        folder: of the session.
        classes: of the model.
        written: told of each clip on disk, on that thread: whoever holds pictures may add them.
        waits: of a replay, which waits for the disk where a live session gives clips up.
        warn: told which clip lacks its beginning.
        memory_bytes: of motion held at most; beyond it the oldest goes.
    """

    folder: Path
    classes: tuple[str, ...]
    written: Callable[[ClipWish], None] = lambda wish: None
    waits: bool = False
    warn: Callable[[str], None] = lambda text: None
    memory_bytes: int = MEMORY_BYTES
    utc_shift_ns: int = 0
    """From capture time to UTC where the session is live."""
    kept: int = 0
    """Clips on disk."""
    lost: int = 0
    """Clips given up because the disk was behind or failed."""
    truncated: int = 0
    """Clips whose beginning was forgotten before they were written."""
    _memory: deque[tuple[int, FrameResult, Mapping[str, Any] | None, bytes]] = field(default_factory=deque)
    _bytes: int = 0
    _forgotten_ns: int | None = None
    """Capture time of the newest row that is no longer held."""
    _wanted: list[_Wanted] = field(default_factory=list)
    _queue: queue.Queue[tuple[ClipWish, EventClip] | None] = field(default_factory=lambda: queue.Queue(WAITING_CLIPS))
    _writer: threading.Thread | None = None

    def push(self, rows: Sequence[FrameResult], flows: Sequence[SceneFlow]) -> None:
        """Remember a frame; write the clips that it completes."""
        # as float16 at once: half the memory, and nobody can change it any more
        by_face = {flow.track_id: (flow_fields(flow), flow_payload(flow)) for flow in flows}
        for row in rows:
            if row.t_capture_ns is not None:
                header, maps = by_face.get(row.face_id, (None, b""))
                self._memory.append((row.t_capture_ns, row, header, maps))
                self._bytes += len(maps)
        self._forget()
        if self._wanted and self._memory:
            now_ns = self._memory[-1][0]
            for wanted in [one for one in self._wanted if now_ns >= one.wish.to_ns]:
                self._write(wanted)

    def keep(self, event: Event) -> None:
        """Write a clip of a confirmed event once the time after it has come."""
        begin_ns = event.onset.t_capture_ns - round(BEFORE_S * 1e9)
        end_ns = event.offset.t_capture_ns + round(AFTER_S * 1e9)
        self._wanted.append(_Wanted(event, ClipWish(event.id, begin_ns, end_ns)))

    def totals(self) -> dict[str, int]:
        """Clips on disk, those given up, and how many lack their beginning."""
        return {"written": self.kept, "lost": self.lost, "truncated": self.truncated}

    def close(self) -> None:
        """Write what is still wanted, and wait for it. Safe to call twice."""
        for wanted in list(self._wanted):
            self._write(wanted)
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writer = None

    def _forget(self) -> None:
        while self._memory and (
            self._bytes > self.memory_bytes or self._memory[-1][0] - self._memory[0][0] > MEMORY_S * 1e9
        ):
            self._forgotten_ns, _, _, maps = self._memory.popleft()
            self._bytes -= len(maps)

    def _write(self, wanted: _Wanted) -> None:
        self._wanted.remove(wanted)
        if self._writer is None:
            self._writer = threading.Thread(target=self._run, name="clips", daemon=True)
            self._writer.start()
        task = (wanted.wish, EventClip(self._event(wanted), self._frames(wanted)))
        try:
            self._queue.put(task, block=self.waits)
        except queue.Full:
            self.lost += 1

    def _event(self, wanted: _Wanted) -> dict[str, object]:
        """The event as the clip states it; one that lacks its beginning says so."""
        fields = event_fields(wanted.event, self.classes)
        if self._forgotten_ns is None or self._forgotten_ns < wanted.wish.from_ns:
            return fields
        self.truncated += 1
        missing_s = (self._forgotten_ns - wanted.wish.from_ns) / 1e9
        self.warn(
            f"the clip of event {wanted.event.id} lacks its first {missing_s:.2f} s: motion is held for {MEMORY_S:g} s "
            f"and up to {self.memory_bytes >> 20} MB, and there were many faces or frames"
        )
        return {**fields, "flags": [*wanted.event.flags, TRUNCATED]}

    def _frames(self, wanted: _Wanted) -> tuple[ClipFrame, ...]:
        return tuple(
            ClipFrame(
                t_ns,
                score_fields(row, self.classes),
                flow,
                np.frombuffer(maps, "<f2").reshape(3, CROP_PX, CROP_PX) if maps else None,
            )
            for t_ns, row, flow, maps in self._memory
            if row.face_id == wanted.event.track_id and wanted.wish.from_ns <= t_ns <= wanted.wish.to_ns
        )

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            wish, clip = task
            path = clip_path(self.folder, wish.event_id)
            try:
                path.parent.mkdir(exist_ok=True)
                write_clip(path, clip, utc_shift_ns=self.utc_shift_ns)
            except OSError:  # a full disk: the session itself says so, and goes on
                self.lost += 1
            else:
                self.kept += 1
                self.written(wish)
