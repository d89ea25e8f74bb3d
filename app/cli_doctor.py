"""`sfam doctor`: the machine, line by line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from .config import load_config
from .exit_codes import VERIFICATION

MARKS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor(
    camera: Annotated[
        list[str] | None, typer.Option("--camera", help="The camera of the planned session; may be repeated.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with the planned settings.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check this machine for a session with the given settings; each line is ok, warn or fail with what to do.

    Exit code 0 where nothing failed (warnings allowed), 6 otherwise.

    Example: `sfam doctor --camera realsense`
    """
    from .doctor import examine, fit

    named = camera or []
    flags = {"capture.camera": named[0] if named else None, "app.cameras": tuple(named[1:]) or None}
    settings = load_config(config, os.environ, assignment or (), flags)
    lines = examine(settings)
    if as_json:
        typer.echo(json.dumps({"ok": fit(lines), "lines": [line.to_json() for line in lines]}, indent=1))
    else:
        for line in lines:
            typer.echo(f"{typer.style(line.state.ljust(4), fg=MARKS[line.state])}  {line.name.ljust(16)}  {line.found}")
            if line.remedy:
                typer.echo(f"{'':24}-> {line.remedy}")
    if not fit(lines):
        raise typer.Exit(VERIFICATION)
