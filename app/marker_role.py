"""Trial markers as a process of their own: whatever a stimulus program or a network does, the analysis goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sfam.capture.clock import SessionClock
from sfam.capture.marker import Marker
from sfam.capture.source import is_camera

from .config import Config, ConfigError
from .role import Role
from .role_link import RoleLink

MARKERS = "markers"
MARKER = "marker"
"""Kind of message: a `Marker`, for the analysis."""
LSL = "lsl"
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class MarkerWatch:
    """What the process needs."""

    asked: str
    """`lsl`, `lsl:NAME` or an address."""
    clock: SessionClock


class MarkerSource(Protocol):
    """Where markers come from."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Who is connected now."""

    def read(self, timeout_s: float) -> list[Marker]:
        """Markers that have come."""

    def close(self) -> None:
        """Leave."""


def require_markers(config: Config) -> None:
    """Refuse markers that cannot belong to what is analysed.

    Raises:
        ConfigError: they are neither of the known forms, or come live while the frames do not.
    """
    asked = config.app.markers
    if asked is None or asked.endswith(".jsonl"):
        return
    if not uses_lsl(config) and not asked.startswith("tcp://"):
        raise ConfigError(
            f"--markers {asked!r}: write lsl, lsl:NAME, tcp://HOST:PORT, or the markers.jsonl of the session being "
            "replayed"
        )
    camera = config.capture.camera.partition(":")[0]
    if not is_camera(camera) or (camera == "demo" and config.app.speed != 1.0):
        raise ConfigError(
            f"--markers {asked} come while they happen, but {config.capture.camera} is replayed; give the "
            "markers.jsonl of its session"
        )
    if config.app.single_process:
        raise ConfigError(f"--markers {asked} need a process of their own; leave --single-process out")


def uses_lsl(config: Config) -> bool:
    """Whether markers come from Lab Streaming Layer."""
    return (config.app.markers or "").partition(":")[0] == LSL


def marker_roles(config: Config, clock: SessionClock) -> list[Role]:
    """The process that the settings ask for; the session goes on without it."""
    asked = config.app.markers
    if asked is None or asked.endswith(".jsonl"):
        return []
    return [Role(MARKERS, marker_role, MarkerWatch(asked, clock), essential=False)]


def marker_role(watch: MarkerWatch, link: RoleLink) -> Mapping[str, Any]:
    """Process 'markers': tells each marker, and who comes and goes; returns how many came from whom."""
    counts: Counter[str] = Counter()
    source = _open(watch)
    try:
        known: tuple[str, ...] = ()
        while not link.stopping():
            for marker in source.read(LOOK_S):
                link.tell(MARKER, marker)
                counts[marker.source] += 1
            if source.sources != known:
                _announce(known, source.sources, link)
                known = source.sources
    finally:
        source.close()
    return dict(counts)


def _open(watch: MarkerWatch) -> MarkerSource:
    kind, _, name = watch.asked.partition(":")
    if kind == LSL:
        from sfam.capture.lsl_markers import LslMarkers

        return LslMarkers(name)
    from sfam.capture.zmq_markers import ZmqMarkers

    return ZmqMarkers(watch.asked, watch.clock)


def _announce(before: tuple[str, ...], now: tuple[str, ...], link: RoleLink) -> None:
    for name in sorted(set(now) - set(before)):
        link.tell(MARKERS, f"markers: reading {name}")
    for name in sorted(set(before) - set(now)):
        link.tell("warning", f"markers: {name} has gone; waiting for it to come back")
