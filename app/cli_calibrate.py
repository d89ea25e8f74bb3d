"""`sfam calibrate`: a participant's neutral face gives a threshold in false alarms per hour."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from .config import ConfigError, load_config


def calibrate(
    camera: Annotated[str, typer.Option("--camera", "--input", help="As for sfam live: a camera or a recording.")],
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to watch, in capture time.")] = 60.0,
    per_hour: Annotated[float, typer.Option("--per-hour", help="At most so many false alarms per hour.")] = 60.0,
    out: Annotated[Path, typer.Option("--out", help="File to write, for sfam live --calibration.")] = Path(
        "calibration.json"
    ),
    model: Annotated[str | None, typer.Option(help="The model of the sessions to come.")] = None,
    subject: Annotated[str | None, typer.Option(help="Whose baseline it is.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings; see config.yaml.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The written file, on standard output.")] = False,
) -> None:
    """Find the threshold that keeps to a rate of false alarms, from a baseline of the participant's neutral face.

    Nothing may happen in the baseline: every alarm in it counts as false. Says so when the baseline is too short to
    promise the wanted rate; a rate of N per hour takes at least 3 / N hours without an alarm.

    Example: `sfam calibrate --camera realsense --seconds 300 --per-hour 60 --out anna.json`, then
    `sfam-live --calibration anna.json`
    """
    if not per_hour > 0:
        raise ConfigError(f"--per-hour {per_hour:g}: must be above 0")
    flags: dict[str, object] = {"capture.camera": camera, "engine.model": model, "app.subject": subject}
    settings = load_config(config, os.environ, assignment or (), flags)
    from .calibrate import run_calibration

    found = run_calibration(settings, seconds, per_hour, out, lambda text: typer.echo(text, err=True))
    if as_json:
        typer.echo(json.dumps(json.loads(out.read_text(encoding="utf-8"))))
        return
    typer.echo(found.text)
    typer.echo(f"wrote {out}; use it with: sfam-live --calibration {out}")
