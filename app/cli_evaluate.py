"""`sfam evaluate`: what a recipe or published weights are worth on subjects they have never seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .config import ConfigError

TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")


def evaluate(
    data: Annotated[
        Path, typer.Argument(help="Folder of `sfam features`, or with the authors' processed_data.")
    ] = Path(),
    protocol: Annotated[str, typer.Option(help="loso: leave one subject out.")] = "loso",
    train: Annotated[str, typer.Option(help="true retrains every fold, false scores with --weights.")] = "true",
    emotion: Annotated[int, typer.Option(help="Emotion classes: 4 or 7.")] = 4,
    weights: Annotated[Path | None, typer.Option(help="Folder of subject_<number>.pkl, or of 4emo and 7emo.")] = None,
    annotation: Annotated[Path | None, typer.Option(help="Folder of both tables; default DATA/annotation.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for folds, weights and report; a run in it goes on.")] = Path(
        "evaluation"
    ),
    executor: Annotated[str, typer.Option(help="local = processes of this machine, ray = a Ray cluster.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, max=1024, help="Processes; default one a core.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of a fold; published: 1000.")] = 1000,
    batch: Annotated[int, typer.Option(min=1, help="Windows of a step; published: 1024.")] = 1024,
    seed: Annotated[int, typer.Option(help="Seed of weights, draws and order.")] = 0,
    draws: Annotated[int, typer.Option(min=1, help="Bootstrap draws of subjects.")] = 1000,
) -> None:
    """Leave one subject out, by the published recipe or with published weights; report.md and report.html in OUT.

    With `--train false` each subject is scored by the fold that was trained without them. A fold whose weights are not
    finite is stopped, named, and in no figure.

    Examples: `sfam evaluate windows --train true --emotion 4`,
    `sfam evaluate . --train false --emotion 7 --weights pretrained_weights`
    """
    if protocol != "loso":
        raise ConfigError(f"--protocol {protocol}: only loso (leave one subject out) is known")
    if emotion not in (4, 7):
        raise ConfigError(f"--emotion {emotion}: the published sets have 4 or 7 classes")
    retrain = _truth("--train", train)
    if not retrain and weights is None:
        raise ConfigError("--train false scores with existing folds: give their folder with --weights")
    from sfam.training.evaluation import evaluate as scores_of
    from sfam.training.executor import open_executor
    from sfam.training.loso import load_clips, run_folds
    from sfam.training.published import PublishedRecipe
    from sfam.training.report import make_report, write_report

    try:
        runner = open_executor(executor, workers)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(str(error)) from error
    tables = annotation or (data / "annotation" if (data / "annotation").is_dir() else None)
    recipe = PublishedRecipe(steps=steps, batch=batch)
    folds = run_folds(
        data, out, emotion, runner,
        annotation=tables, weights=None if retrain else weights, recipe=recipe, seed=seed,
        tell=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    result = scores_of(load_clips(data, tables), folds, emotion, draws=draws, seed=seed)
    name, real = _data_name(data)
    changed = "" if recipe == PublishedRecipe() else " (NOT the published steps and batch)"
    how = (
        f"Trained by the published recipe, {steps} steps of {batch}{changed}, seed {seed}."
        if retrain
        else f"Scored with the weights in {weights}, each subject by its own fold; their map scale was never published."
    )
    written = write_report(make_report(result, folds, name, how, real=real), out)
    for score, estimate in result.strict.items():
        typer.echo(f"{score:22} {estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}] strict")
    for subject, reason in result.failed.items():
        typer.echo(f"subject {subject} is in no figure: {reason}", err=True)
    typer.echo(f"wrote {' and '.join(str(path) for path in written)}")


def _truth(option: str, value: str) -> bool:
    if value.lower() not in (*TRUE, *FALSE):
        raise ConfigError(f"{option} {value}: true or false")
    return value.lower() in TRUE


def _data_name(data: Path) -> tuple[str, bool]:
    """What the data are, and whether they are CAS(ME)^3 itself."""
    from sfam.training.casme3 import NAME
    from sfam.training.feature_set import SUMMARY

    if not (data / SUMMARY).exists():
        return f"the authors' processed files of {NAME}", True
    name = str(json.loads((data / SUMMARY).read_text(encoding="utf-8"))["data_set"])
    return name, name == NAME
