"""`sfam serve`: frames of this host's camera for another host."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .config import load_config


class LinkColor(StrEnum):
    """How color images travel."""

    JPEG = "jpeg"
    LOSSLESS = "lossless"


def serve(
    address: Annotated[
        str, typer.Option("--address", help="Where other hosts find the frames; beyond this machine with --keys only.")
    ] = "tcp://127.0.0.1:5572",
    camera: Annotated[str | None, typer.Option("--camera", "--input", help="As in sfam live.")] = None,
    keys: Annotated[
        Path | None, typer.Option(help="Key folder (sfam keys new): encrypts, lets listed hosts in.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow other machines without keys.")] = False,
    color: Annotated[LinkColor, typer.Option(help="jpeg, or lossless at some nine times the size.")] = LinkColor.JPEG,
    quality: Annotated[int, typer.Option(min=30, max=100, help="Quality of JPEG color.")] = 95,
    duration: Annotated[float | None, typer.Option(help="Stop after this many seconds of capture time.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings; see config.yaml.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only errors and the summary.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Full traceback on errors.")] = False,
) -> None:
    """Send this host's camera to another host, which analyses it; Ctrl-C ends it.

    Depth is always lossless. Faces leave this machine: only hosts whose keys are listed can read them. A recording is
    sent as it was taken, and waits for the first host that listens.

    Examples, here and there:

        sfam keys new keys --client lab

        sfam serve --camera realsense --address tcp://0.0.0.0:5572 --keys keys

        sfam-live --camera tcp://10.0.0.7:5572 --set capture.remote_key=lab.key_secret
        --set capture.remote_server_key=server.key

    Exit codes: 0 ok, 2 usage or config, 3 source, 5 address or keys.
    """
    flags: dict[str, object] = {
        "capture.camera": camera,
        "sinks.keys": str(keys) if keys else None,
        "sinks.insecure": insecure or None,
        "app.duration_s": duration,
    }
    settings = load_config(config, os.environ, assignment or (), flags)
    from sfam.capture.frame_message import Packing

    from .serve import run_serve

    packing: Packing = "jpeg" if color is LinkColor.JPEG else "zstd"
    raise typer.Exit(run_serve(settings, address, color=packing, jpeg_quality=quality, quiet=quiet, verbose=verbose))
