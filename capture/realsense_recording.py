"""What RealSense SDK recordings have in common, whichever container they are in: streams, geometry, device, unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .config import CaptureConfig
from .frame import Calibration, ClockDomain, Extrinsics, Intrinsics
from .pairing import Role
from .realsense_names import DOMAINS, between, device_details, stream_name, stream_role
from .recording import RecordedStream, Recording
from .source import SourceError

USUAL_UNIT_M = 0.001
"""What the cameras measure in unless told otherwise."""


@dataclass(slots=True)
class SdkStream:
    """What the head of a recording says about one stream."""

    kind: str
    index: int
    sensor: str
    topic: str
    image_topic: str = ""
    encoding: str = ""
    fps: float | None = None
    camera: Intrinsics | None = None
    poses: dict[str, Extrinsics] = field(default_factory=dict)
    """By the stream that they refer to."""


class RealSenseRecording(Recording):
    """A reader fills `found` and `device` from its container."""

    def __init__(self, path: Path, config: CaptureConfig) -> None:
        super().__init__(path, config)
        self.found: dict[str, SdkStream] = {}
        """By topic."""
        self.device: dict[str, str] = {}
        self.version = 0
        self.domains: dict[str, ClockDomain] = {}
        """Newest known clock of each stream, by topic."""

    @property
    def calibration(self) -> Calibration:
        """Intrinsics and extrinsics of the chosen streams."""
        color, depth = (self.found[stream.source] for stream in self.require_streams())
        if color.camera is None or depth.camera is None:
            raise SourceError(f"{self.path}: no usable camera_info for color or depth; the recording cannot be aligned")
        for shared in sorted(color.poses.keys() & depth.poses.keys()):
            return Calibration(color.camera, depth.camera, between(depth.poses[shared], color.poses[shared]))
        self.warn("no extrinsics between depth and color in the file; taken as one camera")
        return Calibration(color.camera, depth.camera)

    def color_camera(self) -> Intrinsics | None:
        """Intrinsics of the color stream alone."""
        return self.found[self.color.source].camera if self.color is not None else None

    def details(self) -> dict[str, str | int | float | bool]:
        """Device name, serial number, firmware, USB type, as recorded."""
        return device_details(self.device)

    def name_writer(self) -> str:
        """Who wrote the file."""
        return f"RealSense SDK, file version {self.version}" if self.version else "unknown"

    def chosen(self) -> list[RecordedStream]:
        """Color and depth, as far as they are there."""
        return [one for one in (self.color, self.depth) if one is not None]

    def role_of(self, stream: RecordedStream) -> Role:
        """What a chosen stream is used as."""
        return "depth" if stream is self.depth else "color"

    def recorded(self, stream: SdkStream, frames: int | None) -> RecordedStream:
        """A stream as the contract wants it."""
        camera = stream.camera
        size = (camera.width, camera.height) if camera else (0, 0)
        name, role = stream_name(stream.kind, stream.index), stream_role(stream.kind)
        return RecordedStream(name, stream.topic, role, stream.encoding, *size, frames, stream.fps)

    def unit_or_usual(self, unit_m: float | None) -> float | None:
        """Metres per depth unit as the file says, else as configured, else the usual one with a warning."""
        if self.depth is None or unit_m is not None:
            return unit_m
        if self.config.depth_unit_m is None:
            self.warnings.append(f"the file does not say its depth unit; {USUAL_UNIT_M} m taken, the cameras' default")
        return self.config.depth_unit_m or USUAL_UNIT_M

    def domain_of(self, stream: RecordedStream, metadata: Mapping[str, str]) -> ClockDomain:
        """Clock of a stream's stamps as its newest metadata say."""
        return self.note_domain(stream.source, metadata)

    def note_domain(self, topic: str, metadata: Mapping[str, str]) -> ClockDomain:
        """Keep the clock that metadata name, if they do; returns the newest known one."""
        known = DOMAINS.get(metadata.get("timestamp_domain", "").lower())
        if known is None:
            return self.domains.get(topic, ClockDomain.UNKNOWN)
        self.domains[topic] = known
        return known
