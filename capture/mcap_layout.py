"""What stands in a recording of ours: an MCAP file with Foxglove's images and this project's own records.

    header (profile 'sfam') | schemas | channels | note chunk | (image chunk, record chunk) * n | note chunk | summary

An image chunk is compressed and holds the color and depth images of some frames; the uncompressed record chunk after
it holds one record for each of them, so a frame without its record was never finished, and everything but pixels can
be read by hopping from chunk to chunk. Note chunks are uncompressed as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from typing import Any

from mcap.records import Channel, Schema

from .foxglove_messages import descriptor_set
from .frame import Calibration, ClockDomain, ColorImage, DepthImage, Distortion, Extrinsics, Intrinsics, RGBDFrame
from .source import SourceInfo

PROFILE = "sfam"
FORMAT = 1
"""Grows when an older reader could no longer read a new file exactly."""


class Topic(IntEnum):
    """Channel numbers."""

    COLOR = 1
    DEPTH = 2
    COLOR_CALIBRATION = 3
    DEPTH_CALIBRATION = 4
    SOURCE = 5
    CALIBRATION = 6
    FRAME = 7
    CLOCK = 8
    DROPS = 9
    SKIPPED = 10
    END = 11


OWN_RECORDS: dict[Topic, tuple[str, str]] = {
    Topic.SOURCE: ("/sfam/source", "What was recorded: camera, rate, details, and how."),
    Topic.CALIBRATION: ("/sfam/calibration", "Geometry of both cameras; frames name it by its number."),
    Topic.FRAME: ("/sfam/frame", "Everything of a frame but its pixels: numbers, stamps in ns, depth unit, losses."),
    Topic.CLOCK: ("/sfam/clock", "Host monotonic and UTC time in ns, read together."),
    Topic.DROPS: ("/sfam/drops", "Frames lost so far, by cause."),
    Topic.SKIPPED: ("/sfam/skipped", "Frames that the live analysis never saw, first to last, and why."),
    Topic.END: ("/sfam/end", "How the recording ended, and its totals; missing where it was cut off."),
}
_FRAME_FIELDS = tuple(field.name for field in fields(RGBDFrame) if field.name not in ("color", "depth", "calibration"))


@dataclass(frozen=True, slots=True)
class Layout:
    """Schemas and channels of a file."""

    schemas: tuple[Schema, ...]
    channels: tuple[Channel, ...]


def layout(jpeg: bool) -> Layout:
    """Schemas and channels with lossless color (`foxglove.RawImage`) or JPEG color (`foxglove.CompressedImage`)."""
    names = ["foxglove.RawImage", "foxglove.CameraCalibration"] + ["foxglove.CompressedImage"] * jpeg
    schemas = [Schema(number, descriptor_set(name), "protobuf", name) for number, name in enumerate(names, 1)]
    raw, calibration, color = schemas[0].id, schemas[1].id, schemas[-1].id if jpeg else schemas[0].id
    channels = [
        Channel(Topic.COLOR, "/camera/color/image", "protobuf", {}, color),
        Channel(Topic.DEPTH, "/camera/depth/image", "protobuf", {}, raw),
        Channel(Topic.COLOR_CALIBRATION, "/camera/color/calibration", "protobuf", {}, calibration),
        Channel(Topic.DEPTH_CALIBRATION, "/camera/depth/calibration", "protobuf", {}, calibration),
    ]
    for topic, (name, description) in OWN_RECORDS.items():
        text = json.dumps({"type": "object", "title": name, "description": description}).encode()
        schemas.append(Schema(len(schemas) + 1, text, "jsonschema", f"sfam.{topic.name.capitalize()}"))
        channels.append(Channel(topic, name, "json", {}, len(schemas)))
    return Layout(tuple(schemas), tuple(channels))


def unix_ns(frame: RGBDFrame) -> int:
    """log_time of a frame: its UTC time; where none is known, as in most recordings, its capture time."""
    return max(0, frame.t_utc_ns or frame.t_capture_ns)


def source_record(info: SourceInfo, **more: str | int | float | bool) -> dict[str, Any]:
    """What is known of the source, and of how it is recorded."""
    return {
        "format": FORMAT,
        "camera": info.camera,
        "kind": info.kind,
        "live": info.live,
        "fps": info.fps,
        "warnings": list(info.warnings),
        "details": dict(info.details),
        **more,
    }


def calibration_record(number: int, calibration: Calibration) -> dict[str, Any]:
    """A calibration under its number."""
    return {"number": number, **asdict(calibration)}


def calibration_from(record: Mapping[str, Any]) -> Calibration:
    """The calibration that `calibration_record` wrote, to the bit."""
    moved = record["depth_to_color"]
    return Calibration(
        color=_intrinsics(record["color"]),
        depth=_intrinsics(record["depth"]),
        depth_to_color=Extrinsics(tuple(moved["rotation"]), tuple(moved["translation_m"])),
        depth_aligned=record["depth_aligned"],
    )


def frame_record(frame: RGBDFrame, calibration: int) -> dict[str, Any]:
    """Everything of a frame but its pixels; the calibration by its number."""
    return {**{name: getattr(frame, name) for name in _FRAME_FIELDS}, "calibration": calibration}


def frame_from(record: Mapping[str, Any], calibration: Calibration, color: ColorImage, depth: DepthImage) -> RGBDFrame:
    """The frame that was recorded; fields a later version added are left out."""
    values = {name: record[name] for name in _FRAME_FIELDS if name in record}
    values["clock_domain"] = ClockDomain(record["clock_domain"])
    return RGBDFrame(color=color, depth=depth, calibration=calibration, **values)


def _intrinsics(values: Mapping[str, Any]) -> Intrinsics:
    changed = {"distortion": Distortion(values["distortion"]), "coeffs": tuple(values["coeffs"])}
    return Intrinsics(**{**values, **changed})
