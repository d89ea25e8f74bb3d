"""Tuning of a model's decoding: coordinate search over its settings on sequences with known expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .metrics import Counts, Span, spotting_counts

FALSE_ALARMS_FREE_PER_MIN = 0.5
FALSE_ALARM_COST = 0.03
MACRO_WEIGHT = 0.2


@dataclass(frozen=True, slots=True)
class Truth:
    """Known expressions of one sequence, frames inclusive."""

    micro: tuple[Span, ...]
    macro: tuple[Span, ...]
    minutes: float


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts over sequences."""

    micro: Counts
    macro: Counts
    minutes: float

    @property
    def false_per_min(self) -> float:
        """False micro-expressions a minute."""
        return self.micro.fp / self.minutes if self.minutes else 0.0

    @property
    def goodness(self) -> float:
        """What tuning climbs: micro F1, minus false alarms beyond a free share, plus some of the macro F1."""
        excess = max(0.0, self.false_per_min - FALSE_ALARMS_FREE_PER_MIN)
        return self.micro.f1 - FALSE_ALARM_COST * excess + MACRO_WEIGHT * self.macro.f1


def tally(found: Iterable[Sequence[tuple[str, int, int]]], truths: Sequence[Truth]) -> Tally:
    """Count (kind, onset, offset) detections per sequence against the truth, one-to-one at IoU 0.5."""
    sums = {"micro": [0, 0, 0], "macro": [0, 0, 0]}
    for intervals, truth in zip(found, truths, strict=True):
        for kind, spans in (("micro", truth.micro), ("macro", truth.macro)):
            counts = spotting_counts([(onset, offset) for k, onset, offset in intervals if k == kind], spans)
            for i, value in enumerate((counts.tp, counts.fp, counts.fn)):
                sums[kind][i] += value
    return Tally(Counts(*sums["micro"]), Counts(*sums["macro"]), sum(truth.minutes for truth in truths))


def coordinate_search(
    start: Mapping[str, float],
    choices: Mapping[str, Sequence[float]],
    evaluate: Callable[[Mapping[str, float]], float],
    rounds: int = 2,
) -> tuple[dict[str, float], float]:
    """Change one setting at a time and keep what is better; ties keep the earlier value.

    Returns:
        The settings and their goodness.
    """
    best = dict(start)
    goodness = evaluate(best)
    for _ in range(rounds):
        before = dict(best)
        for name, values in choices.items():
            for value in values:
                if value == best[name]:
                    continue
                tried = {**best, name: value}
                reached = evaluate(tried)
                if reached > goodness + 1e-9:
                    best, goodness = tried, reached
        if best == before:
            break
    return best, goodness
