"""`sfam erase`: what is kept of one participant, or past its date, is removed for good."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .config import ConfigError

if TYPE_CHECKING:
    from sfam.sinks.copies import CopyState


def erase(
    folder: Annotated[Path, typer.Argument(help="A session folder, or a folder with sessions and tables.")],
    subject: Annotated[str | None, typer.Option(help="The participant's code, as given with --subject.")] = None,
    expired: Annotated[bool, typer.Option("--expired", help="Sessions past their retention date.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    copies: Annotated[
        bool, typer.Option("--copies", help="Remove listed copies elsewhere too, where they are as they were made.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and stop.")] = False,
) -> None:
    """Erase one participant: all files of their sessions, and their rows in other tables below the folder.

    Says what it removes, asks, and leaves a line in erasures.jsonl. Exports, reports and files of the MCAP and Rerun
    sinks that lie elsewhere are named, and with --copies removed; what was changed or replaced since is only named.
    Backups, other machines that listened to the bus and what was learnt from the data (features, calibrations, models)
    are not found. Files are deleted, not overwritten: keep sessions on an encrypted disk.

    Examples: `sfam erase sessions --subject s07 --copies`, `sfam erase sessions --expired --yes`
    """
    from sfam.sinks import erasure as eraser

    if (subject is None) == (not expired):
        raise ConfigError("sfam erase: name a participant with --subject, or ask for --expired; one of the two")
    if not folder.is_dir():
        raise ConfigError(f"sfam erase: {folder} is no folder; give a session folder or one that holds sessions")
    if subject is not None:
        found = eraser.of_subject(folder, subject)
    else:
        found = eraser.of_expired(folder, datetime.now(UTC).date().isoformat())
    if not found.sessions and not found.tables and not found.copies and not found.unread:
        if subject is None:
            typer.echo(f"nothing below {folder} is past its retention date")
            return
        raise ConfigError(f"sfam erase: nothing of subject {subject!r} below {folder}; look at session.json for codes")
    for session in found.sessions:
        size = f"{session.size_bytes / 1e6:.1f} MB"
        typer.echo(f"session {session.session} of {session.subject}: {len(session.files)} files, {size}")
        for path in session.files:
            typer.echo(f"  {path}")
    for table in found.tables:
        typer.echo(f"table {table.path}: {table.rows} rows")
    for path in found.unread:
        typer.echo(f"{path} stays, for it cannot be read as a table; look at it, and remove it by hand")
    for copy in found.copies:
        typer.echo(f"{copy.what} {copy.path}: {_fate(copy.state, copies)}")
    if dry_run:
        typer.echo("nothing was removed (--dry-run)")
        return
    if not yes:
        typer.confirm("Remove all of this for good?", abort=True)
    removed = found.files + (len(found.whole_copies) if copies else 0)
    audit = eraser.erase(found, subject, copies=copies)
    typer.echo(f"removed {removed} files and {found.rows} table rows; noted in {audit}")


def _fate(state: CopyState, copies: bool) -> str:
    """What is done with a copy, or left for the operator to do."""
    if state == "whole":
        return "will be removed" if copies else "stays; --copies removes it"
    return {
        "changed": "stays, for it was changed or replaced since; look at it, and remove it by hand",
        "unfinished": "stays, for it is not known what was written there; look, and remove it by hand",
        "gone": "is not there any more; if it was moved, remove it by hand",
    }[state]
