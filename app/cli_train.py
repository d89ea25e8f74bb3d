"""Training commands: `sfam train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    preset: Annotated[str, typer.Option("--preset", help="Recipe to run: synthetic-4.")] = "synthetic-4",
    out: Annotated[Path | None, typer.Option("--out", help="Artifact folder to write; default ./NAME.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of data, weights and order.")] = 0,
) -> None:
    """Train a model from nothing but the synthetic generator, seeded and repeatable.

    Example: `sfam train --preset synthetic-4 --out my-model`
    """
    from sfam.training.train import train_preset

    folder = train_preset(preset, out or Path(preset), seed=seed, progress=lambda line: typer.echo(line, err=True))
    typer.echo(f"wrote {folder}; run it with: sfam-live --model {folder}")
