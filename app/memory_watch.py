"""How much memory the processes of a session hold, and which holds too much."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from .process_memory import resident_bytes

LOOK_EVERY_S = 1.0


class MemoryWatch:
    """Asks the system once a second.

    Args:
        limit_mb: most that one process may hold; None = no limit.
        resident: bytes held by a process, None where it is not known.
        now_s: monotonic seconds.
    """

    OWN: ClassVar[str] = "supervising"
    """Name of this very process."""

    def __init__(
        self,
        limit_mb: float | None,
        resident: Callable[[int], int | None] = resident_bytes,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit_mb = limit_mb
        self._resident = resident
        self._now_s = now_s
        self._looked_s = now_s()

    def look(self, pids: Mapping[str, int]) -> dict[str, float] | None:
        """MB held by role, with this process under `OWN`; None where it is not time to look again."""
        now_s = self._now_s()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return None
        self._looked_s = now_s
        held = {role: self._resident(pid) for role, pid in {**pids, self.OWN: os.getpid()}.items()}
        return {role: size / 1e6 for role, size in held.items() if size is not None}

    def over(self, held_mb: Mapping[str, float]) -> Iterator[tuple[str, str]]:
        """Roles that hold too much, and how to say it."""
        for role, size in held_mb.items():
            if self.limit_mb is not None and size > self.limit_mb:
                yield role, f"held {size:.0f} MB, over app.memory_limit_mb={self.limit_mb:g},"
