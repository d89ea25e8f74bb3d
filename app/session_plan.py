"""What is settled about a session before its analysis starts; all of it can be pickled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sfam.capture.clock import SessionClock
from sfam.capture.marker import Marker
from sfam.engine.events import Event
from sfam.sinks.incident import Incident

from .config import Config
from .interruption import Interruption
from .pause import Hold

ANALYSIS_RESTART: Final = "analysis_restart"
"""Cause of the rows of frames that came while no analysis ran."""
EVENTS: Final = "events"
"""Kind of message: `EventsSoFar` of a live session, told before each state of an event is sent."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that takes effect with a frame and must do so again in a replay."""

    frame: int
    kind: Literal["restart", "gap", "threshold"]
    """restart = the analysis knows nothing of what came before; gap = no window reaches across; threshold = a new
    spotting threshold."""
    value: float | None = None
    """The threshold, None = the model's own; of a restart the id of the next event, None = goes on."""

    def fields(self) -> dict[str, Any]:
        """For session.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EventsSoFar:
    """What became known of a session's events; their file may be a moment behind."""

    next_id: int = 0
    open: tuple[Event, ...] = ()
    """Provisional ones."""


@dataclass(frozen=True, slots=True)
class Resume:
    """An analysis goes on in the place of one that died."""

    cause: str
    """How it died."""
    lost_ns: int
    """Host monotonic clock when that was noticed."""
    first_seq: Mapping[str, int] = field(default_factory=dict)
    """Numbers to begin with on the bus, by kind."""
    interruptions: tuple[Interruption, ...] = ()
    """Of the camera, so far."""
    reload: Reload | None = None
    """The newest; None = the session's own settings hold."""
    events: EventsSoFar = EventsSoFar()
    """No event of before has `next_id` or more; those that are open may have been heard and never written."""
    holds: tuple[Hold, ...] = ()
    """Beginnings and ends of pauses, so far."""
    incidents: tuple[Incident, ...] = ()
    """What the one before was told of; session.json may be a second behind."""
    markers: tuple[Marker, ...] = ()
    """The same; their file may lack the last ones."""

    def incident(self, first: int, sequence: int) -> Incident:
        """What is said when its first frame has come.

        Args:
            first: the first frame without result.
            sequence: of the frame that has come.
        """
        seconds = (time.monotonic_ns() - self.lost_ns) / 1e9
        missing = sequence > first
        which = f"frames {first} to {sequence - 1} have no result" if missing else "no frame was missed"
        return Incident(
            ANALYSIS_RESTART,
            self.lost_ns,
            f"{self.cause}; another went on {seconds:.1f} s later, {which}",
            first if missing else None,
            sequence - 1 if missing else None,
            {"seconds": round(seconds, 3)},
        )


@dataclass(frozen=True, slots=True)
class Reload:
    """Settings that a running session takes over."""

    text: str
    """For people: what changed, and what cannot change now."""
    threshold_changed: bool
    threshold: float | None
    """None = the model's own."""
    latency_budget_ms: float | None
    t_ns: int
    """Host monotonic clock."""

    def incident(self) -> Incident:
        """What session.json and the bus say of it."""
        values = {"threshold": self.threshold, "latency_budget_ms": self.latency_budget_ms}
        return Incident("reload", self.t_ns, self.text, values=values)


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What the operator's process settled before anything started."""

    config: Config
    session: str
    """Id of the session: the folder's name."""
    folder: Path
    force: bool
    lossless: bool
    clock: SessionClock
    left_out: Mapping[int, str] = field(default_factory=dict)
    """Frames that capture leaves out of a replay, by cause."""
    changes: tuple[Change, ...] = ()
    """Of the session being replayed."""
    resume: Resume | None = None
    clip_pictures: bool = False
    """Event clips get color and depth, from another process or, with `single_process`, from this one."""
    lsl_ahead_ns: int | None = None
    """By which the host's monotonic clock is ahead of Lab Streaming Layer's; None where LSL is not used."""
