"""Stage latencies over a bounded window, for the status line, the bus and session.json."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sfam.sinks.status import StageLatency

KEPT = 4096
"""Frames that percentiles look back on: 2.3 minutes at 30 fps."""


class StageLatencies:
    """Percentiles of wall time per stage; memory is fixed."""

    def __init__(self) -> None:
        self._rings: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
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
            p50, p95, p99 = np.percentile(ring[: min(self._counts[stage], KEPT)], (50, 95, 99))
            table[stage] = StageLatency(round(float(p50), 1), round(float(p95), 1), round(float(p99), 1))
        return table
