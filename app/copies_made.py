"""Enters in a session's folder what is made of the session elsewhere; where it cannot, the operator is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sfam.sinks.copies import CopyList
from sfam.sinks.sink_error import SinkError

from .session_plan import SessionPlan

WRITES = "writes"
"""Kind of message: (camera, path) of a file that a sink begins."""
Warn = Callable[[str], object]


class CopiesMade:
    """Keeps the list of one session; an archive that cannot be written to can still be exported from.

    Args:
        folder: the session's.
        subject: whom it is of.
        warn: told why the list could not be kept.
    """

    def __init__(self, folder: Path, subject: str, warn: Warn) -> None:
        self._list = CopyList(folder, subject)
        self._warn = warn

    def begun(self, what: str, place: Path) -> None:
        """A copy is going to be made at a place."""
        self._try(lambda: self._list.begun(what, place))

    def made(self, what: str, place: Path, files: Sequence[Path]) -> None:
        """What was begun there is whole."""
        self._try(lambda: self._list.made(what, place, files))

    def _try(self, enter: Callable[[], None]) -> None:
        try:
            enter()
        except SinkError as error:
            self._warn(str(error))


class SinkFiles:
    """Files that the sinks of a running session write, of all its cameras.

    Args:
        warn: as of `CopiesMade`.
    """

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._open: list[tuple[CopiesMade, str, Path]] = []

    def begun(self, plan: SessionPlan, sink: str, path: Path) -> None:
        """A sink begins a file with the results of one camera, whose plan is given."""
        copies, what = CopiesMade(plan.folder, plan.config.app.subject, self._warn), f"{sink} sink"
        copies.begun(what, path)
        self._open.append((copies, what, path))

    def ended(self) -> None:
        """All sinks have ended: their files are as they will stay."""
        for copies, what, path in self._open:
            copies.made(what, path, [path])
        self._open.clear()
