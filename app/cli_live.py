"""`sfam live` (= `sfam-live`): one session from a camera or recording to published events."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .config import Config, ConfigError, load_config, render_yaml


class Overlay(StrEnum):
    """Where the operator's picture goes."""

    WINDOW = "window"
    WEB = "web"
    NONE = "none"


class Engine(StrEnum):
    """Who runs the network."""

    AUTO = "auto"
    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"
    TORCH = "torch"


EXAMPLES = """Spot micro-expressions in a camera stream or recording and publish them while they happen.

Examples:

    sfam-live                                            the synthetic demo face, no camera needed

    sfam-live --camera interview.bag --out results       a recording, in real time

    sfam-live --camera interview.bag --speed max         the same results, as fast as possible

    sfam-live --camera demo --overlay web                with a page that shows what is seen

    sfam-live --overlay web --blind                      the page shows quality only; files keep scores and events

Exit codes: 0 ok, 2 usage or config, 3 source, 4 model or engine, 5 sink.
"""


def live(
    camera: Annotated[
        list[str] | None,
        typer.Option(
            "--camera", "--input", help="demo, realsense[:SERIAL], orbbec, a recording; repeatable."
        ),
    ] = None,
    color_only: Annotated[
        bool, typer.Option("--color-only", help="Take input without depth (video, webcam); w is zero and flagged.")
    ] = False,
    preset: Annotated[
        str | None, typer.Option(help="Cameras: face preset, auto = by model, none = leave the camera as it is.")
    ] = None,
    face_box: Annotated[
        str | None,
        typer.Option("--face-box", help="Where the face is, x,y,width,height in color px, instead of a search."),
    ] = None,
    speed: Annotated[str | None, typer.Option(help="Replay speed: 1, 0.25, 4 ... or max.")] = None,
    from_s: Annotated[float | None, typer.Option("--from", help="Recordings: start at this second.")] = None,
    to_s: Annotated[float | None, typer.Option("--to", help="Recordings: stop at this second.")] = None,
    duration: Annotated[float | None, typer.Option(help="Stop after this many seconds of capture time.")] = None,
    out: Annotated[Path | None, typer.Option(help="Session folder; default sessions/<date_time>.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a session folder that is not empty.")] = False,
    publish: Annotated[str | None, typer.Option(help="ZeroMQ address of the bus, or none.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow a bus address beyond this machine.")] = False,
    overlay: Annotated[Overlay | None, typer.Option(help="Show the picture that is analysed.")] = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="Keep scores, labels and events off screens and bus; files keep them.")
    ] = False,
    metrics: Annotated[int | None, typer.Option(help="Serve Prometheus metrics on this port of this machine.")] = None,
    lsl: Annotated[bool, typer.Option("--lsl", help="Send scores and events as Lab Streaming Layer streams.")] = False,
    mcap: Annotated[Path | None, typer.Option(help="Write results to this MCAP file, for Foxglove.")] = None,
    rerun: Annotated[str | None, typer.Option(help="Send to Rerun: a .rrd file, or viewer to open it.")] = None,
    markers: Annotated[
        str | None, typer.Option(help="Trial markers: lsl, lsl:NAME, tcp://HOST:PORT or a session's markers.jsonl.")
    ] = None,
    engine: Annotated[Engine | None, typer.Option(help="Who runs the network.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of an installed model or an artifact folder.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="File of sfam calibrate: its threshold, and a false-alarm rate with each event.")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Under load: latest, lossless (files) or decimate:N.")] = None,
    privacy: Annotated[
        str | None, typer.Option(help="results, flow, blurred or full: what may be stored or leave.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Subject in the tables.")] = None,
    video: Annotated[str | None, typer.Option(help="Video in the tables; default the file's stem.")] = None,
    record: Annotated[
        str | None, typer.Option(help="Store recording.mcap too: all (also without value) or events; privacy full.")
    ] = None,
    single_process: Annotated[bool, typer.Option("--single-process", help="Everything in one process.")] = False,
    step: Annotated[bool, typer.Option("--step", help="Recordings: space shows one more frame, p runs on.")] = False,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings; see config.yaml.")] = None,
    assignment: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the effective settings and stop.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only events and errors.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Full traceback on errors.")] = False,
) -> None:
    """Spot micro-expressions in a camera stream or recording; see --help."""
    flags: dict[str, object] = {
        "capture.camera": camera[0] if camera else None,
        "app.cameras": tuple(camera[1:]) if camera and len(camera) > 1 else None,
        "capture.preset": preset,
        "capture.color_only": color_only or None,
        "capture.from_s": from_s,
        "capture.to_s": to_s,
        "capture.record": record,
        "stream.face_box": _box(face_box),
        "stream.face_backend": "manual" if face_box else None,
        "engine.backend": engine.value if engine else None,
        "engine.model": model,
        "engine.calibration": str(calibration) if calibration else None,
        "sinks.publish": publish,
        "sinks.insecure": insecure or None,
        "sinks.out": str(out) if out else None,
        "sinks.overlay": overlay.value if overlay else None,
        "sinks.blind": blind or None,
        "sinks.metrics_port": metrics,
        "sinks.lsl": lsl or None,
        "sinks.mcap": str(mcap) if mcap else None,
        "sinks.rerun": rerun,
        "sinks.privacy": privacy,
        "app.speed": _speed(speed),
        "app.policy": policy,
        "app.duration_s": duration,
        "app.subject": subject,
        "app.video": video,
        "app.markers": markers,
        "app.single_process": single_process or None,
    }
    settings = load_config(config, os.environ, assignment or (), flags)
    if dry_run:
        typer.echo(render_yaml(settings), nl=False)
        return
    from .live import run_live

    def reread() -> Config:
        return load_config(config, os.environ, assignment or (), flags)

    raise typer.Exit(run_live(settings, force=force, step=step, quiet=quiet, verbose=verbose, reread=reread))


live.__doc__ = EXAMPLES


def _box(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    sides = text.split(",")
    if len(sides) != 4 or not all(side.strip().isdecimal() for side in sides):
        raise ConfigError(f"--face-box {text!r}: write x,y,width,height in color pixels, for example 210,120,200,220")
    return tuple(int(side) for side in sides)


def _speed(text: str | None) -> float | str | None:
    if text is None or text == "max":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"--speed {text!r}: write a number such as 0.25 or 4, or max") from error
