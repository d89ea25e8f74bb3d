"""The options of `sfam-live`, and the settings they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .config import ConfigError


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


CameraOption = Annotated[
    list[str] | None,
    typer.Option("--camera", "--input", help="demo, realsense[:SERIAL], orbbec, a recording; repeatable."),
]
ColorOnlyOption = Annotated[
    bool, typer.Option("--color-only", help="Take input without depth (video, webcam); w is zero and flagged.")
]
PresetOption = Annotated[
    str | None, typer.Option(help="Cameras: face preset, auto = by model, none = leave the camera as it is.")
]
FaceBoxOption = Annotated[
    str | None,
    typer.Option("--face-box", help="Where the face is, x,y,width,height in color px, instead of a search."),
]
SpeedOption = Annotated[str | None, typer.Option(help="Replay speed: 1, 0.25, 4 ... or max.")]
FromSOption = Annotated[float | None, typer.Option("--from", help="Recordings: start at this second.")]
ToSOption = Annotated[float | None, typer.Option("--to", help="Recordings: stop at this second.")]
DurationOption = Annotated[float | None, typer.Option(help="Stop after this many seconds of capture time.")]
OutOption = Annotated[Path | None, typer.Option(help="Session folder; default sessions/<date_time>.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Write into a session folder that is not empty.")]
PublishOption = Annotated[str | None, typer.Option(help="ZeroMQ address of the bus, or none.")]
InsecureOption = Annotated[bool, typer.Option("--insecure", help="Allow a bus address beyond this machine.")]
OverlayOption = Annotated[Overlay | None, typer.Option(help="Show the picture that is analysed.")]
BlindOption = Annotated[
    bool, typer.Option("--blind", help="Keep scores, labels and events off screens and bus; files keep them.")
]
MetricsOption = Annotated[int | None, typer.Option(help="Serve Prometheus metrics on this port of this machine.")]
LslOption = Annotated[bool, typer.Option("--lsl", help="Send scores and events as Lab Streaming Layer streams.")]
McapOption = Annotated[Path | None, typer.Option(help="Write results to this MCAP file, for Foxglove.")]
RerunOption = Annotated[str | None, typer.Option(help="Send to Rerun: a .rrd file, or viewer to open it.")]
MarkersOption = Annotated[
    str | None, typer.Option(help="Trial markers: lsl, lsl:NAME, tcp://HOST:PORT or a session's markers.jsonl.")
]
EngineOption = Annotated[Engine | None, typer.Option(help="Who runs the network.")]
ModelOption = Annotated[str | None, typer.Option(help="Name of an installed model or an artifact folder.")]
CalibrationOption = Annotated[
    Path | None, typer.Option(help="File of sfam calibrate: its threshold, and a false-alarm rate with each event.")
]
PolicyOption = Annotated[str | None, typer.Option(help="Under load: latest, lossless (files) or decimate:N.")]
PrivacyOption = Annotated[str | None, typer.Option(help="results, flow, blurred or full: what may be stored or leave.")]
SubjectOption = Annotated[str | None, typer.Option(help="Subject in the tables.")]
VideoOption = Annotated[str | None, typer.Option(help="Video in the tables; default the file's stem.")]
RecordOption = Annotated[
    str | None, typer.Option(help="Store recording.mcap too: all (also without value) or events; privacy full.")
]
SingleProcessOption = Annotated[bool, typer.Option("--single-process", help="Everything in one process.")]
StepOption = Annotated[bool, typer.Option("--step", help="Recordings: space shows one more frame, p runs on.")]
ConfigOption = Annotated[Path | None, typer.Option(help="YAML file with settings; see config.yaml.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the effective settings and stop.")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Only events and errors.")]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Full traceback on errors.")]

KEYS = {
    "color_only": "capture.color_only",
    "preset": "capture.preset",
    "from_s": "capture.from_s",
    "to_s": "capture.to_s",
    "duration": "app.duration_s",
    "out": "sinks.out",
    "publish": "sinks.publish",
    "insecure": "sinks.insecure",
    "overlay": "sinks.overlay",
    "blind": "sinks.blind",
    "metrics": "sinks.metrics_port",
    "lsl": "sinks.lsl",
    "mcap": "sinks.mcap",
    "rerun": "sinks.rerun",
    "markers": "app.markers",
    "engine": "engine.backend",
    "model": "engine.model",
    "calibration": "engine.calibration",
    "policy": "app.policy",
    "privacy": "sinks.privacy",
    "subject": "app.subject",
    "video": "app.video",
    "record": "capture.record",
    "single_process": "app.single_process",
}
"""Settings that an option gives as it is, by the option's name."""


def flags_of(given: Mapping[str, Any]) -> dict[str, object]:
    """Settings by key, None where an option was not given.

    Raises:
        ConfigError: an option's text cannot be read.
    """
    cameras, face_box = given["camera"] or (), given["face_box"]
    return {
        **{key: _plain(given[name]) for name, key in KEYS.items()},
        "capture.camera": cameras[0] if cameras else None,
        "app.cameras": tuple(cameras[1:]) or None,
        "stream.face_box": _box(face_box),
        "stream.face_backend": "manual" if face_box else None,
        "app.speed": _speed(given["speed"]),
    }


def _plain(value: object) -> object:
    """As a settings file would hold it; a switch that was not thrown says nothing."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return None if value is False else value


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
