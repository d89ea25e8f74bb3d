"""Training commands: `sfam train`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from .config import ConfigError


def train(
    preset: Annotated[str, typer.Option("--preset", help="Recipe to run: synthetic-4.")] = "synthetic-4",
    out: Annotated[Path | None, typer.Option("--out", help="Artifact folder to write; default ./NAME.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of data, weights and order.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Processes that render and measure; default one a core.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard events; needs the package tensorboard.")
    ] = None,
    finetune: Annotated[str | None, typer.Option("--finetune", help="Model that goes on learning from --data.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of `sfam features`, two subjects or more.")
    ] = None,
) -> None:
    """Train a model from nothing but the synthetic generator, or let one go on learning from corrected clips.

    Seeded and repeatable, whatever the number of processes; broken off, the same command goes on where it was.
    Fine-tuning says what it was worth: each subject is scored by the old model and by one that learnt from the others
    only.

    Examples: `sfam train --preset synthetic-4 --out my-model`,
    `sfam train --finetune synthetic-4 --data windows --out our-lab`
    """
    if (finetune is None) != (data is None):
        raise ConfigError("--finetune MODEL and --data FOLDER go together")
    if finetune is not None and tensorboard is not None:
        raise ConfigError("--tensorboard goes with a preset; fine-tuning prints its folds")
    if finetune is not None and data is not None:
        _finetune(finetune, data, out or Path(f"{Path(finetune).name}-finetuned"), seed)
        return
    _from_nothing(preset, out or Path(preset), seed, workers, tensorboard)


def _from_nothing(preset: str, out: Path, seed: int, workers: int | None, tensorboard: Path | None) -> None:
    """Run a preset behind a progress bar."""
    from sfam.training.executor import LocalExecutor
    from sfam.training.tensorboard_log import TensorBoardLog
    from sfam.training.train import named_preset, train_preset

    from .progress_bar import progress_bar

    try:
        chosen = named_preset(preset)
        board = None if tensorboard is None else TensorBoardLog(tensorboard)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(str(error)) from error
    with ExitStack() as stack:
        if board is not None:
            stack.enter_context(board)
        bar = stack.enter_context(progress_bar("steps", chosen.steps))

        def tell(step: int, loss: float) -> None:
            bar.at(step + 1)
            if board is not None:
                board.step(step, loss)

        folder = train_preset(preset, out, seed=seed, executor=LocalExecutor(workers), steps=tell, progress=bar.say)
    typer.echo(f"wrote {folder}; run it with: sfam-live --model {folder}")


def _finetune(model: str, data: Path, out: Path, seed: int) -> None:
    """Learn further, and print old against new."""
    from sfam.engine.model import load_model
    from sfam.training.feature_set import read_features
    from sfam.training.finetune import finetune

    from .progress_bar import progress_bar

    clips = read_features(data, load_model(model).window_ms)
    with progress_bar("steps") as bar:
        compared = finetune(model, clips, out, seed=seed, progress=bar.say, steps=bar.at)
    for name, counts in (("old", compared.old), ("new", compared.new)):
        typer.echo(f"{name}: micro F1 {counts.f1:.4f} ({counts.tp} found, {counts.fp} false, {counts.fn} missed)")
    if compared.new.f1 < compared.old.f1:
        typer.echo("the fine-tuned model is WORSE on subjects it has not seen: keep the old one")
    typer.echo(f"wrote {out}; run it with: sfam-live --model {out}")
