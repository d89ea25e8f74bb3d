"""Commands that write recordings: `sfam record`, `sfam convert`, `sfam repair`; and what `--record` means."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .config import load_config


class Color(StrEnum):
    """How color images are stored."""

    LOSSLESS = "lossless"
    JPEG = "jpeg"


def record(
    out: Annotated[Path, typer.Option(help="The recording to write, .mcap; never overwritten.")],
    camera: Annotated[str | None, typer.Option("--camera", "--input", help="As in sfam live.")] = None,
    duration: Annotated[float | None, typer.Option(help="Stop after this many seconds of capture time.")] = None,
    color: Annotated[Color | None, typer.Option(help="lossless for science, jpeg for a third of the disk.")] = None,
    color_only: Annotated[bool | None, typer.Option("--color-only", help="Accept input without depth.")] = None,
    speed: Annotated[str, typer.Option(help="Recordings: 1 = as they came, max = as fast as possible.")] = "max",
    config: Annotated[Path | None, typer.Option(help="YAML file with settings; see config.yaml.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only errors and the summary.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Full traceback on errors.")] = False,
) -> None:
    """Record a camera without analysing it; Ctrl-C ends the recording.

    Examples:

        sfam record --camera realsense --out session.mcap --duration 600

        sfam record --camera demo --out demo.mcap --duration 10 --color jpeg

    A recording that was killed or cut off is read up to the cut; `sfam repair` gives it an index again. Foxglove opens
    the files. Exit codes: 0 ok, 2 usage or config, 3 source, 5 disk.
    """
    flags: dict[str, object] = {
        "capture.camera": camera,
        "capture.record_color": color.value if color else None,
        "capture.color_only": color_only,
        "app.duration_s": duration,
    }
    settings = load_config(config, os.environ, assignment or (), flags)
    from .record import run_record

    raise typer.Exit(run_record(settings, out, speed=speed, quiet=quiet, verbose=verbose))


def convert(
    file: Annotated[Path, typer.Argument(help="Any recording that sfam reads: file or folder.")],
    out: Annotated[Path, typer.Argument(help="The recording to write, .mcap; never overwritten.")],
    from_s: Annotated[float | None, typer.Option("--from", help="Start at this second.")] = None,
    to_s: Annotated[float | None, typer.Option("--to", help="Stop at this second.")] = None,
    color: Annotated[Color | None, typer.Option(help="lossless or jpeg.")] = None,
    color_only: Annotated[bool | None, typer.Option("--color-only", help="Accept input without depth.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings; see config.yaml.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
) -> None:
    """Write any recording as one of ours: the same pairs, stamps and pixels.

    When frames arrived is kept of our own recordings alone; frames that their analysis skipped are left out.

    Example: `sfam convert interview.bag interview.mcap`
    """
    flags: dict[str, object] = {
        "capture.camera": str(file),
        "capture.from_s": from_s,
        "capture.to_s": to_s,
        "capture.record_color": color.value if color else None,
        "capture.color_only": color_only,
    }
    settings = load_config(config, os.environ, assignment or (), flags)
    from .record import run_convert

    totals = run_convert(settings.capture, out)
    typer.echo(f"{totals.path}: {totals.frames} frames, {totals.size_bytes / 1e6:.1f} MB")


def repair(
    file: Annotated[Path, typer.Argument(help="A recording (.mcap) that was cut off.")],
    out: Annotated[Path | None, typer.Option(help="Write the mended file here; default in place.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Write the index and summary of a cut recording anew; whole frames are never touched.

    Damage in the middle is no torn end: such a file is left as it is, and --out writes what is before the damage.

    Example: `sfam repair session.mcap`
    """
    from sfam.capture.repair import repair as repair_recording

    report = repair_recording(file, out)
    found = {
        "file": str(report.path),
        "was_whole": report.was_whole,
        "messages": report.messages,
        "chunks": report.chunks,
        "damaged_chunks": report.damaged_chunks,
        "removed_bytes": report.removed_bytes,
    }
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    done = "was whole" if report.was_whole else "mended"
    typer.echo(
        f"{report.path}: {done}; {report.messages} messages in {report.chunks} chunks, {report.damaged_chunks} damaged "
        f"chunks set aside, {report.removed_bytes} torn bytes cut"
    )


def with_record_value(arguments: Sequence[str]) -> list[str]:
    """`--record` alone means `--record all`; the command-line library knows no option with an optional value."""
    spelled: list[str] = []
    for place, argument in enumerate(arguments):
        spelled.append(argument)
        following = arguments[place + 1 : place + 2]
        if argument == "--record" and (not following or following[0].startswith("-")):
            spelled.append("all")
    return spelled
