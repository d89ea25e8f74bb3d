"""What the installed commands call. Imports nothing before that: every process of a session runs this file again."""

from __future__ import annotations


def sfam() -> None:
    """`sfam COMMAND ...`."""
    from .cli import main

    main()


def sfam_live() -> None:
    """`sfam-live ...`."""
    from .cli import main_live

    main_live()
