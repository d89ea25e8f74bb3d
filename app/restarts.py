"""How often, and after which pause, a role that died is started again alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .exit_codes import exit_code
from .role import RoleResult

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 4.0
MOST_RESTARTS = 5
"""In a row; a role that then dies once more stays away."""
STABLE_S = 60.0
"""A role that lived for so long has its restarts forgotten."""


@dataclass(slots=True)
class _Record:
    in_a_row: int = 0
    started_s: float = 0.0


class Restarts:
    """Back-off and a cap for each role.

    Args:
        now_s: monotonic seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._began_s = now_s()
        self._records: dict[str, _Record] = {}
        self.count = 0
        """Restarts of all roles so far."""

    def pause_s(self, result: RoleResult) -> float | None:
        """When to start a role again that ended badly; None = never.

        One that named what is wrong (a taken port, a full disk, a model that is not there) would say so again.
        """
        if exit_code(list(result.error_names)) is not None:
            return None
        now_s = self._now_s()
        record = self._records.setdefault(result.role, _Record(started_s=self._began_s))
        if now_s - record.started_s >= STABLE_S:
            record.in_a_row = 0
        if record.in_a_row == MOST_RESTARTS:
            return None
        pause_s = min(FIRST_PAUSE_S * 2.0**record.in_a_row, LONGEST_PAUSE_S)
        record.in_a_row += 1
        record.started_s = now_s + pause_s
        self.count += 1
        return float(pause_s)
