"""A screen that goes bright at moments that are known, for `sfam sync-test`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from random import Random
from typing import Protocol

LEAST_DARK_S, MOST_DARK_S = 1.1, 1.6
"""Pauses between flashes; random, for a steady rhythm could fall in with the camera's."""
LIT_S = 0.25
TITLE = "sfam sync-test"
LARGEST_SCREEN_PX = (3840, 2160)
ESCAPE = 27


class Screen(Protocol):
    """Something in view of the camera that can be bright or dark."""

    def show(self, bright: bool) -> int:
        """Change it; the host monotonic time, ns, at which the change was handed over."""

    def closed(self) -> bool:
        """True where the operator has had enough."""


def flash(screen: Screen, flashes: int, seed: int, stop: threading.Event, lit: Callable[[int], None]) -> list[int]:
    """Flash a screen; the moments at which it went bright.

    Args:
        screen: starts and ends dark.
        flashes: how many.
        seed: of the pauses.
        stop: ends it early.
        lit: called with the number of each flash.
    """
    pauses = Random(seed)
    screen.show(False)
    moments = []
    for number in range(flashes):
        if stop.wait(pauses.uniform(LEAST_DARK_S, MOST_DARK_S)) or screen.closed():
            break
        moments.append(screen.show(True))
        lit(number + 1)
        stop.wait(LIT_S)
        screen.show(False)
    stop.wait(LEAST_DARK_S)
    return moments


class FullScreen:
    """The whole screen, by OpenCV; only from the main thread."""

    def __init__(self) -> None:
        import cv2
        import numpy as np

        self._cv2 = cv2
        self._pictures = {bright: np.full((90, 160, 3), 255 * bright, np.uint8) for bright in (False, True)}
        # no tool bar, and no edges that stay dark around a picture of another shape
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        # a lab's bare display has no window manager that would obey the next line
        cv2.moveWindow(TITLE, 0, 0)
        cv2.resizeWindow(TITLE, *LARGEST_SCREEN_PX)
        cv2.setWindowProperty(TITLE, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)
        self._key = -1

    def show(self, bright: bool) -> int:
        """Change it; the time after the window system took the picture."""
        self._cv2.imshow(TITLE, self._pictures[bright])
        self._key = self._cv2.waitKey(1)
        return time.monotonic_ns()

    def closed(self) -> bool:
        """True after Escape or q."""
        key = self._cv2.pollKey() if self._key < 0 else self._key
        return key in (ESCAPE, ord("q"))

    def close(self) -> None:
        """Remove the window."""
        self._cv2.destroyWindow(TITLE)
