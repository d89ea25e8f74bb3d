"""`sfam report`: one page about a session."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    session: Annotated[Path, typer.Argument(help="Session folder.")],
    out: Annotated[Path | None, typer.Option(help="The page; default report.html in the folder.")] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Faces around events; only kept at privacy tier full.")
    ] = True,
) -> None:
    """Write report.html: score trace with events, drops, latency, noise floor, model card, and a review of each event.

    The page is one file, works offline and prints. The review is saved as the CSV that training reads.

    Example: `sfam report sessions/20260301_101500`
    """
    from sfam.sinks.report import REPORT, write_report
    from sfam.sinks.session_reader import read_summary

    from .copies_made import CopiesMade

    page, subject = out or session / REPORT, str(read_summary(session)["subject"])
    copies = CopiesMade(session, subject, lambda text: typer.echo(f"warning: {text}", err=True))
    copies.begun("report", page)
    write_report(session, page, pictures=pictures)
    copies.made("report", page, [page])
    typer.echo(page)
