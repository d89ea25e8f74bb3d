"""A small file that is exchanged as a whole while others may be reading it."""

from __future__ import annotations

import os
import time
from pathlib import Path

TRIES = 5


def replace_file(path: Path, text: str) -> None:
    """Write a file so that readers find the old or the new text, never a part.

    On Windows a reader that has the file open makes the exchange fail for a moment, so it is tried again.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8", newline="\n")
    for tries_left in reversed(range(TRIES)):
        try:
            os.replace(beside, path)
        except PermissionError:
            if not tries_left:
                raise
            time.sleep(0.05)
        else:
            return
