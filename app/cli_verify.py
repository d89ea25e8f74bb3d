"""`sfam verify`: proof that nothing but the recording decides the results."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from .config import load_config
from .exit_codes import VERIFICATION, exit_code


def verify(
    path: Annotated[Path, typer.Argument(help="A recording, or a session folder.")],
    speed: Annotated[float, typer.Option(help="Speed of the paced replay.")] = 8.0,
    file: Annotated[Path | None, typer.Option(help="Where the session's recording lies, if it was moved.")] = None,
    model: Annotated[str | None, typer.Option(help="For a recording: model or artifact folder.")] = None,
    config: Annotated[Path | None, typer.Option(help="For a recording: YAML file with settings.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Replay at two speeds, in one and several processes and on two backends, and compare the tables.

    scores.csv and events.csv must be equal byte for byte; between backends scores may differ by 1e-4 and
    probabilities by 1e-3. A session is also compared with its own tables: frames that it did not analyse are left out
    of the replays. Exit code 6 where anything differs, 3 where the recording cannot be read.

    Examples: `sfam verify interview.bag`, `sfam verify sessions/20260301_101500`
    """
    from .replay import ReplayError
    from .verify import subject
    from .verify import verify as run

    what = subject(path, load_config(config, os.environ, assignment or (), {"engine.model": model}), file)
    for note in what.notes:
        typer.echo(f"note: {note}", err=True)
    try:
        comparisons = run(what, speed, tell=lambda line: typer.echo(line, err=True))
    except ReplayError as error:
        typer.echo(f"sfam: {error}", err=True)
        raise typer.Exit(exit_code(list(error.error_names)) or 1) from error
    ok = all(comparison.ok for comparison in comparisons)
    if as_json:
        report = {"ok": ok, "notes": list(what.notes), "comparisons": [one.to_json() for one in comparisons]}
        typer.echo(json.dumps(report, indent=1))
    else:
        for one in comparisons:
            typer.echo(f"{one.name}: {one}")
    if not ok:
        raise typer.Exit(VERIFICATION)
