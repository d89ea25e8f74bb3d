"""Commands on models: `sfam model list | show | import | export | compile | check | distill`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import cli_model_files
from .config import ConfigError
from .exit_codes import ENGINE

if TYPE_CHECKING:
    from sfam.engine.model import ModelArtifact
    from sfam.engine.response import GainFit

app = typer.Typer(help="Models: which there are, what they are, whether they compute what they should.")


app.command("export")(cli_model_files.export)
app.command("compile")(cli_model_files.compile_plans)


@app.command("list")
def list_models(as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False) -> None:
    """List the models that `--model NAME` finds.

    Example: `sfam model list`
    """
    from sfam.engine.model import installed_models, load_model

    models = [load_model(name) for name in installed_models()]
    if as_json:
        typer.echo(json.dumps([{"name": m.name, "path": str(m.path), "sha256": m.sha256} for m in models], indent=1))
        return
    for model in models:
        typer.echo(f"{model.name:16} {len(model.classes)} classes  {model.path}")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A model's name or artifact folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="model.json as it is.")] = False,
    response: Annotated[bool, typer.Option("--response", help="Also how the score answers to input size.")] = False,
) -> None:
    """Print a model's card: training data, limits, licence, decoding.

    Example: `sfam model show synthetic-4 --response`
    """
    from sfam.engine.model import load_model

    model = load_model(name)
    typer.echo(json.dumps(dict(model.description), indent=1) if as_json else model.card())
    if response:
        typer.echo(_response_table(model))


def _response_table(model: ModelArtifact) -> str:
    """Score of smooth fields by channel and size, with a bar for the eye."""
    from sfam.engine.backend import open_backend
    from sfam.engine.config import EngineConfig
    from sfam.engine.response import response_to_scale

    rows = response_to_scale(open_backend(EngineConfig(model=str(model.path)), model))
    lines = ["", "score of smooth fields in one channel, the others at rest (rms px, w in mm):"]
    lines += [
        f"  {row.channel} {row.amplitude:6.2f}  mean {row.mean:.3f}  highest {row.highest:.3f}  "
        + "#" * round(40 * row.mean)
        for row in rows
    ]
    return "\n".join(lines)


@app.command("import")
def import_model(
    path: Annotated[Path, typer.Argument(help="A checkpoint, or a folder of leave-one-subject-out checkpoints.")],
    name: Annotated[str, typer.Option("--name", help="Name for --model.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write it under; default the user's models.")
    ] = None,
    folds: Annotated[int | None, typer.Option(min=1, help="Of a folder: use so many, spread evenly.")] = None,
    exclude_subject: Annotated[str | None, typer.Option(help="Leave out the fold of this subject.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a folder with an unusable file.")] = False,
    gain: Annotated[float, typer.Option(min=1e-6, help="u, v, w are multiplied by this.")] = 1.0,
    gain_w: Annotated[float | None, typer.Option(min=0.0, help="w is multiplied by this instead.")] = None,
    gain_from: Annotated[Path | None, typer.Option(help="Fit the gain on this recording instead.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model of the same name.")] = False,
) -> None:
    """Turn SFAMNet checkpoints, published ones or those of `sfam evaluate`, into a model that `--model NAME` runs.

    Nothing in a checkpoint is ever executed. What `sfam evaluate` trained brings its own data, scores and window length
    along, and needs no gain. The scale of the published networks' input was never stated: see
    `sfam model show NAME --response`, `--gain` and `--gain-from`.

    Examples: `sfam model import SFAMNet/pretrained_weights/4emo --name liong-4 --folds 8`,
    `sfam model import evaluation/weights --name ours-4 --folds 8`
    """
    from sfam.engine.checkpoint import import_checkpoints
    from sfam.engine.model import user_models_folder

    folder = (out or user_models_folder()) / name
    if folder.exists() and not force:
        raise ConfigError(f"model folder {folder} exists; choose another --name, or --force to replace it")
    fit = None if gain_from is None else _fitted_gain(path, name, gain_from, folds, exclude_subject)
    report = import_checkpoints(
        path,
        name,
        folder,
        folds=folds,
        exclude_subject=exclude_subject,
        strict=strict,
        gain=(gain, gain, gain if gain_w is None else gain_w) if fit is None else fit.channels,
        gain_note="" if fit is None or gain_from is None else f"{fit.text} ({gain_from.name})",
        overwrite=force,
    )
    for file, reason in report.skipped.items():
        typer.echo(f"skipped {file}: {reason}", err=True)
    typer.echo(
        f"wrote {folder}: {len(report.used)} networks; run it with: sfam-live --model {name if out is None else folder}"
    )


def _fitted_gain(path: Path, name: str, recording: Path, folds: int | None, exclude_subject: str | None) -> GainFit:
    """Gains under which the score spans its range on a recording."""
    import tempfile

    from sfam.engine.backend import open_backend
    from sfam.engine.checkpoint import import_checkpoints
    from sfam.engine.config import EngineConfig
    from sfam.engine.response import fit_gain

    from .windows_of import windows_of

    with tempfile.TemporaryDirectory() as scratch:
        report = import_checkpoints(path, name, Path(scratch) / name, folds=folds, exclude_subject=exclude_subject)
        backend = open_backend(EngineConfig(model=str(report.artifact.path)), report.artifact)
        fit = fit_gain(backend, windows_of(recording))
    typer.echo(fit.text, err=True)
    return fit


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="A model's name or artifact folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Run the stored parity vectors on every backend present; exit 4 on a mismatch.

    Example: `sfam model check synthetic-4`
    """
    from sfam.engine.backend import check_all_backends
    from sfam.engine.model import load_model

    reports = check_all_backends(load_model(name))
    if as_json:
        typer.echo(json.dumps(reports, indent=1))
    else:
        for backend, report in reports.items():
            typer.echo(f"{backend:12} {report}")
    if any(not report["ok"] for report in reports.values() if report["present"]):
        raise typer.Exit(ENGINE)


@app.command("distill")
def distill(
    name: Annotated[str, typer.Argument(help="Model to imitate, usually an ensemble: a name or artifact folder.")],
    out: Annotated[Path, typer.Option("--out", help="Artifact folder to write.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of `sfam features`; without it smooth random fields.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 1500,
    seed: Annotated[int, typer.Option(help="Seed of weights, split and draws.")] = 0,
) -> None:
    """Train one small network to answer as a model does, and say how well it does so on windows held back.

    Example: `sfam model distill liong-4 --data windows --out liong-4-small`
    """
    from sfam.engine.model import load_model
    from sfam.training.distill import DistillRecipe, distill
    from sfam.training.feature_set import read_features

    clips = read_features(data, load_model(name).window_ms) if data is not None else ()
    agreed = distill(name, out, clips, recipe=DistillRecipe(steps=steps), seed=seed)
    typer.echo(
        f"on {agreed.windows} windows held back of {agreed.data}: score RMSE {agreed.rmse:.4f}, differs by "
        f"{agreed.mean_difference:.4f} on average, {agreed.largest_difference:.4f} at most; same class for "
        f"{100 * agreed.same_class:.1f} %"
    )
    if agreed.event_f1 is None:
        typer.echo("events were not compared: that takes the windows of at least 5 clips (--data)")
    else:
        typer.echo(f"event F1 {agreed.event_f1:.3f} against {agreed.events} events of {name} on clips held back")
    typer.echo(f"wrote {out}; run it with: sfam-live --model {out}")
