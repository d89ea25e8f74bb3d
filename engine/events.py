"""The nouns of judgement: score, interval and event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EventKind = Literal["micro", "macro"]
EventState = Literal["provisional", "confirmed", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Score:
    """What the network says of one face at one frame; the noise floor beside it is in `FlowWindow`, scores.csv and the
    bus's `score`."""

    frame: int
    t_capture_ns: int
    spot: float
    """0..1: how much the last window looks like the movement of an expression."""
    emotion: tuple[float, ...] = ()
    """Probabilities in the order of the model's classes, neutral last; they sum to 1."""
    track_id: int = 0
    from_frame: int = -1
    t_from_ns: int = 0
    flags: tuple[str, ...] = ()
    model_id: str = ""
    spread: float | None = None
    """Standard deviation of the scores of an ensemble's networks; None of a single network."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An offline detection in frames, both ends inclusive."""

    kind: str
    onset: int
    offset: int
    emotion: int | str


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame and its capture time; of a session's events also what other clocks said, None where unknown."""

    frame: int
    t_capture_ns: int
    t_device_ns: int | None = None
    """Stamp as the device gave it."""
    t_global_ns: int | None = None
    """Device clock fitted to the host's by the camera's SDK."""
    t_host_ns: int | None = None
    """Host monotonic clock at arrival; only of live sessions."""
    t_lsl_s: float | None = None
    """Capture time on Lab Streaming Layer's clock; only of live sessions that use it."""


@dataclass(frozen=True, slots=True)
class Event:
    """A spotted expression and how far it can be trusted."""

    id: int
    """Counts from 0 in a session, not without gaps; messages with the same id are states of the same event."""
    kind: EventKind
    state: EventState
    onset: Moment
    apex: Moment
    offset: Moment
    emotion: str
    """The class of most windows of the event's rise, never the neutral one with `runs`."""
    probabilities: tuple[float, ...]
    """Mean over the event's rise, in the order of the model's classes."""
    score: float
    """Peak spotting score, 0..1."""
    decision_delay_ms: float
    """Capture time from the event's offset to the frame that decided it."""
    track_id: int = 0
    model_id: str = ""
    flags: tuple[str, ...] = ()
    trial: str = ""
    """Trial that ran at the onset, as the markers say; empty where there are none."""
    condition: str = ""
    t_error_us: float | None = None
    """How far capture times can be off, as a sync test of this camera found; None without one."""
    spread: float | None = None
    """Mean spread of an ensemble's networks over the event's rise; None of a single network."""
    false_alarms_per_hour: float | None = None
    """Expected rate of false alarms at least as strong, by the participant's baseline; None without one."""
    false_alarms_per_hour_upper: float | None = None
    """The upper bound of that rate (90 % bounds)."""
