"""The nouns of judgement: score, interval and event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EventKind = Literal["micro", "macro"]
EventState = Literal["provisional", "confirmed", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Score:
    """What the network says of one face at one frame."""

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
    """A frame and its capture time."""

    frame: int
    t_capture_ns: int


@dataclass(frozen=True, slots=True)
class Event:
    """A spotted expression and how far it can be trusted."""

    id: int
    """Counts from 0 in a session; messages with the same id are states of the same event."""
    kind: EventKind
    state: EventState
    onset: Moment
    apex: Moment
    offset: Moment
    emotion: str
    probabilities: tuple[float, ...]
    """Mean over the event's rise, in the order of the model's classes."""
    score: float
    """Peak spotting score, 0..1."""
    decision_delay_ms: float
    """Capture time from the event's offset to the frame that decided it."""
    track_id: int = 0
    model_id: str = ""
    flags: tuple[str, ...] = ()
