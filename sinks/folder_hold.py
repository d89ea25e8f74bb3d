"""A session that runs holds its folder, and lets go of it however it ends: so it can be told from one that was killed.

What is held is a lock on the folder itself, which costs no file and which nobody else notices.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from sfam.capture.file_lock import hold, is_held

OPEN_STATES = ("started", "running", "paused")
REQUEST = "paused"
"""Name of the file in a session folder that asks for a pause."""
STILL_WRITING_S = 10.0
"""A session that says it is running and was written to within this time is running."""


class FolderHold:
    """The hold of one process on a session folder.

    Args:
        folder: need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle: int | None = None

    def take(self) -> None:
        """Hold the folder from now on; nothing where it is not there yet, or held already."""
        if self._handle is None:
            with suppress(OSError):  # not there yet; Windows opens no folders
                self._handle = os.open(self._folder, os.O_RDONLY)
                if not hold(self._handle):
                    self.release()  # until the next try: somebody was just looking

    def release(self) -> None:
        """Let go of it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def folder_is_held(folder: Path) -> bool | None:
    """Whether a session runs in the folder; None where nobody can tell, for the system has no such locks."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        return is_held(handle)
    finally:
        os.close(handle)


def session_runs(folder: Path, state: str, written_s: float) -> bool:
    """Whether the session in a folder still runs.

    Args:
        folder: of the session.
        state: what its session.json says.
        written_s: when that was written, s since 1970.
    """
    held = folder_is_held(folder)
    if held or state not in OPEN_STATES:
        return bool(held)
    if state == "paused":  # a pause writes nothing, but its request is there until it ends
        return held is None and (folder / REQUEST).exists()
    return time.time() - written_s < STILL_WRITING_S
