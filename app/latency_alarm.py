"""Says when results come later than the session's budget allows, and when they are in time again."""

from __future__ import annotations

import time
from collections import deque

import numpy as np

from sfam.sinks.incident import Incident

WINDOW_FRAMES = 300
"""Frames looked back on: 10 s at 30 fps."""
FEWEST_FRAMES = 60
CALM_SHARE = 0.8
"""Of the budget, below which an alarm ends."""


class LatencyAlarm:
    """Compares the 95th percentile of the last frames with a budget.

    Args:
        budget_ms: from a frame's arrival to its score on the bus; None = no alarm.
    """

    def __init__(self, budget_ms: float | None) -> None:
        self.budget_ms = budget_ms
        self.over = False
        """True while the budget is exceeded."""
        self._totals_ms: deque[float] = deque(maxlen=WINDOW_FRAMES)

    def add(self, total_ns: int) -> None:
        """Take one frame's time."""
        self._totals_ms.append(total_ns / 1e6)

    def look(self) -> Incident | None:
        """An incident where the alarm begins or ends."""
        if self.budget_ms is None or len(self._totals_ms) < FEWEST_FRAMES:
            return None
        p95_ms = float(np.percentile(np.array(self._totals_ms), 95))
        over = p95_ms > self.budget_ms * (CALM_SHARE if self.over else 1.0)
        if over == self.over:
            return None
        self.over = over
        words = "is over" if over else "is within"
        advice = "; end other programs, or use --policy decimate:2" if over else " again"
        return Incident(
            "latency",
            time.monotonic_ns(),
            f"latency p95 of {p95_ms:.0f} ms {words} the budget of {self.budget_ms:g} ms{advice}",
            values={"p95_ms": round(p95_ms, 1), "budget_ms": self.budget_ms},
        )
