"""`sfam cameras`: which cameras are plugged in, and what they can do."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from sfam.capture.camera_list import CameraListing, list_all


def cameras(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """List connected cameras: serial, firmware, USB type, modes; webcams by number.

    Example: `sfam cameras`, then `sfam-live --camera realsense:SERIAL`
    """
    found, unusable = list_all()
    if as_json:
        typer.echo(json.dumps({"cameras": [asdict(camera) for camera in found], "unusable": unusable}, indent=1))
        return
    for camera in found:
        typer.echo(_in_words(camera))
    if all(camera.kind == "webcam" for camera in found):
        typer.echo("no depth camera answers; `sfam-live --camera demo` runs without one")
    for kind, reason in unusable.items():
        typer.echo(f"{kind}: cannot be asked: {reason.removeprefix(f'{kind}: ')}")


def _in_words(camera: CameraListing) -> str:
    connection = f", USB {camera.connection}" if camera.connection else ""
    firmware = f"firmware {camera.firmware or 'unknown'}"
    if camera.kind == "webcam":
        return f"webcam:{camera.serial}  {camera.name}{connection}: no depth, needs --color-only"
    lines = [
        f"{camera.kind}:{camera.serial}  {camera.name}, {firmware}{connection}",
        *(f"    {mode}" for mode in camera.modes),
    ]
    if camera.connection.startswith("2"):
        lines.append("    USB 2: too slow for most modes; use a USB 3 port and cable")
    return "\n".join(lines)
