"""Erases what is kept of one participant, or of sessions past their retention date, and leaves a line about it."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .copies import Copy, copies_of
from .folder_hold import session_runs
from .session_folder import FORMAT, SESSION
from .sink_error import SinkError
from .subject_tables import SUBJECT, SUFFIXES, read_table, take_out

AUDIT = "erasures.jsonl"
Summary = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeptSession:
    """A session folder and what is in it."""

    folder: Path
    session: str
    subject: str
    retain_until: str | None
    files: tuple[Path, ...]
    size_bytes: int
    running: bool


@dataclass(frozen=True, slots=True)
class KeptTable:
    """A table outside of session folders, such as an export, with rows of the participant."""

    path: Path
    rows: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is going to be erased, found by looking only."""

    root: Path
    reason: str
    """'subject s01' or 'retention until 2026-03-01 and before'."""
    sessions: tuple[KeptSession, ...]
    tables: tuple[KeptTable, ...]
    copies: tuple[Copy, ...] = ()
    """Exports and the like outside of the session's folders, as those list them."""
    unread: tuple[Path, ...] = ()
    """Files that are called tables and cannot be read as such: nobody knows whom they name."""

    @property
    def whole_copies(self) -> tuple[Copy, ...]:
        """Copies that are as they were made, and so can be removed without a look at them."""
        return tuple(copy for copy in self.copies if copy.state == "whole")

    @property
    def files(self) -> int:
        """Files that will be gone."""
        return sum(len(session.files) for session in self.sessions)

    @property
    def rows(self) -> int:
        """Rows that will be taken out of tables."""
        return sum(table.rows for table in self.tables)


def of_subject(root: Path, subject: str) -> Erasure:
    """What is found of one participant below a folder: sessions, and rows of tables with a column `subject`.

    Raises:
        SinkError: a file cannot be read.
    """
    everything = _sessions(root)
    mine = tuple(session for session in everything if session.subject == subject)
    tables, unread = _tables(root, subject, everything)
    listed = [copy for session in everything for copy in copies_of(session.folder) if copy.subject == subject]
    return Erasure(root, f"subject {subject}", mine, tables, _elsewhere(listed, mine, tables), unread)


def of_expired(root: Path, today: str) -> Erasure:
    """Sessions whose last day lies before `today`, YYYY-MM-DD; tables made of them are not followed.

    Raises:
        SinkError: a file cannot be read.
    """
    past = tuple(one for one in _sessions(root) if one.retain_until is not None and one.retain_until < today)
    listed = [copy for session in past for copy in copies_of(session.folder)]
    return Erasure(root, f"retention ended before {today}", past, (), _elsewhere(listed, past, ()))


def erase(
    erasure: Erasure, subject: str | None = None, *, copies: bool = False, utc_s: Callable[[], float] = time.time
) -> Path:
    """Do it; returns the file that holds the line about it.

    The line names session, participant's code, time and amounts, also where it could not be finished, and every copy
    that may still lie elsewhere: the list of them goes with the session.

    Args:
        erasure: what was found.
        subject: whose rows are taken out of tables.
        copies: remove those that are as they were made too.
        utc_s: the time now.

    Raises:
        SinkError: a session is still running, or a file cannot be removed; what was removed before is gone.
    """
    running = [str(session.folder) for session in erasure.sessions if session.running]
    if running:
        raise SinkError(f"cannot erase {', '.join(running)}: the session is running; end it first")
    failure: OSError | None = None
    wanted = erasure.whole_copies if copies else ()
    left = [{"path": str(copy.path), "what": copy.what} for copy in erasure.copies if copy not in wanted]
    try:
        for copy in wanted:
            copy.path.unlink(missing_ok=True)
        for session in erasure.sessions:
            _remove(session)
        for table in erasure.tables:
            take_out(table.path, subject or "")
    except OSError as error:
        failure = error
    audit = _audit_file(erasure)
    line = {
        "t_utc": datetime.fromtimestamp(utc_s(), UTC).isoformat(timespec="seconds"),
        "reason": erasure.reason,
        "sessions": [session.session for session in erasure.sessions],
        "subjects": sorted({session.subject for session in erasure.sessions} | ({subject} if subject else set())),
        "files": erasure.files,
        "bytes": sum(session.size_bytes for session in erasure.sessions),
        "table_rows": erasure.rows,
        "copies": len(wanted),
        "copies_left": left,
        "complete": failure is None,
    }
    try:
        with audit.open("a", encoding="utf-8", newline="\n") as lines:
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
    except OSError as error:
        raise SinkError(f"erased, but no line could be written to {audit}: {error.strerror or error}") from error
    if failure is not None:
        raise SinkError(
            f"cannot erase all of {erasure.reason}: {failure}; some files are still there, free them and run it again"
        ) from failure
    return audit


def _audit_file(erasure: Erasure) -> Path:
    """In the folder that was asked about, or beside it where it was a session itself."""
    inside = any(session.folder == erasure.root for session in erasure.sessions)
    return (erasure.root.parent if inside else erasure.root) / AUDIT


def _sessions(root: Path) -> tuple[KeptSession, ...]:
    """Session folders below a folder, itself included; links are not followed."""
    found: list[tuple[Path, Summary]] = []
    for folder, _, names in _walk(root):
        if SESSION in names:
            summary = _summary(folder / SESSION)
            if summary is not None:
                found.append((folder, summary))
    folders = {folder for folder, _ in found}
    return tuple(_kept(folder, summary, folders - {folder}) for folder, summary in found)


def _walk(root: Path) -> list[tuple[Path, list[str], list[str]]]:
    def refuse(error: OSError) -> None:
        raise SinkError(f"cannot look into {error.filename}: {error.strerror}") from error

    return [(Path(folder), inner, names) for folder, inner, names in os.walk(root, onerror=refuse)]


def _summary(path: Path) -> Summary | None:
    """What session.json says; None where the file is none of ours."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SinkError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError:
        return None
    ours = isinstance(summary, dict) and summary.get("format") == FORMAT
    return summary if ours else None


def _kept(folder: Path, summary: Summary, others: set[Path]) -> KeptSession:
    files: list[Path] = []
    for where, inner, names in os.walk(folder):
        # a session that lies inside this one is somebody else's
        inner[:] = [name for name in inner if Path(where) / name not in others]
        files += [Path(where) / name for name in names]
        files += [Path(where) / name for name in inner if (Path(where) / name).is_symlink()]
    written_s = (folder / SESSION).stat().st_mtime
    return KeptSession(
        folder,
        str(summary.get("session", folder.name)),
        str(summary.get(SUBJECT, "")),
        summary.get("retain_until"),
        tuple(sorted(files)),
        sum(path.lstat().st_size for path in files),
        session_runs(folder, str(summary.get("state")), written_s),
    )


def _tables(
    root: Path, subject: str, sessions: Sequence[KeptSession]
) -> tuple[tuple[KeptTable, ...], tuple[Path, ...]]:
    inside = {path for session in sessions for path in session.files}
    found: list[KeptTable] = []
    unread: list[Path] = []
    for folder, _, names in _walk(root):
        for name in sorted(names):
            path = folder / name
            if path.suffix not in SUFFIXES or path in inside or path.is_symlink():
                continue
            try:
                table = read_table(path)
            except csv.Error:
                unread.append(path)
                continue
            rows = len(table.of(subject)) if table is not None else 0
            found += [KeptTable(path, rows)] * bool(rows)
    return tuple(found), tuple(unread)


def _elsewhere(
    copies: Sequence[Copy], sessions: Sequence[KeptSession], tables: Sequence[KeptTable]
) -> tuple[Copy, ...]:
    """Copies that are not dealt with as part of a session or as a table."""
    paths = [path for session in sessions for path in session.files] + [table.path for table in tables]
    seen = {path.parent.resolve() / path.name for path in paths}  # a link is removed, what it leads to is not
    return tuple(copy for copy in copies if copy.path not in seen)


def _remove(session: KeptSession) -> None:
    for path in session.files:
        path.unlink(missing_ok=True)
    for where, _, _ in os.walk(session.folder, topdown=False):
        folder = Path(where)
        if not any(folder.iterdir()):  # not where another session lies inside
            folder.rmdir()
