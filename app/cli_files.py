"""Commands on recordings: `sfam inspect`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from .config import load_config
from .exit_codes import SOURCE


def inspect(
    file: Annotated[Path, typer.Argument(help="A recording: file or folder.")],
    deep: Annotated[bool, typer.Option("--deep", help="Decode every frame and hash it.")] = False,
    color_only: Annotated[bool, typer.Option("--color-only", help="Accept input without depth, as live does.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
) -> None:
    """Say what a recording holds and whether a run could use it.

    Examples: `sfam inspect session.bag --json`, `sfam inspect clip --set capture.depth_unit_m=0.001`
    """
    from sfam.capture.inspection import inspect as inspect_recording

    flags: dict[str, object] = {"capture.camera": str(file), "capture.color_only": color_only or None}
    settings = load_config(config, os.environ, assignment or (), flags)
    report = inspect_recording(file, deep, settings.capture)
    content = report.to_json()
    if as_json:
        typer.echo(json.dumps(content, indent=1))
    else:
        typer.echo(_in_words(file, content))
    if report.error:
        typer.echo(f"sfam: {report.error}", err=True)
        raise typer.Exit(SOURCE)


def _in_words(file: Path, content: dict[str, object]) -> str:
    lines = [f"{file}: {content['container']}"]
    summary = ("writer", "duration_s", "fps", "clock_domain", "segments", "pairs", "recovered", "depth_unit_m")
    lines += [f"  {key:13} {content[key]}" for key in summary]
    streams = content["streams"]
    assert isinstance(streams, list)
    for stream in streams:
        size = f"{stream['width']}x{stream['height']}"
        timing = f", {stream['fps']} fps, clock {stream['clock_domain']}" if stream["fps"] else ""
        lines.append(
            f"  stream        {stream['name']}: {stream['encoding']} {size}, {stream['frames']} frames{timing}"
        )
        if stream.get("sha256"):
            lines.append(f"                sha256 {stream['sha256']}")
        lines += [f"                gap {gap}" for gap in stream["gaps"]]
    for key in ("duplicates", "warnings"):
        found = content[key]
        assert isinstance(found, list)
        lines += [f"  {key:13} {entry}" for entry in found]
    return "\n".join(lines)
