"""`sfam sync-test`: what a camera's capture times are off by, measured with a screen that flashes in its view."""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2

from sfam.capture.clock import SessionClock
from sfam.capture.flash_sync import SyncResult, measure_sync
from sfam.capture.frame import ColorImage
from sfam.capture.pacing import delivered, is_live
from sfam.capture.source import FrameSource, SourceError

from .flash_screen import Screen, flash

LONGEST_S = 600.0
MOST_FRAMES = 200_000


class BrightnessWatch:
    """Reads a source on a thread of its own and keeps each picture's capture time and mean brightness.

    The pictures get their times exactly as in a session, so what is measured is what events carry.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="brightness", daemon=True)
        self.began = threading.Event()
        """Set with the first picture, or when none will come."""
        self.times_ns: list[int] = []
        self.levels: list[float] = []
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End reading; raises what went wrong meanwhile."""
        self._stop.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            frames = delivered(
                self._source.frames(), self._source.info, 1.0, SessionClock.start(), stop=self._stop.is_set
            )
            for frame in frames:
                self.times_ns.append(frame.t_capture_ns)
                self.levels.append(brightness(frame.color))
                self.began.set()
                if len(self.times_ns) == MOST_FRAMES:
                    return
        except Exception as error:  # handed to stop()
            self.error = error
        finally:
            self.began.set()


def brightness(color: ColorImage) -> float:
    """Mean grey level of a color image, from every eighth pixel both ways."""
    return float(cv2.mean(color[::8, ::8])[1])


def sync_test(
    source: FrameSource, screen: Screen, flashes: int = 25, seed: int = 0, lit: Callable[[int], None] = lambda n: None
) -> SyncResult:
    """Flash a screen before a camera and measure the distance of the two times.

    Args:
        source: a live camera, open.
        screen: in its view.
        flashes: how many to show.
        seed: of the pauses between them.
        lit: called with the number of each flash.

    Raises:
        SourceError: not a live camera, it broke off, or the flashes were not seen.
    """
    info = source.info
    if not is_live(info, 1.0):
        raise SourceError(f"{info.camera} is a recording; a sync test needs the camera itself, in view of this screen")
    watch, stop = BrightnessWatch(source), threading.Event()
    watch.start()
    try:
        watch.began.wait(LONGEST_S)
        moments = flash(screen, flashes, seed, stop, lit)
    finally:
        watch.stop()
    return measure_sync(info.camera, watch.times_ns, watch.levels, moments)
