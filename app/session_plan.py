"""What is settled about a session before its analysis starts; all of it can be pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sfam.capture.clock import SessionClock

from .config import Config
from .interruption import Interruption

ANALYSIS_RESTART = "analysis_restart"
"""Cause of the rows of frames that came while no analysis ran."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that takes effect with a frame and must do so again in a replay."""

    frame: int
    kind: Literal["restart", "gap", "threshold"]
    """restart = the analysis knows nothing of what came before; gap = no window reaches across; threshold = a new
    spotting threshold."""
    value: float | None = None
    """The threshold; None = the model's own."""

    def fields(self) -> dict[str, Any]:
        """For session.json."""
        return asdict(self)


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
    threshold_changed: bool = False
    """`threshold` is not that of the session's settings any more."""
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Reload:
    """Settings that a running session takes over."""

    text: str
    """For people: what changed, and what cannot change now."""
    threshold_changed: bool
    threshold: float | None
    """None = the model's own."""
    latency_budget_ms: float | None

    def values(self) -> dict[str, float | str | None]:
        """For the incident."""
        return {"threshold": self.threshold, "latency_budget_ms": self.latency_budget_ms}


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
    lsl_ahead_ns: int | None = None
    """By which the host's monotonic clock is ahead of Lab Streaming Layer's; None where LSL is not used."""
