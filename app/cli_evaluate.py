"""`sfam evaluate`: what a recipe or published weights are worth on subjects they have never seen."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .config import ConfigError

if TYPE_CHECKING:
    from sfam.training.loso import FoldResult, FoldTold

TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")
BATCHED = "batched"
PUBLISHED_STEPS = (1000, 1024)
"""Steps and batch of the published recipe."""


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
    executor: Annotated[
        str, typer.Option(help="local = processes of this machine, ray = a Ray cluster, batched = folds in one graph.")
    ] = "local",
    workers: Annotated[int | None, typer.Option(min=1, max=1024, help="Processes; default one a core.")] = None,
    folds_at_once: Annotated[
        int, typer.Option(min=1, help="Folds in one graph of --executor batched; each takes about 200 MB.")
    ] = 8,
    gain: Annotated[
        str, typer.Option(help="Factor on all maps for --weights: a number, or auto = fitted without the subject.")
    ] = "1",
    steps: Annotated[int, typer.Option(min=1, help="Training steps of a fold; published: 1000.")] = 1000,
    batch: Annotated[int, typer.Option(min=1, help="Windows of a step; published: 1024.")] = 1024,
    seed: Annotated[int, typer.Option(help="Seed of weights, draws and order.")] = 0,
    draws: Annotated[int, typer.Option(min=1, help="Bootstrap draws of subjects.")] = 1000,
) -> None:
    """Leave one subject out, by the published recipe or with published weights; report.md and report.html in OUT.

    Trained networks lie in OUT/weights; `sfam model import OUT/weights --name NAME` makes a model of them that
    `sfam-live --model NAME` runs. With `--train false` each subject is scored by the fold that was trained without
    them. A fold whose weights are not finite is stopped, named, and in no figure. The scale of the maps that the
    published weights saw was never published: for windows of `sfam features` try `--gain auto`. `--executor batched`
    is for a GPU.

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
    tables = annotation or (data / "annotation" if (data / "annotation").is_dir() else None)
    run = _Run(data, tables, out, emotion, None if retrain else weights, _gain(gain), steps, batch, seed)
    _report(run, _folds_behind_bar(run, executor, workers, folds_at_once), draws)


@dataclass(frozen=True, slots=True)
class _Run:
    """What is evaluated."""

    data: Path
    annotation: Path | None
    out: Path
    classes: int
    weights: Path | None
    """None = every fold is trained."""
    gain: float | None
    steps: int
    batch: int
    seed: int


def _folds_behind_bar(run: _Run, executor: str, workers: int | None, folds_at_once: int) -> list[FoldResult]:
    """Every fold, a line and a step of the bar for each."""
    from sfam.training.loso import fold_line

    from .progress_bar import progress_bar

    with progress_bar("folds") as bar:

        def tell(done: int, total: int, result: FoldResult) -> None:
            bar.at(done, total)
            bar.say(fold_line(done, total, result))

        return _folds(run, executor, workers, folds_at_once, tell)


def _folds(run: _Run, executor: str, workers: int | None, folds_at_once: int, tell: FoldTold) -> list[FoldResult]:
    """Every fold, by the chosen executor."""
    from sfam.training.executor import open_executor
    from sfam.training.loso import run_folds
    from sfam.training.published import PublishedRecipe

    recipe = PublishedRecipe(steps=run.steps, batch=run.batch)
    if executor == BATCHED:
        if run.weights is not None:
            raise ConfigError("--executor batched trains; scoring with --weights runs with local or ray")
        from sfam.training.batched_folds import run_folds_batched

        return run_folds_batched(
            run.data,
            run.out,
            run.classes,
            annotation=run.annotation,
            recipe=recipe,
            seed=run.seed,
            folds_at_once=folds_at_once,
            tell=tell,
        )
    try:
        runner = open_executor(executor, workers)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(str(error)) from error
    return run_folds(
        run.data, run.out, run.classes, runner,
        annotation=run.annotation, weights=run.weights, recipe=recipe, seed=run.seed, gain=run.gain, tell=tell,
    )  # fmt: skip


def _report(run: _Run, folds: list[FoldResult], draws: int) -> None:
    """Score the folds, write the report, print the strict scores."""
    from sfam.engine.fold_origin import write_origin
    from sfam.training.evaluation import evaluate as scores_of
    from sfam.training.folds_origin import folds_origin
    from sfam.training.left_out import left_out
    from sfam.training.loso import WEIGHTS, load_clips
    from sfam.training.report import make_report, synthetic_mark, write_report
    from sfam.training.table_picture import write_pictures

    how = _how(run, folds)
    clips = load_clips(run.data, run.annotation)
    result = scores_of(clips, folds, run.classes, draws=draws, seed=run.seed)
    name, real = _data_name(run.data)
    missing = left_out(run.data, run.annotation, clips)
    written = write_report(make_report(result, folds, name, how, real=real, left_out=missing), run.out)
    written += write_pictures(result, synthetic_mark(name, real), run.out)
    if run.weights is None:
        write_origin(run.out / WEIGHTS, folds_origin(result, folds, name, how, _window_ms(run.data)))
    for score, estimate in result.strict.items():
        typer.echo(f"{score:22} {estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}] strict")
    for subject, reason in result.failed.items():
        typer.echo(f"subject {subject} is in no figure: {reason}", err=True)
    typer.echo(f"wrote {', '.join(str(path) for path in written)}")
    if run.weights is None:
        typer.echo(f"these networks as a model: sfam model import {run.out / WEIGHTS} --name NAME")


def _how(run: _Run, folds: list[FoldResult]) -> str:
    """Training and weights in words."""
    if run.weights is None:
        changed = "" if (run.steps, run.batch) == PUBLISHED_STEPS else " (NOT the published steps and batch)"
        return f"Trained by the published recipe, {run.steps} steps of {run.batch}{changed}, seed {run.seed}."
    gains = sorted(fold.gain for fold in folds if fold.status == "scored")
    said = f"all maps times {run.gain:g}"
    if run.gain is None:
        found = f"{gains[0]:.3g} to {gains[-1]:.3g}" if gains else "none"
        said = f"all maps times a gain fitted for each fold on windows of the other subjects ({found})"
    return (
        f"Scored with the weights in {run.weights}, each subject by its own fold; their map scale was never "
        f"published: {said}."
    )


def _gain(value: str) -> float | None:
    if value == "auto":
        return None
    try:
        gain = float(value)
    except ValueError:
        gain = math.nan
    if not (math.isfinite(gain) and gain > 0):
        raise ConfigError(f"--gain {value}: a number above 0, or auto")
    return gain


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


def _window_ms(data: Path) -> float:
    """Time between the two ends of a window; of the processed files, which do not say it, as of published weights."""
    from sfam.engine.checkpoint import PUBLISHED
    from sfam.training.feature_set import SUMMARY, measured_window_ms

    if not (data / SUMMARY).exists():
        return PUBLISHED.window_ms
    return measured_window_ms(data)
