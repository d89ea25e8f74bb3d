"""latency.csv: how long frames took from capture to score, over the whole session.

It tells how a session ran and not what it found: unlike the other tables it depends on load and is not the same in a
replay. A row belongs to the frames between two heartbeats, so an hour has 3,600 of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from .status import StageLatency

LATENCY = "latency.csv"
LATENCY_HEADER = "first_frame,last_frame,frames,p50_us,p95_us,p99_us,slowest_us\n"


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """From capture to score of the frames between two heartbeats, microseconds."""

    first_frame: int
    last_frame: int
    frames: int
    """Analysed among them."""
    spread: StageLatency
    slowest_us: float

    def line(self) -> str:
        """The row as it stands in the table."""
        spread = self.spread
        times_us = (spread.p50_us, spread.p95_us, spread.p99_us, self.slowest_us)
        return f"{self.first_frame},{self.last_frame},{self.frames},{','.join(f'{time:.1f}' for time in times_us)}\n"
