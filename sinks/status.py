"""The heartbeat: how the session runs, once a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sfam.stream.scene_flow import NoiseFloor

from .incident import Incident


@dataclass(frozen=True, slots=True)
class StageLatency:
    """Spread of one stage's time per frame over the last seconds, microseconds."""

    p50_us: float
    p95_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class Status:
    """One heartbeat. Counts run from the session's start."""

    frame: int
    """Last frame analysed, -1 before the first."""
    fps: float
    """Frames analysed per second of wall time over the last seconds."""
    offered: int
    analysed: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Frames lost, by cause."""
    lost_messages: Mapping[str, int] = field(default_factory=dict)
    """Messages the bus itself could not take, by kind."""
    stages: Mapping[str, StageLatency] = field(default_factory=dict)
    """`total` = capture to score; the other names are the pipeline's stages."""
    memory_mb: float = float("nan")
    """Resident memory of all processes of the session."""
    noise: NoiseFloor = field(default_factory=NoiseFloor)
    device: str = "streaming"
    """State of the source: starting, streaming, paused, lost, ended."""
    faces: int = 0
    """Faces followed now."""
    incidents: tuple[Incident, ...] = ()
    """What happened since the heartbeat before."""
    outages: int = 0
    """Times the camera was lost, one that lasts included."""
    hardware_resets: int = 0
    """Resets of the camera's hardware that bringing it back took."""
