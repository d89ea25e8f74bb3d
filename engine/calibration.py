"""A threshold in human units: at most so many false alarms per hour, from a neutral baseline of the participant.

A baseline without expressions holds only false alarms. Their number at a threshold is taken as Poisson; the bounds are
exact (Garwood, Biometrika 28, 1936).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sfam.stream.flow_window import FlowWindow

from .decoding import PaperSpec, SpottingSpec
from .event_book import RateOf
from .events import Event, Score
from .spotting import LiveSpotter

CONFIDENCE = 0.9
THRESHOLDS = tuple(float(t) for t in np.round(np.arange(0.05, 1.0, 0.025), 3))


@dataclass(frozen=True, slots=True)
class FalseAlarmRate:
    """So many alarms in so much time, and what that says about the rate."""

    alarms: int
    hours: float
    confidence: float = CONFIDENCE

    @property
    def per_hour(self) -> float:
        """The estimate."""
        return self.alarms / self.hours

    @property
    def expected(self) -> float:
        """Per hour, never 0: half an alarm is added, as a baseline without any does not prove that there are none."""
        return (self.alarms + 0.5) / self.hours

    @property
    def lower(self) -> float:
        """Per hour; the true rate lies between lower and upper with at least `confidence`."""
        tail = (1 - self.confidence) / 2
        return _gamma_quantile(self.alarms, tail) / self.hours if self.alarms else 0.0

    @property
    def upper(self) -> float:
        """Per hour."""
        tail = (1 - self.confidence) / 2
        return _gamma_quantile(self.alarms + 1, 1 - tail) / self.hours


def _gamma_quantile(shape: int, share: float) -> float:
    """Half the chi-square quantile of twice the shape: the limits of a Poisson mean."""
    from scipy.special import gammaincinv  # every session imports this file, few need a limit

    return float(gammaincinv(shape, share))


def needed_hours(per_hour: float, confidence: float = CONFIDENCE) -> float:
    """How long a baseline without any alarm must be to bound the rate by `per_hour`."""
    return math.log(2 / (1 - confidence)) / per_hour


@dataclass(frozen=True, slots=True)
class Calibration:
    """The outcome of a baseline."""

    threshold: float
    rate: FalseAlarmRate
    """At that threshold."""
    wanted_per_hour: float
    steps: tuple[tuple[float, int], ...]
    """Every threshold tried, ascending, and its alarms."""
    alarm_scores: tuple[tuple[float, ...], ...] = ()
    """For every step the peak scores of its alarms, ascending."""

    def rate_of(self, score: float, threshold: float) -> FalseAlarmRate:
        """How often the baseline alone raised an alarm at least as strong as an event's peak score.

        Args:
            score: the event's.
            threshold: in use; between two that were tried, the lower one counts, which promises less.
        """
        tried = [step for step, _ in self.steps]
        index = max(bisect.bisect_right(tried, threshold + 1e-9) - 1, 0)
        scores = self.alarm_scores[index]
        return FalseAlarmRate(len(scores) - bisect.bisect_left(scores, score), self.rate.hours, self.rate.confidence)

    def rates_at(self, threshold: float) -> RateOf:
        """For events found with a threshold: peak score -> expected rate of false alarms, and its upper bound."""

        def rate_of(score: float) -> tuple[float, float]:
            rate = self.rate_of(score, threshold)
            return rate.expected, rate.upper

        return rate_of

    @property
    def holds(self) -> bool:
        """Whether the upper bound keeps to what was wanted."""
        return self.rate.upper <= self.wanted_per_hour

    @property
    def text(self) -> str:
        """What the baseline says, and what it does not."""
        rate, seconds = self.rate, self.rate.hours * 3600
        said = (
            f"threshold {self.threshold:g}: {rate.alarms} alarms in {seconds:.0f} s of baseline, so "
            f"{rate.lower:.3g} to {rate.upper:.3g} false alarms per hour ({rate.confidence:.0%} bounds)"
        )
        if self.holds:
            return f"{said}; at most {self.wanted_per_hour:g} per hour as wanted"
        needed = needed_hours(self.wanted_per_hour, rate.confidence) * 3600
        if needed > seconds:
            return (
                f"{said}; the baseline is too short to promise {self.wanted_per_hour:g} per hour: that takes at least "
                f"{needed:.0f} s without an alarm"
            )
        return f"{said}; no threshold keeps this baseline below {self.wanted_per_hour:g} per hour"


class Baseline:
    """Takes a neutral recording score by score and decodes it under every threshold, as it would be live.

    Args:
        spec: the model's decoding.
        thresholds: to try, ascending.
    """

    def __init__(self, spec: SpottingSpec, thresholds: Sequence[float] = THRESHOLDS) -> None:
        self._gap_ns = round(spec.gap_s * 1e9)
        self._own = spec.height if isinstance(spec, PaperSpec) else spec.hi
        self._spotters = {threshold: LiveSpotter(spec.with_threshold(threshold)) for threshold in thresholds}
        self._scores: dict[float, list[float]] = {threshold: [] for threshold in thresholds}
        self._covered_ns = 0
        self._last_ns: int | None = None

    @property
    def hours(self) -> float:
        """Time under observation: gaps count nothing, of several faces one counts."""
        return self._covered_ns / 3600e9

    def push(self, score: Score, window: FlowWindow | None) -> None:
        """Add a score, in the order of time, and the window it was read from."""
        since_ns = 0 if self._last_ns is None else score.t_capture_ns - self._last_ns
        self._covered_ns += since_ns if 0 < since_ns <= self._gap_ns else 0
        self._last_ns = score.t_capture_ns
        for threshold, spotter in self._spotters.items():
            self._count(threshold, spotter.push(score, window))

    def _count(self, threshold: float, events: Sequence[Event]) -> None:
        self._scores[threshold] += [event.score for event in events if event.state == "confirmed"]

    def result(self, wanted_per_hour: float) -> Calibration:
        """The lowest threshold that bounds the false alarms as wanted; call once, at the end.

        Where none does, the one with the fewest alarms from the model's own upwards; `Calibration.text` then says so.

        Raises:
            ValueError: an empty baseline or a rate that is not positive.
        """
        if self.hours <= 0 or not wanted_per_hour > 0:
            raise ValueError(
                f"a baseline of {self.hours * 3600:g} s with a face in view cannot bound {wanted_per_hour:g} false "
                "alarms per hour"
            )
        for threshold, spotter in self._spotters.items():
            self._count(threshold, spotter.flush())
        steps = tuple((threshold, len(scores)) for threshold, scores in self._scores.items())
        chosen, alarms = lowest_bounded(steps, self.hours, wanted_per_hour)
        if FalseAlarmRate(alarms, self.hours).upper > wanted_per_hour:
            # Nothing is promised: then nothing speaks for a level below the model's own either.
            usual = [step for step in steps if step[0] >= self._own - 1e-9] or [steps[-1]]
            chosen, alarms = min(usual, key=lambda step: (step[1], step[0]))
        scores = tuple(tuple(sorted(found)) for found in self._scores.values())
        return Calibration(chosen, FalseAlarmRate(alarms, self.hours), wanted_per_hour, steps, scores)


def calibrate(
    scores: Sequence[Score],
    windows: Sequence[FlowWindow | None],
    spec: SpottingSpec,
    wanted_per_hour: float,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Calibration:
    """The lowest threshold under which a finished neutral baseline bounds the false alarms as wanted, see `Baseline`.

    Raises:
        ValueError: an empty baseline or a rate that is not positive.
    """
    baseline = Baseline(spec, thresholds)
    for score, window in zip(scores, windows, strict=True):
        baseline.push(score, window)
    return baseline.result(wanted_per_hour)


def lowest_bounded(steps: Sequence[tuple[float, int]], hours: float, wanted_per_hour: float) -> tuple[float, int]:
    """Of (threshold, alarms) by ascending threshold, the lowest that is bounded as wanted with all above it.

    Where none is, the lowest one with the fewest alarms.
    """
    fewest = min(alarms for _, alarms in steps)
    chosen = next(step for step in steps if step[1] == fewest)
    # From the highest down: a threshold below one that fails could only pass by chance.
    for threshold, alarms in reversed(steps):
        if FalseAlarmRate(alarms, hours).upper > wanted_per_hour:
            break
        chosen = (threshold, alarms)
    return chosen
