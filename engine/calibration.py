"""A threshold in human units: at most so many false alarms per hour, from a neutral baseline of the participant.

A baseline without expressions holds only false alarms. Their number at a threshold is taken as Poisson; the bounds are
exact (Garwood, Biometrika 28, 1936).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from sfam.stream.flow_window import FlowWindow

from .decoding import SpottingSpec
from .events import Score
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
    def lower(self) -> float:
        """Per hour; the true rate lies between lower and upper with at least `confidence`."""
        tail = (1 - self.confidence) / 2
        return float(chi2.ppf(tail, 2 * self.alarms)) / 2 / self.hours if self.alarms else 0.0

    @property
    def upper(self) -> float:
        """Per hour."""
        tail = (1 - self.confidence) / 2
        return float(chi2.ppf(1 - tail, 2 * self.alarms + 2)) / 2 / self.hours


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
    """Every threshold tried and its alarms."""

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


def calibrate(
    scores: Sequence[Score],
    windows: Sequence[FlowWindow | None],
    spec: SpottingSpec,
    wanted_per_hour: float,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Calibration:
    """The lowest threshold under which a neutral baseline bounds the false alarms as wanted.

    Where none does, the lowest one with the fewest alarms; `Calibration.text` then says so.

    Args:
        scores: of the baseline, in the order of time.
        windows: the window of each score.
        spec: the model's decoding; every threshold is decoded as it would be live.
        wanted_per_hour: false alarms (confirmed events of any kind) per hour.
        thresholds: to try.

    Raises:
        ValueError: an empty baseline or a rate that is not positive.
    """
    hours = _covered_hours(scores, spec.gap_s)
    if hours <= 0 or not wanted_per_hour > 0:
        raise ValueError(f"a baseline of {hours * 3600:g} s cannot bound {wanted_per_hour:g} false alarms per hour")
    steps = tuple((threshold, _alarms(scores, windows, spec.with_threshold(threshold))) for threshold in thresholds)
    chosen, alarms = lowest_bounded(steps, hours, wanted_per_hour)
    return Calibration(chosen, FalseAlarmRate(alarms, hours), wanted_per_hour, steps)


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


def _alarms(scores: Sequence[Score], windows: Sequence[FlowWindow | None], spec: SpottingSpec) -> int:
    spotter = LiveSpotter(spec)
    events = [event for score, window in zip(scores, windows, strict=True) for event in spotter.push(score, window)]
    return sum(event.state == "confirmed" for event in events + spotter.flush())


def _covered_hours(scores: Sequence[Score], gap_s: float) -> float:
    """Time under observation: gaps count nothing, of several faces one counts."""
    times = np.unique(np.array([score.t_capture_ns for score in scores], np.int64))
    steps = np.diff(times) / 1e9
    return float(steps[steps <= gap_s].sum()) / 3600
