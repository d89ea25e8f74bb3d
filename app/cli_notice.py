"""`sfam notice`: the information sheet for participants."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .config import load_config


class Lang(StrEnum):
    """Language of the notice."""

    EN = "en"
    DE = "de"


def notice(
    lang: Annotated[Lang, typer.Option(help="en or de.")] = Lang.EN,
    out: Annotated[Path | None, typer.Option(help="Markdown file to write; default standard output.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with the session's settings.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
    privacy: Annotated[str | None, typer.Option(help="results, flow, blurred or full.")] = None,
    subject: Annotated[str | None, typer.Option(help="The participant's code.")] = None,
    contact: Annotated[str | None, typer.Option(help="Whom the participant can ask.")] = None,
    retention_days: Annotated[int | None, typer.Option(help="Days until the data is erased.")] = None,
) -> None:
    """Write what participants must be told, from the settings that the session will run with.

    Names what is recorded, the privacy tier, retention, contact and the model's limits. Give it the same --config and
    --set as the session. It is a draft for your ethics file, not legal advice.

    Example: `sfam notice --lang de --privacy flow --contact "labor@example.org" --retention-days 365 --out notice.md`
    """
    from sfam.engine.model import load_model

    from .notice import participant_notice

    flags = {
        "sinks.privacy": privacy,
        "app.subject": subject,
        "sinks.contact": contact,
        "sinks.retention_days": retention_days,
    }
    settings = load_config(config, os.environ, assignment or (), flags)
    text = participant_notice(settings, load_model(settings.engine.model), lang.value)
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8", newline="\n")
        typer.echo(f"wrote {out}")
