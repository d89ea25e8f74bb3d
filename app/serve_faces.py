"""Process 'face': detects for the analysis. Imports little, as a session's first score waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Final

from sfam.stream.face import FaceSettings
from sfam.stream.face_process import answer

from .own_process import ignore_terminal, keep_to, take_name

FACE: Final = "face"
"""Name of the process among those of a session."""


def serve_faces(settings: FaceSettings, cpus: Sequence[int], connection: Connection) -> None:
    """Main function of the process; ends when the other end of the connection is closed."""
    ignore_terminal()
    keep_to(cpus)
    take_name(f"sfam-{FACE}")
    answer(settings, connection)
