"""`sfam export`: a session in the form that other tools read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .config import ConfigError


class Format(StrEnum):
    """Whose form."""

    MEGC = "megc"
    BIDS = "bids"
    BORIS = "boris"
    ELAN = "elan"
    OPENFACE = "openface"
    MCAP = "mcap"
    RERUN = "rerun"


def export(
    session: Annotated[Path, typer.Argument(help="A session folder.")],
    form: Annotated[Format, typer.Option("--format", help="megc, bids, boris, elan, openface, mcap or rerun.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to; default SESSION/export.")] = None,
    index_base: Annotated[int, typer.Option(min=0, max=1, help="megc: number of the first frame.")] = 0,
    macro: Annotated[bool, typer.Option("--macro", help="megc: macro-expressions too.")] = False,
    media: Annotated[Path | None, typer.Option(help="boris, elan: the video to link.")] = None,
    media_offset_s: Annotated[float, typer.Option(help="boris, elan: the first frame's place in it.")] = 0.0,
) -> None:
    """Write a session's results for another tool.

    The session's folder keeps a list of what was written elsewhere, for `sfam erase`.

    Example: `sfam export sessions/20260101_120000 --format elan --media interview.mp4`
    """
    from sfam.sinks.export_bids import DATASET_FILES, export_bids
    from sfam.sinks.export_boris import export_boris
    from sfam.sinks.export_elan import export_elan
    from sfam.sinks.export_mcap import export_mcap
    from sfam.sinks.export_megc import export_megc
    from sfam.sinks.export_openface import export_openface
    from sfam.sinks.session_reader import read_session

    from .copies_made import CopiesMade
    from .export_rerun import export_rerun, recorded_frames

    linked = form in (Format.BORIS, Format.ELAN)
    if (media is not None or media_offset_s) and not linked:
        raise ConfigError(f"--media belongs to --format boris and elan, not {form.value}")
    record, folder = read_session(session), out or session / "export"
    copies = CopiesMade(session, record.subject, lambda text: typer.echo(f"warning: {text}", err=True))
    copies.begun(f"{form.value} export", folder)
    if form is Format.MEGC:
        written = export_megc(record, folder, index_base=index_base, kinds=("micro", "macro") if macro else ("micro",))
    elif form is Format.BIDS:
        written = export_bids(record, folder)
    elif form is Format.OPENFACE:
        written = export_openface(record, folder)
    elif form is Format.MCAP:
        written = export_mcap(record, folder, recorded_frames(record))
    elif form is Format.RERUN:
        written = export_rerun(record, folder)
    else:
        with_media = export_boris if form is Format.BORIS else export_elan
        written = with_media(record, folder, media, media_offset_s)
    copies.made(f"{form.value} export", folder, [path for path in written if path.name not in DATASET_FILES])
    for path in written:
        typer.echo(f"wrote {path}")
