"""The cameras of the overlay window: what is known of each, and which one is shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from .live_frames import LiveFrames
from .overlay_state import OverlayState
from .wire import Message

NEXT_KEY = ord("\t")


class OverlayCameras:
    """Takes what the bus says, and frames of the shown camera's ring.

    Args:
        rings: names of the rings that frames of cameras of this machine can be had from, by camera.
        clock_s: wall clock that only runs forwards.
    """

    def __init__(self, rings: Callable[[], Mapping[str, str]], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._rings = rings
        self._clock_s = clock_s
        self._states: dict[str, OverlayState] = {}
        self._heard_s: dict[str, float] = {}
        self._began_s = clock_s()
        self._shown = ""
        self._frames: LiveFrames | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of all cameras, in the order in which they were heard first."""
        return tuple(self._states)

    def take(self, message: Message) -> None:
        """Enter one message; pictures and motion of cameras that are not shown are not unpacked."""
        camera = str(message.header["camera"])
        state = self._states.setdefault(camera, OverlayState())
        self._shown = self._shown or camera
        self._heard_s[camera] = self._clock_s()
        if message.payload is None or camera == self._shown:
            state.take(message)

    def press(self, key: int) -> None:
        """A key: the number of a camera, or Tab for the next one; any other does nothing."""
        names = self.names
        if key == NEXT_KEY and names:
            self._choose(names[(names.index(self._shown) + 1) % len(names)])
        elif ord("1") <= key < ord("1") + len(names):
            self._choose(names[key - ord("1")])

    def shown(self) -> OverlayState:
        """The camera to draw, with the newest frames of its ring."""
        state = self._states.get(self._shown, OverlayState())
        ring = self._rings().get(self._shown)
        if self._frames is None and ring is not None:
            self._frames = LiveFrames(ring)
            self._frames.start()
        for frame in self._frames.news() if self._frames is not None else ():
            state.take_live(frame)
        state.silent_s = self._clock_s() - self._heard_s.get(self._shown, self._began_s)
        return state

    def leave(self) -> None:
        """End; safe to call twice."""
        if self._frames is not None:
            self._frames.leave()
            self._frames = None

    def _choose(self, camera: str) -> None:
        if camera != self._shown:
            self.leave()
            self._shown = camera
