"""`sfam sync-test`: measure by how much a camera's capture times are off."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer

from .config import load_config


def sync_test(
    camera: Annotated[str, typer.Option("--camera", help="The camera, in view of this screen.")] = "realsense",
    flashes: Annotated[int, typer.Option(min=5, max=400, help="How many flashes; about 1.6 s each.")] = 25,
    seed: Annotated[int, typer.Option(help="Seed of the pauses between flashes.")] = 0,
    keep: Annotated[bool, typer.Option(help="Keep the result for later sessions with this camera.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
) -> None:
    """Flash this screen in view of the camera; reports offset and jitter of its capture times.

    The offset holds the camera's exposure and transfer and the screen's own delay. Afterwards every event of this
    camera carries the largest error found as `t_error_us`; without a test that is unknown.

    Example: `sfam sync-test --camera realsense --flashes 50`
    """
    from sfam.capture.flash_sync import keep_sync
    from sfam.capture.source import open_source
    from sfam.sinks.overlay_window import display_available
    from sfam.sinks.sink_error import SinkError

    from .flash_screen import FullScreen
    from .sync_test import sync_test as measure

    if not display_available():
        raise SinkError("sync-test flashes a screen, and no display answers here; set DISPLAY")
    config = load_config(None, os.environ, assignment or (), {"capture.camera": camera})
    with open_source(config.capture) as source:
        screen = FullScreen()
        try:
            result = measure(source, screen, flashes, seed, lambda number: typer.echo(f"flash {number}", err=True))
        finally:
            screen.close()
    typer.echo(json.dumps(asdict(result), indent=2) if as_json else result.in_words())
    if keep:
        path = keep_sync(result)
        typer.echo(f"kept in {path}: events of {result.camera} carry {result.t_error_us:.0f} us", err=True)
