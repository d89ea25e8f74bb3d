"""Stage latencies over a bounded window, for the status line, the bus and session.json, and from beat to beat."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sfam.sinks.latency_table import LatencyRow
from sfam.sinks.status import StageLatency

Times = NDArray[np.float64]
KEPT = 4096
"""Frames that percentiles look back on: 2.3 minutes at 30 fps."""


class StageLatencies:
    """Percentiles of wall time per stage; memory is fixed."""

    def __init__(self) -> None:
        self._rings: dict[str, Times] = {}
        self._counts: dict[str, int] = {}

    def add(self, stage_ns: Mapping[str, int]) -> None:
        """Take one frame's stage times."""
        for stage, nanoseconds in stage_ns.items():
            if stage not in self._rings:
                self._rings[stage] = np.zeros(KEPT)
                self._counts[stage] = 0
            self._rings[stage][self._counts[stage] % KEPT] = nanoseconds / 1e3
            self._counts[stage] += 1

    def stages(self) -> dict[str, StageLatency]:
        """p50, p95 and p99 of every stage seen."""
        table = {}
        for stage, ring in self._rings.items():
            table[stage] = _spread(ring[: min(self._counts[stage], KEPT)])
        return table


class BeatLatencies:
    """From capture to score of the frames since it was asked last."""

    def __init__(self) -> None:
        self._times_us: list[float] = []
        self._frames = (0, 0)

    def add(self, frame: int, total_ns: int) -> None:
        """Take one frame."""
        first = self._frames[0] if self._times_us else frame
        self._frames = (first, frame)
        self._times_us.append(total_ns / 1e3)

    def take(self) -> LatencyRow | None:
        """The row of these frames; None where there was none."""
        if not self._times_us:
            return None
        times_us = np.array(self._times_us)
        self._times_us.clear()
        return LatencyRow(*self._frames, len(times_us), _spread(times_us), float(times_us.max()))


def _spread(times_us: Times) -> StageLatency:
    p50, p95, p99 = np.percentile(times_us, (50, 95, 99))
    return StageLatency(round(float(p50), 1), round(float(p95), 1), round(float(p99), 1))
