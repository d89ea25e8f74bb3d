"""Whether somebody can still see what is printed."""

from __future__ import annotations

import os
import sys

_HAD_TERMINAL = sys.stdin is not None and sys.stdin.isatty()


def terminal_gone() -> bool:
    """True where this process was started from a terminal that has been closed since."""
    if not _HAD_TERMINAL or sys.platform == "win32":
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return True
    return False
