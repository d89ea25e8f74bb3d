"""The pause that a participant can ask for: while it lasts no frame gets past capture, so nothing is stored or sent.

It is asked for by a file in the session folder, which keys and `sfam pause` make and remove alike: it works from any
terminal, across processes, for whoever may write there and for nobody else.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sfam.capture.frame import RGBDFrame
from sfam.capture.pacing import ReplayControl
from sfam.sinks.folder_hold import REQUEST

HOLD, HELD = "hold", "held"
"""Command to the capture process, and the `Hold` it answers with."""
LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which nothing was stored or sent."""

    began_utc_ns: int
    after_frame: int
    """The last frame before it; -1 = none."""
    ended_utc_ns: int | None = None
    """None while it lasts."""

    def fields(self) -> dict[str, Any]:
        """For session.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Hold:
    """Frames are held back from now on, or come again."""

    held: bool
    at_ns: int
    """Host monotonic: no frame is captured after the one and before the other."""


class PauseRequest:
    """The file that asks for a pause.

    Args:
        folder: of the session; need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / REQUEST

    @property
    def is_set(self) -> bool:
        """Whether a pause is asked for."""
        return self._path.exists()

    def set(self) -> None:
        """Ask for a pause; the session's folder must be there."""
        self._path.touch()

    def clear(self) -> None:
        """Ask for the end of it."""
        self._path.unlink(missing_ok=True)

    def toggle(self) -> None:
        """The other way round; nothing where the session has no folder yet."""
        if self.is_set:
            self.clear()
        elif self._path.parent.is_dir():
            self.set()


class PauseGate:
    """Stands between a source and everything else; any thread may close and open it.

    A live camera runs on behind a closed gate, and its frames are thrown away: those after the pause are numbered on
    without a gap, in a new segment, so that no motion is measured across it. A replay waits and loses nothing.

    Args:
        live: the source does not wait.
        control: of a replay, held while the gate is closed.
    """

    def __init__(self, live: bool, control: ReplayControl) -> None:
        self._live = live
        self._control = control
        self._passing = threading.Lock()
        self._closed = False
        self._withheld = 0
        self._withheld_last = False
        self._pauses = 0
        self._opened_ns = 0

    @property
    def closed(self) -> bool:
        """Whether frames are held back."""
        return self._closed

    def hold(self, held: bool) -> Hold:
        """Close or open."""
        if held:
            self.close()
            return Hold(True, time.monotonic_ns())
        before = Hold(False, time.monotonic_ns())
        self._opened_ns = before.at_ns
        self.open()
        return before

    def close(self) -> None:
        """Let no more frames through; when this returns, none of a live camera is on its way through either."""
        if not self._live:
            self._control.pause()
        with self._one_at_a_time():
            self._closed = True

    def open(self) -> None:
        """Let frames through again."""
        self._closed = False
        if not self._live:
            self._control.resume()

    def passed(
        self, frames: Iterable[RGBDFrame], take: Callable[[RGBDFrame], bool], stop: Callable[[], bool]
    ) -> Iterator[bool]:
        """Hand frames to `take`; True for each that passed, False for each withheld; ends where `take` says False."""
        for frame in frames:
            while self._closed and not self._live and not stop():
                time.sleep(LOOK_S)
                yield False
            with self._one_at_a_time():
                # A camera's pair may wait for its next frame: one that arrived during the pause comes when it is over.
                passes = not self._closed and not (self._live and frame.t_host_ns < self._opened_ns)
                if passes and not take(self._numbered(frame)):
                    return
            if not passes:
                self._pauses += not self._withheld_last
                self._withheld += 1
            self._withheld_last = not passes
            yield passes

    def _numbered(self, frame: RGBDFrame) -> RGBDFrame:
        if not self._withheld:
            return frame
        return replace(frame, sequence=frame.sequence - self._withheld, segment=frame.segment + self._pauses)

    def _one_at_a_time(self) -> contextlib.AbstractContextManager[object]:
        """Only for live cameras, which never wait inside: a replay could hold the lock for long."""
        return self._passing if self._live else contextlib.nullcontext()
