"""The session clock: host monotonic time, mapped once to UTC."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionClock:
    """Maps host monotonic nanoseconds to UTC by one anchor taken at session start.

    The monotonic clock is system-wide, so every process of a session shares the mapping.
    """

    anchor_monotonic_ns: int
    anchor_utc_ns: int

    @classmethod
    def start(cls) -> SessionClock:
        """Take the anchor now; the UTC reading is bracketed so that a preemption cannot shift it."""
        before = time.monotonic_ns()
        utc = time.time_ns()
        after = time.monotonic_ns()
        return cls((before + after) // 2, utc)

    @staticmethod
    def now_ns() -> int:
        """Host monotonic time in nanoseconds."""
        return time.monotonic_ns()

    def utc_ns(self, monotonic_ns: int) -> int:
        """UTC nanoseconds of a monotonic reading."""
        return self.anchor_utc_ns + (monotonic_ns - self.anchor_monotonic_ns)
