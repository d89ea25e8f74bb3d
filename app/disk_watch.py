"""Warns before the disk of a session is full; what happens once it is, the session folder and the recorder decide."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from sfam.sinks.incident import Incident

LOOK_EVERY_S = 10.0
LOW_BYTES = 500_000_000
"""About four hours of tables, half a minute of recording."""


def free_bytes(folder: Path) -> int:
    """Free room where a folder is, or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


class DiskWatch:
    """Looks at the free room from time to time, and speaks up once.

    Args:
        folder: of the session.
        free: bytes free there.
        now_s: monotonic seconds.
    """

    def __init__(
        self, folder: Path, free: Callable[[Path], int] = free_bytes, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._free = free
        self._now_s = now_s
        self._looked_s = -LOOK_EVERY_S
        self._is_low = False

    def look(self) -> Incident | None:
        """An incident where little room is left, again only after there was enough in between."""
        now_s = self._now_s()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return None
        self._looked_s = now_s
        free = self._free(self._folder)
        was_low, self._is_low = self._is_low, free < LOW_BYTES
        if was_low or not self._is_low:
            return None
        return Incident(
            "disk_low",
            time.monotonic_ns(),
            f"only {free / 1e6:.0f} MB are free in {self._folder}: free some soon, a full disk ends the session",
            values={"free_mb": round(free / 1e6, 1)},
        )
