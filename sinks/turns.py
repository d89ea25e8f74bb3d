"""So many turns a second, on a grid: work that takes part of a turn does not push the next one back."""

from __future__ import annotations


class Turns:
    """Turns of one thing that is done again and again. What was missed is not caught up.

    Args:
        rate_hz: turns a second at most.
    """

    def __init__(self, rate_hz: float) -> None:
        self._gap_ns = round(1e9 / rate_hz)
        self._next_ns: int | None = None

    def due(self, now_ns: int) -> bool:
        """True when the turn has come; takes it.

        It may be taken up to half a gap early: what comes just as often as there are turns would otherwise each time be
        a hair too early, and every second one would be left out.
        """
        turn_ns = now_ns if self._next_ns is None else self._next_ns
        if now_ns < turn_ns - self._gap_ns // 2:
            return False
        self._next_ns = max(turn_ns, now_ns - self._gap_ns // 2) + self._gap_ns
        return True

    def wait_s(self, now_ns: int) -> float:
        """Seconds to sleep until the next turn, which is taken; 0 where it has come already."""
        turn_ns = now_ns if self._next_ns is None else self._next_ns
        if turn_ns + self._gap_ns < now_ns:
            turn_ns = now_ns
        self._next_ns = turn_ns + self._gap_ns
        return max(0.0, (turn_ns - now_ns) / 1e9)
