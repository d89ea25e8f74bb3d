"""`sfam erase`: what is kept of one participant, or past its date, is removed for good."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from .config import ConfigError


def erase(
    folder: Annotated[Path, typer.Argument(help="A session folder, or a folder with sessions and tables.")],
    subject: Annotated[str | None, typer.Option(help="The participant's code, as given with --subject.")] = None,
    expired: Annotated[bool, typer.Option("--expired", help="Sessions past their retention date.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and stop.")] = False,
) -> None:
    """Erase one participant: all files of their sessions, and their rows in other tables below the folder.

    Says what it removes, asks, and leaves a line in erasures.jsonl. Copies elsewhere (backups, other machines that
    listened to the bus, models trained on the data) are not found by it. Files are deleted, not overwritten: keep
    sessions on an encrypted disk.

    Examples: `sfam erase sessions --subject s07`, `sfam erase sessions --expired --yes`
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
    if not found.sessions and not found.tables:
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
    if dry_run:
        typer.echo("nothing was removed (--dry-run)")
        return
    if not yes:
        typer.confirm("Remove all of this for good?", abort=True)
    audit = eraser.erase(found, subject)
    typer.echo(f"removed {found.files} files and {found.rows} table rows; noted in {audit}")
