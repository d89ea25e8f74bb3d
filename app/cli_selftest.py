"""`sfam selftest`: the smallest motion that would be seen with this camera, distance and light."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from .config import load_config
from .exit_codes import SOURCE


def selftest(
    camera: Annotated[
        str | None, typer.Option("--camera", "--input", help="demo, realsense[:SERIAL], kinect, orbbec or a recording.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write the picture here; default selftest.png.")] = None,
    short: Annotated[
        bool, typer.Option("--short", help="Fewer frames and sizes, as at the start of a session.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, no picture unless --plot asks.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file.")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="One setting: section.key=value.")] = None,
) -> None:
    """Put known motion into real frames of a camera or recording and report the smallest that is found.

    Sit before the camera as in a session, look at it and keep still for a few seconds. Examples:

        sfam selftest --camera realsense

        sfam selftest --camera interview.bag --json
    """
    settings = load_config(config, os.environ, assignments or (), {"capture.camera": camera})
    import cv2

    from sfam.capture.source import open_source

    from .selftest import run_selftest
    from .selftest_report import save_plot, table
    from .selftest_result import SelfTestError

    cv2.setNumThreads(settings.stream.opencv_threads)
    try:
        with open_source(settings.capture) as source:
            name = source.info.camera
            result = run_selftest(source.frames(), settings.stream, short=short)
    except SelfTestError as error:
        typer.echo(f"sfam: {name}: {error}", err=True)
        raise typer.Exit(SOURCE) from error
    picture = plot or (None if as_json else Path("selftest.png"))
    if picture is not None:
        save_plot(result, picture)
    typer.echo(json.dumps({"camera": name, **result.as_json()}, indent=1) if as_json else f"{name}: {table(result)}")
    if picture is not None and not as_json:
        typer.echo(f"picture: {picture}")
