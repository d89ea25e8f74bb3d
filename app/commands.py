"""What the installed commands call. Imports nothing before that: every process of a session runs this file again."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""Exit code of a shell's interrupted command."""


def sfam() -> None:
    """`sfam COMMAND ...`."""
    try:
        from .cli import main

        main()
    except KeyboardInterrupt:  # while it still loads; afterwards each command sees to it
        sys.exit(INTERRUPTED)


def sfam_live() -> None:
    """`sfam-live ...`."""
    try:
        from .cli import main_live

        main_live()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
