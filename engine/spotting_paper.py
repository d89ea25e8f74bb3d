"""The published decoding, offline and live: peaks of the smoothed score, intervals where it stays high around them.

Source: Liong et al., Neurocomputing 566 (2024), reproduced from reference outputs, index quirks included: the box is
one sample off centre, traces are padded with zeros, a micro interval looks twice as far ahead as back, the apex itself
counts for a macro's emotion but not for a micro's, ties of the emotion go to the class seen first.
Indices are scored samples, two frames apart at 30 fps.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from .decoding import PaperSpec
from .recent import Recent

Verdict = tuple[int, "Detection | None"]
"""A peak and the interval around it, None where there is none."""


@dataclass(frozen=True, slots=True)
class PeakRule:
    """One of the two passes over a trace; lengths in samples (1/15 s)."""

    kind: str
    half_box: int
    """Half the smoothing box; a peak this close to the end of a trace is none."""
    before: int
    """How far before its peak an interval may begin."""
    after: int
    """How far after its peak an interval may end."""
    apart: int
    """A peak with a higher peak closer than this is passed over."""
    apex_counts: int
    """Whether the apex itself is among the samples that vote on the emotion."""


MICRO = PeakRule("micro", half_box=7, before=8, after=16, apart=1, apex_counts=0)
MACRO = PeakRule("macro", half_box=10, before=25, after=25, apart=25, apex_counts=1)
RULES = (MICRO, MACRO)
MICRO_SAMPLES = range(7, 17)
"""Offset minus onset of a micro interval: 14 to 32 frames."""
MACRO_SHORT = 12
"""A macro interval shorter than this is widened on both sides."""
MACRO_WIDEN = 8


@dataclass(frozen=True, slots=True)
class Detection:
    """An interval in samples, both ends inclusive."""

    kind: str
    onset: int
    apex: int
    offset: int


class Trace(Recent[float]):
    """Numbers, 0 before the first and after the last one."""

    def __getitem__(self, index: int) -> float:
        """The number at `index`, 0 where there is none."""
        return super().__getitem__(index) if self.holds(index) else 0.0


def box_mean(scores: Trace, index: int, half: int) -> float:
    """Mean over samples index - half .. index + half - 1, zeros outside; exactly rounded, so live equals offline."""
    return math.fsum(scores.window(index - half, index + half)) / (2 * half)


def judge_peak(rule: PeakRule, spec: PaperSpec, x: Trace, peak: int) -> Detection | None:
    """The interval around one peak of the smoothed trace x, None where there is none.

    Needs x up to peak + rule.after + 1; what lies beyond the end of a trace is 0.
    """
    height, level = x[peak], spec.height
    onset = min((i for i in range(max(peak - rule.before, 0), peak + 1) if x[i] >= level), key=lambda i: x[i])
    offset = min((i for i in range(peak, peak + rule.after + 1) if x[i] >= level), key=lambda i: x[i])
    if rule.kind == "micro":
        mean = math.fsum(x[i] for i in range(onset, offset + 1)) / (offset - onset + 1)
        phase = min(height - x[onset], height - x[offset])
        if offset - onset not in MICRO_SAMPLES or mean >= spec.micro_mean or phase <= spec.micro_phase:
            return None
    elif x[onset - 1] >= level and x[offset + 1] >= level:
        return None
    elif offset - onset < MACRO_SHORT:
        onset, offset = max(onset - MACRO_WIDEN, 0), offset + MACRO_WIDEN
    return Detection(rule.kind, onset, peak, offset)


def majority(emotions: Sequence[int]) -> int:
    """The most frequent class; of equally frequent ones the one seen first."""
    return Counter(emotions).most_common(1)[0][0]


class PeakFinder:
    """Peaks of one smoothed trace, sample by sample, each judged as soon as enough of what follows is known."""

    def __init__(self, rule: PeakRule, spec: PaperSpec) -> None:
        self.rule = rule
        self.x = Trace()
        self._spec = spec
        self._rise = -1
        """Where the present plateau began, -1 while the trace falls."""
        self._peaks: deque[int] = deque(maxlen=256)
        self._waiting: deque[int] = deque()

    def push(self, value: float) -> tuple[list[int], list[Verdict]]:
        """Add the next smoothed value.

        Returns:
            Peaks that have just shown themselves, and verdicts on earlier ones.
        """
        last = self.x[len(self.x) - 1] if len(self.x) else math.inf
        self.x.append(value)
        found: list[int] = []
        if value > last:
            self._rise = len(self.x) - 1
        elif value < last and self._rise >= 0:
            peak = (self._rise + len(self.x) - 2) // 2
            # A plateau longer than both reaches ends nowhere: no interval, and its begin may be forgotten already.
            short = len(self.x) - 1 - self._rise <= 2 * (self.rule.before + self.rule.after)
            if self.x[peak] >= self._spec.height and short:
                found.append(peak)
            self._rise = -1
        self._peaks.extend(found)
        self._waiting.extend(found)
        return found, self._verdicts(len(self.x) - self.rule.after - 2)

    def flush(self, scores: int) -> list[Verdict]:
        """The trace has ended after `scores` samples: all verdicts that are still due."""
        self._rise = -1
        limit = scores - self.rule.half_box
        return [(peak, verdict if peak < limit else None) for peak, verdict in self._verdicts(len(self.x))]

    def _verdicts(self, until: int) -> list[Verdict]:
        if self._rise >= 0:
            # The present plateau may still become a peak in the middle between its begin and now.
            until = min(until, (self._rise + len(self.x) - 1) // 2 - self.rule.apart)
        due = []
        while self._waiting and self._waiting[0] <= until:
            due.append(self._waiting.popleft())
        return [(peak, None if self._topped(peak) else judge_peak(self.rule, self._spec, self.x, peak)) for peak in due]

    def _topped(self, peak: int) -> bool:
        near = (other for other in self._peaks if abs(other - peak) < self.rule.apart)
        return any(self.x[other] > self.x[peak] for other in near)


class PaperTrace:
    """Both passes over one gap-free trace of scores, one sample every 1/15 s."""

    def __init__(self, spec: PaperSpec) -> None:
        self.finders = tuple(PeakFinder(rule, spec) for rule in RULES)
        self.samples = 0
        self._scores = Trace()
        self._smoothed_sum = 0.0
        self._smoothed = 0

    @property
    def mean(self) -> float:
        """Mean of the smoothed score so far: above `PaperSpec.video_mean` nothing counts."""
        return self._smoothed_sum / self._smoothed if self._smoothed else 0.0

    def push(self, score: float) -> list[tuple[PeakFinder, list[int], list[Verdict]]]:
        """Add a sample; new peaks and verdicts of each pass."""
        self._scores.append(score)
        self.samples += 1
        return [(finder, *self._advance(finder, self.samples - finder.rule.half_box)) for finder in self.finders]

    def flush(self) -> list[tuple[PeakFinder, list[int], list[Verdict]]]:
        """The trace has ended: smooth its tail and give all verdicts still due."""
        results = []
        for finder in self.finders:
            peaks, verdicts = [], []
            for index in range(self.samples - finder.rule.half_box + 1, self.samples):
                new, due = self._advance(finder, index)
                peaks += new
                verdicts += due
            results.append((finder, peaks, verdicts + finder.flush(self.samples)))
        return results

    def _advance(self, finder: PeakFinder, index: int) -> tuple[list[int], list[Verdict]]:
        if index < 0:
            return [], []
        value = box_mean(self._scores, index, finder.rule.half_box)
        if finder.rule is MICRO:
            self._smoothed_sum += value
            self._smoothed += 1
        return finder.push(value)


def detections(scores: Sequence[float], spec: PaperSpec) -> list[Detection]:
    """All intervals of a finished trace; none when its mean is too high."""
    trace = PaperTrace(spec)
    verdicts: list[Verdict] = []
    for score in scores:
        verdicts += [verdict for _, _, due in trace.push(score) for verdict in due]
    verdicts += [verdict for _, _, due in trace.flush() for verdict in due]
    if trace.mean >= spec.video_mean:
        return []
    found = [detection for _, detection in verdicts if detection is not None]
    return sorted(found, key=lambda d: (d.onset, d.offset, d.kind))
