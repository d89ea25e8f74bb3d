"""A RealSense that can be reset and unplugged: the vendor's software device allows neither, so these are stood in for.

Everything else goes to the real objects of the SDK; a test compares the names and parameters with the installed wheel.
"""

from __future__ import annotations

import math
import time
from typing import Any


class Device:
    """One of the context's devices; a reset takes it off the bus and brings it back."""

    def __init__(self, real: Any, context: Context) -> None:
        self._real = real
        self._context = context

    def hardware_reset(self) -> None:
        """Away at once, back after the time that the context says."""
        self._context.resets += 1
        self._context.back_at_s = time.monotonic() + self._context.away_s

    def is_connected(self) -> bool:
        return self._context.is_there() and bool(self._real.is_connected())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Context:
    """A context that lists its devices except while they start anew."""

    def __init__(self, real: Any, away_s: float) -> None:
        self._real = real
        self.away_s = away_s
        self.back_at_s = 0.0
        self.resets = 0
        self.missed = 0
        """Times somebody looked while the camera was away."""

    def unplug(self) -> None:
        """Off the bus until `plug_in`."""
        self.back_at_s = math.inf

    def plug_in(self) -> None:
        """On the bus again."""
        self.back_at_s = 0.0

    def is_there(self) -> bool:
        return time.monotonic() >= self.back_at_s

    def query_devices(self) -> list[Any]:
        if not self.is_there():
            self.missed += 1
            return []
        return [Device(one, self) for one in self._real.query_devices()]
