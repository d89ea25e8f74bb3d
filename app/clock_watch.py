"""Notices that the system clock was set, or that the machine slept, while a session runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from sfam.capture.clock import SessionClock
from sfam.sinks.incident import Incident

STEP_S = 0.1
"""A clock that is slewed by NTP moves by 0.5 ms a second at most; a jump of this size was a step."""
SLEEP_S = 0.5


def boot_ns() -> int | None:
    """A clock that runs on while the machine sleeps; None where the system has none that Python can read."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return None if clock is None else time.clock_gettime_ns(clock)


class ClockWatch:
    """Compares three clocks whenever it is asked.

    Session time is the monotonic clock, which no step changes and which stands still during sleep (Linux, macOS), so a
    step harms no measurement; only the mapping to UTC is off from then on, by the incident's `utc_step_s`.

    Args:
        clock: the session's mapping to UTC.
        utc_ns, monotonic_ns, asleep_ns: the clocks; the last is `boot_ns`.
    """

    def __init__(
        self,
        clock: SessionClock,
        utc_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        asleep_ns: Callable[[], int | None] = boot_ns,
    ) -> None:
        self._clock = clock
        self._utc_ns = utc_ns
        self._monotonic_ns = monotonic_ns
        self._asleep_ns = asleep_ns
        self._ahead_ns, self._slept_ns = 0, self._asleep()
        self.off_ns = 0
        """UTC as the system has it now, less UTC as the session's mapping gives it, after the steps seen."""

    def look(self) -> list[Incident]:
        """What happened since the last look: a step of the clock, a sleep, or both."""
        slept_ns = self._asleep()
        now_ns = self._monotonic_ns()
        ahead_ns = self._utc_ns() - self._clock.utc_ns(now_ns)
        slept_s, moved_s = (slept_ns - self._slept_ns) / 1e9, (ahead_ns - self._ahead_ns) / 1e9
        self._slept_ns, self._ahead_ns = slept_ns, ahead_ns
        found = []
        if slept_s >= SLEEP_S:
            found.append(
                Incident(
                    "suspend",
                    now_ns,
                    f"the machine slept for {slept_s:.1f} s: no frame of that time exists, and session time stood "
                    "still; UTC stamps of later frames are behind by as much",
                    values={"slept_s": round(slept_s, 3), "utc_step_s": round(slept_s, 3)},
                )
            )
            moved_s -= slept_s
        if abs(moved_s) >= STEP_S:
            way = "forward" if moved_s > 0 else "back"
            found.append(
                Incident(
                    "clock_step",
                    now_ns,
                    f"the system clock was set {way} by {abs(moved_s):.3f} s; session time goes on as before, and UTC "
                    "stamps keep to the clock as it was at the start",
                    values={"utc_step_s": round(moved_s, 3)},
                )
            )
        if found:
            self.off_ns = ahead_ns
        return found

    def _asleep(self) -> int:
        """How long the machine has slept so far, as far as it can be told."""
        boot = self._asleep_ns()
        return 0 if boot is None else boot - self._monotonic_ns()
