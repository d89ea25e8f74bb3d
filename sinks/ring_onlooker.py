"""Who watches a session's ring: a thread that takes the newest frame now and then, and that nobody waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sfam.capture.frame import RGBDFrame
from sfam.stream.ring_reader import RingReader
from sfam.stream.ring_segment import RingError

from .turns import Turns

LEAVING_S = 2.0


class RingOnlooker(threading.Thread):
    """Follows a ring until it has ended or is gone.

    Args:
        ring: its name.
        rate_hz: frames a second at most.
        take: called with the newest frame, on this thread.
        failed: told why no more frames come, on this thread; the session's proper end is none.
    """

    def __init__(
        self,
        ring: str,
        rate_hz: float,
        take: Callable[[RGBDFrame], None],
        failed: Callable[[str], None] = lambda why: None,
    ) -> None:
        super().__init__(name=f"ring {ring}", daemon=True)
        self._ring = ring
        self._turns = Turns(rate_hz)
        self._gap_s = 1.0 / rate_hz
        self._take = take
        self._failed = failed
        self._leaving = threading.Event()

    def run(self) -> None:
        """Take the newest frame, wait for the next turn."""
        try:
            with RingReader(self._ring, None) as reader:
                while reader.end is None and not self._leaving.wait(self._turns.wait_s(time.monotonic_ns())):
                    reader.skip_to_newest()
                    frame = reader.read(self._gap_s)
                    if frame is not None:
                        self._take(frame)
        except RingError as error:
            self._failed(str(error))
        else:
            if reader.end is not None and reader.end.state == "failed":
                self._failed(reader.end.reason)

    def leave(self) -> None:
        """End; waits a moment for the frame in hand. Safe to call twice."""
        self._leaving.set()
        if self.ident is not None:
            self.join(timeout=LEAVING_S)
