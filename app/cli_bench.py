"""`sfam bench`: the stage table and the ratios, measured side by side in one run."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .exit_codes import USAGE


class Subject(StrEnum):
    """What can be measured."""

    FLOW = "flow"
    ENGINE = "engine"
    REPLAY = "replay"
    CAPACITY = "capacity"


def bench(
    subject: Annotated[Subject, typer.Argument(help="flow, engine, replay or capacity.")] = Subject.REPLAY,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="flow: archive with exact flow to score against.")
    ] = None,
    mode: Annotated[str, typer.Option("--mode", help="flow: fast or quality.")] = "fast",
    methods: Annotated[
        Path | None,
        typer.Option("--methods", help="flow: compare every method; table and picture go into this folder."),
    ] = None,
    save: Annotated[Path | None, typer.Option("--save", help="flow: write the estimates to this .npz.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="replay: recording to run; default a demo scene.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure on this machine; ratios compare things timed in the same run.

    Examples: `sfam bench flow --truth flow_pairs.npz --mode fast --json`, `sfam bench flow --methods out`
    """
    if (truth or save or methods) and subject is not Subject.FLOW:
        typer.echo("sfam: --truth, --methods and --save belong to `sfam bench flow`", err=True)
        raise typer.Exit(USAGE)
    if methods:
        _compare(truth, methods, as_json)
        return
    report = _measure(subject, truth, mode, save, file)
    typer.echo(json.dumps(report, indent=1) if as_json else _table(report))


def _measure(
    subject: Subject, truth: Path | None, mode: str, save: Path | None, file: Path | None
) -> dict[str, object]:
    if subject is Subject.FLOW:
        from .bench_flow import bench_flow

        return bench_flow(truth=truth, mode=mode, save=save)
    if subject is Subject.ENGINE:
        from .bench_engine import bench_engine

        return bench_engine()
    if subject is Subject.CAPACITY:
        from .bench_capacity import bench_capacity

        return bench_capacity()
    from .bench_replay import bench_replay

    return bench_replay(file)


def _compare(truth: Path | None, out: Path, as_json: bool) -> None:
    """Every method side by side."""
    from .bench_flow_methods import markdown, write_comparison

    rows = write_comparison(truth, out)
    typer.echo(json.dumps([asdict(row) for row in rows], indent=1) if as_json else markdown(rows))


def _table(report: dict[str, object]) -> str:
    lines = [f"machine: {report['machine']}"]
    stages = report["stages"]
    assert isinstance(stages, dict)
    lines += [
        f"  {name:16} {row['median_ms']:9.3f} ms median {row['p99_ms']:9.3f} ms p99" for name, row in stages.items()
    ]
    for part in ("ratios", "accuracy"):
        values = report.get(part)
        if isinstance(values, dict):
            lines += [
                f"  {part[:-1] if part == 'ratios' else part}: {name} = {value:.4g}" for name, value in values.items()
            ]
    return "\n".join(lines)
