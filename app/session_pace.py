"""How fast a session runs, and when its next heartbeat is due."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sfam.capture.frame import RGBDFrame
from sfam.sinks.latency_table import LatencyRow
from sfam.sinks.status import StageLatency

from .latency import BeatLatencies, StageLatencies

HEARTBEAT_S = 1.0
RECONNECT_S = 3.0
"""Subscribers of a dead analysis look for the next one every two seconds; what all must hear waits for them."""


class Pace:
    """Rate, latencies and times of a session, of which nothing reaches a table."""

    def __init__(self) -> None:
        self.fps = 0.0
        """Frames analysed per second between the last two heartbeats."""
        self.first_capture_ns = 0
        """Of the first frame, also where another analysis saw it; 0 before it."""
        self._latencies = StageLatencies()
        self._beat_latencies = BeatLatencies()
        self._frame = 0
        self._rate_from = (time.monotonic(), 0)
        self._beat_s = 0.0
        self._silent_until_s = 0.0
        self._first_frame_s = self._last_row_s = 0.0
        self._last_capture_ns: int | None = None

    def wait_for_listeners(self) -> None:
        """No heartbeat until those who listened to the analysis before this one have found it."""
        self._silent_until_s = time.monotonic() + RECONNECT_S

    def began(self, frame: RGBDFrame) -> None:
        """A frame is taken up."""
        if self._last_capture_ns is None:
            self._first_frame_s = time.monotonic()
            self.first_capture_ns = self.first_capture_ns or frame.t_capture_ns
        self._last_capture_ns = frame.t_capture_ns
        self._frame = frame.sequence

    def done(self, spent_ns: Mapping[str, int]) -> None:
        """Its results are out; wall time by stage, `total` among them."""
        self._latencies.add(spent_ns)
        self._beat_latencies.add(self._frame, spent_ns["total"])
        self._last_row_s = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether a heartbeat's time has come."""
        return time.monotonic() - self._beat_s >= HEARTBEAT_S

    def beat(self, now_s: float, analysed: int) -> bool:
        """The heartbeat's time: take the rate; False where it is to stay silent still."""
        if now_s < self._silent_until_s:
            return False
        self.fps = self.rate(now_s, analysed)
        self.count_from(now_s, analysed)
        self._beat_s = now_s
        return True

    def rate(self, now_s: float, analysed: int) -> float:
        """Frames per second since it was taken last."""
        since_s, count = self._rate_from
        return (analysed - count) / max(now_s - since_s, 1e-9)

    def count_from(self, now_s: float, analysed: int) -> None:
        """The rate counts from here."""
        self._rate_from = (now_s, analysed)

    def stages(self) -> Mapping[str, StageLatency]:
        """Spread of every stage's time."""
        return self._latencies.stages()

    def latency_row(self) -> LatencyRow | None:
        """Of the frames since it was asked last; None where there was none."""
        return self._beat_latencies.take()

    def shown(self, analysed: int) -> dict[str, Any]:
        """For the status line."""
        total = self.stages().get("total")
        return {
            "fps": self.fps or self.rate(time.monotonic(), analysed),
            "latency_ms": {"p50": total.p50_us / 1e3, "p99": total.p99_us / 1e3} if total else {},
        }

    def totals(self) -> dict[str, Any]:
        """For session.json."""
        captured_ns = 0 if self._last_capture_ns is None else self._last_capture_ns - self.first_capture_ns
        return {
            "analysis_s": round(self._last_row_s - self._first_frame_s, 3),
            "capture_s": round(captured_ns / 1e9, 3),
            "latency_us": {
                name: {"p50": row.p50_us, "p95": row.p95_us, "p99": row.p99_us} for name, row in self.stages().items()
            },
        }
