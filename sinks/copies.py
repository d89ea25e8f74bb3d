"""What was made of a session outside its folder: a list in the folder, by which `sfam erase` finds it again.

A line is written before a copy is made and another once it is whole, each handed to the disk at once. So one whose
making was interrupted is known too, and one that was changed or replaced since is told from one that was not.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from .sink_error import SinkError

COPIES = "copies.jsonl"
CopyState = Literal["whole", "changed", "unfinished", "gone"]


@dataclass(frozen=True, slots=True)
class Copy:
    """A file that was made of a session, or where its making was not finished the place it was to go to."""

    path: Path
    """Absolute."""
    what: str
    """'bids export', 'mcap sink'."""
    subject: str
    t_utc: str
    size_bytes: int | None = None
    mtime_ns: int | None = None
    """Both when it was whole; None = as far as the list says it never was."""

    @property
    def state(self) -> CopyState:
        """What has become of it; `changed` may also mean that something else lies there now."""
        try:
            found = self.path.stat()
        except OSError:
            return "gone"
        if self.mtime_ns is None:
            return "unfinished"
        return "whole" if (found.st_size, found.st_mtime_ns) == (self.size_bytes, self.mtime_ns) else "changed"


@dataclass(frozen=True, slots=True)
class CopyList:
    """Writes the list of one session folder; places inside the folder need no entry.

    Args:
        folder: the session's.
        subject: whom the session is of; a folder that is overwritten keeps its list.
        utc_s: the time now.
    """

    folder: Path
    subject: str
    utc_s: Callable[[], float] = time.time

    def begun(self, what: str, place: Path) -> None:
        """A copy is going to be made at a place, a file or a folder for several.

        Raises:
            SinkError: the list cannot be written.
        """
        self._enter(what, place, None)

    def made(self, what: str, place: Path, files: Sequence[Path]) -> None:
        """All of what was begun there is whole, and these are its files.

        Raises:
            SinkError: the list cannot be written, or a file is not there.
        """
        self._enter(what, place, files)

    def _enter(self, what: str, place: Path, files: Sequence[Path] | None) -> None:
        place = place.resolve()
        if place.is_relative_to(self.folder.resolve()):
            return
        try:
            line = {
                "t_utc": datetime.fromtimestamp(self.utc_s(), UTC).isoformat(timespec="seconds"),
                "what": what,
                "subject": self.subject,
                "place": str(place),
                "files": None if files is None else [_as_it_is(path.resolve()) for path in files],
            }
            _append(self.folder / COPIES, json.dumps(line, ensure_ascii=False))
        except OSError as error:
            raise SinkError(
                f"{what} {place} cannot be entered in {self.folder / COPIES}: {error.strerror or error}; sfam erase "
                "will not know of it"
            ) from error


def copies_of(folder: Path) -> tuple[Copy, ...]:
    """What the list of a session folder says, the newest entry of each place; nothing where there is no list.

    Raises:
        SinkError: it cannot be read.
    """
    try:
        text = (folder / COPIES).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SinkError(f"cannot read {folder / COPIES}: {error.strerror or error}") from error
    found: dict[Path, Copy] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # cut off while it was written: its copy was not begun, or stands here as begun
        place = Path(entry["place"])
        found.pop(place, None)
        for copy in _copies(entry, place):
            found[copy.path] = copy
    return tuple(found.values())


def _copies(entry: Mapping[str, Any], place: Path) -> list[Copy]:
    about = (entry["what"], entry["subject"], entry["t_utc"])
    if entry["files"] is None:
        return [Copy(place, *about)]
    return [Copy(Path(one["path"]), *about, one["size_bytes"], one["mtime_ns"]) for one in entry["files"]]


def _as_it_is(path: Path) -> dict[str, Any]:
    found = path.stat()
    return {"path": str(path), "size_bytes": found.st_size, "mtime_ns": found.st_mtime_ns}


def _append(path: Path, line: str) -> None:
    """One write at the end, so that two programs do not get into each other's lines; one cut off before is ended."""
    with path.open("a+b", buffering=0) as file:
        begin = b""
        if file.tell():
            file.seek(-1, os.SEEK_END)
            begin = b"" if file.read(1) == b"\n" else b"\n"
        file.write(begin + line.encode() + b"\n")
        os.fsync(file.fileno())
