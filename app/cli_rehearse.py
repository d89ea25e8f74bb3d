"""`sfam rehearse`: would the planned session work."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .config import Config, load_config
from .exit_codes import VERIFICATION

if TYPE_CHECKING:
    from .rehearsal import Rehearsed, Verdict


def rehearse(
    seconds: Annotated[float, typer.Argument(min=1.0, help="How long.")] = 60.0,
    camera: Annotated[str | None, typer.Option(help="The camera of the planned session.")] = None,
    record: Annotated[str | None, typer.Option(help="The session will be recorded: all or events.")] = None,
    privacy: Annotated[str | None, typer.Option(help="Planned tier; a recording needs full.")] = None,
    overlay: Annotated[str | None, typer.Option(help="Planned overlay: none, web or window.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the session will go, for its disk.")] = None,
    hours: Annotated[float, typer.Option(min=0.0, help="Planned length.")] = 1.0,
    single_process: Annotated[bool, typer.Option("--single-process", help="Everything in one process.")] = False,
    config: Annotated[Path | None, typer.Option(help="YAML file with the planned settings.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Run the planned session without storing anything or telling anybody, then say go or no-go.

    Camera, analysis, recorder and overlays run as they will; sinks that keep results or pass them on do not. Prints
    lost frames, latency, how often a face was found, depth quality, noise floor and disk need. Exit code 0 for go, 6
    for no-go, 3 where the camera cannot be used.

    Example: `sfam rehearse 60 --camera realsense --record --privacy full --hours 2`
    """
    flags: dict[str, object] = {
        "capture.camera": camera,
        "app.cameras": () if camera else None,
        "capture.record": record,
        "sinks.privacy": privacy,
        "sinks.overlay": overlay,
        "sinks.out": str(out) if out else None,
        "app.duration_s": seconds,
        "app.single_process": single_process or None,
    }
    settings = load_config(config, os.environ, assignment or (), flags)
    found, verdict = _run(settings, hours)
    if as_json:
        typer.echo(
            json.dumps({"go": verdict.go, "reasons": list(verdict.reasons), **_finite(verdict.measured)}, indent=1)
        )
    else:
        typer.echo("\n".join(_in_words(found)))
        for reason in verdict.reasons:
            typer.echo(f"- {reason}")
        typer.echo("GO" if verdict.go else "NO-GO")
    if not verdict.go:
        raise typer.Exit(VERIFICATION)


def _run(settings: Config, hours: float) -> tuple[Rehearsed, Verdict]:
    from .doctor_machine import free_bytes
    from .rehearsal import judge
    from .rehearsal_run import RehearsalFailedError, run_rehearsal

    try:
        found = run_rehearsal(settings)
    except RehearsalFailedError as error:
        raise typer.Exit(error.code) from error
    return found, judge(found, free_bytes(Path(settings.sinks.out or "sessions")), hours)


def _finite(measured: Mapping[str, Any]) -> dict[str, Any]:
    """NaN is no JSON."""
    return {name: None if value != value else value for name, value in measured.items()}


def _in_words(found: Rehearsed) -> list[str]:
    lost = ", ".join(f"{count} {cause}" for cause, count in found.dropped.items() if count) or "none"
    latency = ", ".join(f"{name} {value:.1f}" for name, value in found.latency_ms.items())
    what = "results and recording" if found.recorded else "results"
    lines = [
        f"frames       {found.frames} at {found.delivered_fps:.1f} of {found.fps:g} fps; lost: {lost}",
        f"latency      {latency} ms from capture to score" + ("" if found.live else " (not live: no requirement)"),
        f"face         found in {found.face_share:.1%} of the frames",
        f"depth        on {found.depth_share:.1%} of the face",
        f"noise floor  {found.noise_px:.3f} px, {found.noise_mm:.2f} mm at rest",
        f"disk         {found.disk_gb_per_hour:.2f} GB an hour ({what})",
        f"events       {found.events} confirmed",
    ]
    return lines + ([f"not rehearsed: {', '.join(found.not_rehearsed)}"] if found.not_rehearsed else [])
