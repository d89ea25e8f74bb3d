"""Some room on the disk, kept so that a full one does not keep a session from saying so."""

from __future__ import annotations

from pathlib import Path

RESERVE, RESERVE_BYTES = ".reserve", 1 << 18


class DiskReserve:
    """A file without content in a session's folder.

    Raises:
        OSError: not even that much is free.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RESERVE
        self._path.write_bytes(bytes(RESERVE_BYTES))

    def free(self) -> None:
        """Give the room back; safe to call twice."""
        self._path.unlink(missing_ok=True)
