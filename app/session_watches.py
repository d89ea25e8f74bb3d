"""What a session keeps an eye on while it runs: clocks, sleep, latency, the disk."""

from __future__ import annotations

from sfam.sinks.incident import Incident

from .clock_watch import ClockWatch
from .disk_watch import DiskWatch
from .latency_alarm import LatencyAlarm
from .session_plan import SessionPlan


class Watches:
    """Looked at once a second; each tells of a change once."""

    def __init__(self, plan: SessionPlan) -> None:
        self.clocks = ClockWatch(plan.clock)
        self.latency = LatencyAlarm(None)
        self._disk = DiskWatch(plan.folder)
        self._lossless = plan.lossless
        self.set_budget(plan.config.app.latency_budget_ms)

    def set_budget(self, budget_ms: float | None) -> None:
        """Latency from which on there is an alarm; a replay, in which nothing is late, has none."""
        self.latency.budget_ms = None if self._lossless else budget_ms

    def look(self) -> list[Incident]:
        """What has happened since."""
        found = self.clocks.look()
        return found + [news for news in (self.latency.look(), self._disk.look()) if news is not None]
