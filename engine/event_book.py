"""The life of events: ids from 0, provisional -> confirmed | withdrawn, with the time each decision took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .events import Event, EventKind, EventState, Moment, Score

BELOW_NOISE = "below_noise"
GAP = "gap"
RateOf = Callable[[float], tuple[float, float]]
"""Peak score of an event -> false alarms per hour at least as strong: expected, and at most."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a decoder saw; the book gives it an id and a state."""

    kind: EventKind
    onset: Moment
    apex: Moment
    offset: Moment
    emotion: str
    probabilities: tuple[float, ...]
    score: float
    flags: tuple[str, ...] = ()
    spread: float | None = None


class EventBook:
    """Numbers events over all faces of a session, from `first` on.

    Args:
        first: id of the first event.
        rate_of: how often the participant's baseline alone raised such an alarm, where there is a baseline.
    """

    def __init__(self, first: int = 0, rate_of: RateOf | None = None) -> None:
        self._next = first
        self._rate_of = rate_of

    @property
    def next_id(self) -> int:
        """Of the event that is seen next."""
        return self._next

    def open(self, sighting: Sighting, score: Score) -> Event:
        """A provisional event with a new id; `score` is the one that showed it."""
        event = self._event(self._next, "provisional", sighting, score)
        self._next += 1
        return event

    def decide(self, event: Event, sighting: Sighting | None, score: Score) -> Event:
        """Confirm an event as finally seen, or withdraw it (None); `score` is the one that decided it."""
        if sighting is not None:
            return self._event(event.id, "confirmed", sighting, score)
        delay = (score.t_capture_ns - event.offset.t_capture_ns) / 1e6
        return replace(event, state="withdrawn", decision_delay_ms=delay)

    def _event(self, number: int, state: EventState, sighting: Sighting, score: Score) -> Event:
        expected, upper = (None, None) if self._rate_of is None else self._rate_of(sighting.score)
        return Event(
            id=number,
            kind=sighting.kind,
            state=state,
            onset=sighting.onset,
            apex=sighting.apex,
            offset=sighting.offset,
            emotion=sighting.emotion,
            probabilities=sighting.probabilities,
            score=sighting.score,
            decision_delay_ms=(score.t_capture_ns - sighting.offset.t_capture_ns) / 1e6,
            track_id=score.track_id,
            model_id=score.model_id,
            flags=sighting.flags,
            spread=sighting.spread,
            false_alarms_per_hour=expected,
            false_alarms_per_hour_upper=upper,
        )


def moment_of(score: Score) -> Moment:
    """Where and when a score is."""
    return Moment(score.frame, score.t_capture_ns)


def mean_probabilities(scores: Sequence[Score]) -> tuple[float, ...]:
    """Mean class probabilities, () where there are none."""
    rows = [score.emotion for score in scores if score.emotion]
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True)) if rows else ()


def majority_class(scores: Sequence[Score]) -> int:
    """The class that most scores hold for likeliest, -1 where there is none; neutral, the last one, is never named.

    Of classes with equally many votes the one with the higher mean probability.
    """
    rows = [score.emotion[:-1] for score in scores if len(score.emotion) > 1]
    votes = Counter(row.index(max(row)) for row in rows)
    mean = mean_probabilities(scores)
    return max(votes, key=lambda k: (votes[k], mean[k], -k)) if votes else -1


def mean_spread(scores: Sequence[Score]) -> float | None:
    """Mean spread of an ensemble's networks, None where there is none."""
    spreads = [score.spread for score in scores if score.spread is not None]
    return sum(spreads) / len(spreads) if spreads else None


def united_flags(scores: Sequence[Score]) -> tuple[str, ...]:
    """All flags of the scores, sorted; `below_noise` only where every score has it.

    The quiet windows at both ends of an event are below the noise floor by nature; they say nothing of its peak.
    """
    flags = {flag for score in scores for flag in score.flags}
    if not all(BELOW_NOISE in score.flags for score in scores):
        flags.discard(BELOW_NOISE)
    return tuple(sorted(flags))


def class_name(classes: tuple[str, ...], index: int) -> str:
    """The name of a class, its number where names are not known, '' where there is no class."""
    if index < 0:
        return ""
    return classes[index] if index < len(classes) else str(index)
