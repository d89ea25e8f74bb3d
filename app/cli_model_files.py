"""Commands that write a model's files: `sfam model export | compile`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from .config import ConfigError


def export(
    name: Annotated[str, typer.Argument(help="A model's name or artifact folder.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    checkpoints: Annotated[
        bool,
        typer.Option("--checkpoints", help="Also one .safetensors per network, named as the authors name weights."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the folder.")] = False,
) -> None:
    """Copy a model to a folder that runs anywhere: graph, weights, description, stored outputs, sha256 of each file.

    The copy is opened and checked against its stored outputs before it appears; `--model FOLDER` runs it.

    Example: `sfam model export liong-4 --out liong-4`
    """
    from sfam.engine.model import load_model
    from sfam.engine.model_export import export_model

    if out.exists() and not force:
        raise ConfigError(f"{out} exists; choose another --out, or --force to replace it")
    model = load_model(name)
    for file, digest in export_model(model, out, checkpoints=checkpoints).items():
        typer.echo(f"{digest}  {file}")
    typer.echo(f"wrote {out}; licence: {model.licence}", err=True)


def compile_plans(
    name: Annotated[str, typer.Argument(help="A model's name or artifact folder.")],
    capability: Annotated[
        list[str] | None,
        typer.Option(
            "--capability", help="Compute capability to compile for, such as 8.9; repeatable; default this GPU."
        ),
    ] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="Name of that GPU, as its driver says it.")] = None,
    precision: Annotated[str, typer.Option("--precision", help="fp32 or fp16.")] = "fp32",
    cache: Annotated[Path | None, typer.Option("--cache", help="Folder; default the user's cache folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """Compile a model for an NVIDIA GPU ahead of time, so that no session waits for it.

    Without --capability for the GPU of this machine, whose sessions then find the plan. With it also for another
    machine's GPU, without any GPU here; copy the cache folder there.

    Example: `sfam model compile liong-4`, `sfam model compile liong-4 --capability 8.9 --gpu "NVIDIA L4" --cache plans`
    """
    if precision not in ("fp32", "fp16"):
        raise ConfigError(f"--precision {precision}: choose fp32 or fp16")
    from sfam.engine.model import load_model

    model = load_model(name)
    targets = [(gpu or "any GPU", each) for each in capability or ()] or [_this_gpu()]
    rows = []
    for of, each in targets:
        plan, key = _compiled(model, of, each, precision, cache)
        rows.append({**asdict(key), "action": plan.action, "reason": plan.reason, "bytes": len(plan.data)})
        if not as_json:
            why = f" ({plan.reason})" if plan.reason else ""
            typer.echo(f"{plan.action} for {of}, SM {each}, {precision}: {len(plan.data)} bytes, {key.library}{why}")
    if as_json:
        typer.echo(json.dumps(rows, indent=1))


def _this_gpu() -> tuple[str, str]:
    from sfam.engine.cuda_buffers import describe_gpu

    return describe_gpu()


def _compiled(model: Any, gpu: str, capability: str, precision: str, cache: Path | None) -> tuple[Any, Any]:
    from sfam.engine.tensorrt_plan import key_of, plan_for

    return plan_for(model, gpu, capability, cache, precision), key_of(model, gpu, capability, precision)
