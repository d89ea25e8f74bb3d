"""`sfam batch`: every recording below a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from .config import load_config


def batch(
    folder: Annotated[Path, typer.Argument(help="Folder with recordings, at any depth.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="Where session folders and the summary go.")] = Path("batch"),
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Processes at a time; default one a core.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model or artifact folder.")] = None,
    color_only: Annotated[
        bool, typer.Option("--color-only", help="Take ordinary video (mp4, avi ...) too; w is zero and flagged.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
) -> None:
    """Run every recording below a folder; run it again to go on after an interruption.

    A session that was finished with the same settings, model and recording is not run again. OUT gets a session folder
    per recording, summary.csv and summary.html. Exit code 0 where all went well; otherwise that of the first failure
    (3 unreadable recording, 4 model or engine, 5 folder), 130 after Ctrl-C; failures are listed at the end.

    Example: `sfam batch recordings --out results --workers 4`
    """
    from .batch import plan, run_batch
    from .batch_summary import write_summary

    settings = load_config(
        config, os.environ, assignment or (), {"engine.model": model, "capture.color_only": color_only or None}
    )
    tasks = plan(folder, out, settings)
    result = run_batch(tasks, workers or _cores(), lambda line: typer.echo(line, err=True))
    write_summary(result.rows, out)
    for row in result.rows:
        if row.status in ("failed", "not_run"):
            typer.echo(f"{row.status.replace('_', ' ')}: {row.recording}: {row.error}", err=True)
    good = sum(row.status in ("done", "resumed") for row in result.rows)
    typer.echo(f"{good} of {len(result.rows)} recordings done; summary in {out / 'summary.csv'}")
    raise typer.Exit(result.exit_code)


def _cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
