"""Commands on models: `sfam model list | show | check`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .exit_codes import ENGINE

app = typer.Typer(help="Models: which there are, what they are, whether they compute what they should.")


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
) -> None:
    """Print a model's card: training data, limits, licence, decoding.

    Example: `sfam model show synthetic-4`
    """
    from sfam.engine.model import load_model

    model = load_model(name)
    typer.echo(json.dumps(model.description, indent=1) if as_json else model.card())


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
