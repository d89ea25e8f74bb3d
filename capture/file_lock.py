"""Who writes a file holds a lock on it, which goes with its process: so nobody mends what is still being written.

Windows has no lock that readers pass by; nothing is held there.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import IO, Any

if sys.platform != "win32":
    import fcntl


def hold(file: IO[Any] | int) -> bool:
    """Lock an open file or folder of one's own until it is closed or the process ends; whether that could be done."""
    if sys.platform != "win32":
        # some network file systems have no locks; the file is written all the same
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def is_held(file: IO[Any] | int) -> bool | None:
    """Whether another has the file locked, None where there are no locks; nobody gets one while `file` stays open."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return None  # a file system without locks
        return False
    return None
