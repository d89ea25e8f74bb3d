"""`sfam features`: windows of a whole data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfam.sinks.sink_error import SinkError

from .config import ConfigError, load_config

if TYPE_CHECKING:
    from sfam.training.dataset import DataSet
    from sfam.training.features import ClipRecord


def features(
    dataset: Annotated[Path, typer.Argument(help="CAS(ME)^3 tree, corrected sessions, or a corpus of `sfam synth`.")],
    out: Annotated[Path, typer.Argument(help="Folder for windows; an earlier run in it goes on.")],
    annotation: Annotated[
        Path | None, typer.Option(help="Folder of the annotation tables; default DATASET/annotation, then DATASET.")
    ] = None,
    executor: Annotated[str, typer.Option(help="local = processes of this machine, ray = a Ray cluster.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, max=1024, help="Processes; default one a core.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
) -> None:
    """Measure every clip of a data set with the code that runs live; run it again to go on after an interruption.

    Clips that were measured before, of the same bytes, annotation and settings, are not measured again. OUT gets a
    folder per clip, index.csv, findings.csv (everything odd in data and annotation) and features.json, written last.
    Exit code 3 where a clip could not be measured; the others are done.

    Example: `sfam features CASME3 windows --annotation CASME3/annotation`
    """
    from sfam.training.executor import open_executor
    from sfam.training.feature_set import write_features

    from .progress_bar import progress_bar

    settings = load_config(None, os.environ, assignment or (), {})
    data = _open(dataset, annotation, settings.capture.depth_unit_m)
    try:
        runner = open_executor(executor, workers)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(str(error)) from error
    with progress_bar("clips", len(data.clips)) as bar:

        def tell(record: ClipRecord | None, error: str) -> None:
            bar.advance()
            if record is None:
                bar.say(f"failed: {error}")

        try:
            run = write_features(data, out, settings.stream, runner, tell)
        except OSError as error:
            said = f"{out}: cannot be written ({error}); make room and run the same command again: what is done stays"
            raise SinkError(said) from error
    windows = sum(record.windows for record in run.records)
    resumed = sum(record.resumed for record in run.records)
    dropped = sum(not finding.kept for finding in data.findings)
    typer.echo(f"{data.name}: {len(run.records)} clips ({resumed} from before), {windows} windows in {out}")
    typer.echo(f"{len(data.findings)} findings about data and annotation, {dropped} of them not usable: findings.csv")
    if run.failed:
        typer.echo(f"{len(run.failed)} clips failed; the first: {next(iter(run.failed.values()))}", err=True)
        raise typer.Exit(3)


def _open(dataset: Path, annotation: Path | None, depth_unit_m: float | None) -> DataSet:
    """The data set that a folder holds."""
    from sfam.sinks.session_folder import SESSION
    from sfam.training.casme3 import DEPTH_UNIT_M, read_casme3
    from sfam.training.session_set import read_sessions
    from sfam.training.synthetic_corpus import is_corpus, read_corpus

    if is_corpus(dataset):
        return read_corpus(dataset)
    if next(dataset.rglob(SESSION), None) is not None:
        return read_sessions(dataset)
    return read_casme3(dataset, annotation, depth_unit_m or DEPTH_UNIT_M)
