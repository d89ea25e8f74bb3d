"""The `runs` decoding: stretches of high score, joined until the face is back at rest.

Everything is in time, so that 30, 60 and 90 fps, jitter and changing rates give the same events: the box is an integral
over the linearly interpolated score, runs begin and end at interpolated crossings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sfam.stream.flow_window import FlowWindow

from .decoding import RunsSpec
from .events import Score
from .recent import Recent

SECOND_NS = 1_000_000_000
CUT_NS = 50_000_000
"""An onset or offset further than this from any sample was not seen: more than half a period at 15 fps."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A score and the motion it was read from."""

    score: Score
    motion: NDArray[np.float32] | None
    """(2, 42, 42): u, v px; w is left out, its noise is of another size and unit."""


def sample_of(score: Score, window: FlowWindow | None) -> Sample:
    """What is kept of a score and its window."""
    return Sample(score, None if window is None else window.maps[:2].copy())


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of smoothed score above `lo` that reached `hi`; times are interpolated crossings."""

    begin_ns: int
    end_ns: int


def box_mean(samples: Recent[Sample], index: int, half_ns: int) -> float:
    """Mean of the linearly interpolated score within half_ns of a sample, as far as the stretch reaches."""
    centre = samples[index].score
    area, span = 0.0, 0
    for step in (1, -1):
        i, reach = index, centre.t_capture_ns + step * half_ns
        while samples.holds(i + step):
            a, b = samples[i].score, samples[i + step].score
            length = abs(b.t_capture_ns - a.t_capture_ns)
            part = min(length, abs(reach - a.t_capture_ns))
            area += part * (a.spot + 0.5 * part / length * (b.spot - a.spot))
            span += part
            i += step
            if abs(b.t_capture_ns - centre.t_capture_ns) >= half_ns:
                break
    return area / span if span else centre.spot


def crossing_ns(t_a: int, a: float, t_b: int, b: float, level: float) -> int:
    """When the line from (t_a, a) to (t_b, b) passes a level that lies between them."""
    return t_a + round((t_b - t_a) * (level - a) / (b - a)) if a != b else t_b


class RunFinder:
    """Finds runs point by point; a run is reported once nothing later can join it."""

    def __init__(self, spec: RunsSpec) -> None:
        self._spec = spec
        self._join_ns = round(spec.join_s * SECOND_NS)
        self._longest_ns = round(spec.longest_s * SECOND_NS)
        self._last: tuple[int, float] | None = None
        self._begin_ns: int | None = None
        self._peak = 0.0
        self._held: Run | None = None

    @property
    def running(self) -> int | None:
        """Where the run that is under way or not yet reported began, None when there is none."""
        if self._held is not None:
            return self._held.begin_ns
        return self._begin_ns if self._begin_ns is not None and self._peak >= self._spec.hi else None

    @property
    def quiet_until_ns(self) -> int:
        """No run that is still to be reported begins before this."""
        if self._held is not None:
            return self._held.begin_ns
        if self._begin_ns is not None:
            return self._begin_ns
        return self._last[0] if self._last is not None else 0

    def push(self, t_ns: int, x: float) -> list[Run]:
        """Add a point of the smoothed score; gives the runs that are complete."""
        runs: list[Run] = []
        if x >= self._spec.lo:
            if self._begin_ns is None:
                self._begin_ns = self._crossing(t_ns, x)
                self._peak = 0.0
            elif t_ns - self._begin_ns >= self._longest_ns:
                runs += self._close(self._last[0] if self._last is not None else t_ns)
                self._begin_ns, self._peak = t_ns, 0.0
            self._peak = max(self._peak, x)
        elif self._begin_ns is not None:
            runs += self._close(self._crossing(t_ns, x))
        self._last = (t_ns, x)
        held, next_ns = self._held, self._begin_ns if self._begin_ns is not None else t_ns
        if held is not None and next_ns - held.end_ns > self._join_ns:
            self._held = None
            runs.append(held)
        return runs

    def flush(self) -> list[Run]:
        """The stretch has ended: what is open ends here."""
        runs = self._close(self._last[0]) if self._begin_ns is not None and self._last is not None else []
        if self._held is not None:
            runs.append(self._held)
            self._held = None
        return runs

    def _crossing(self, t_ns: int, x: float) -> int:
        return t_ns if self._last is None else crossing_ns(*self._last, t_ns, x, self._spec.lo)

    def _close(self, end_ns: int) -> list[Run]:
        """End the open run; gives the one before it if they do not belong together.

        What follows soon belongs to it however weak: a slow fall moves less within a window than the rise did.
        """
        begin_ns, self._begin_ns = self._begin_ns, None
        if begin_ns is None:
            return []
        held = self._held
        if held is not None and belong_together(held, begin_ns, end_ns, self._join_ns, self._longest_ns):
            self._held = Run(held.begin_ns, end_ns)
            return []
        if self._peak < self._spec.hi:
            return []
        self._held = Run(begin_ns, end_ns)
        return [] if held is None else [held]


def belong_together(before: Run, begin_ns: int, end_ns: int, join_ns: int, longest_ns: int) -> bool:
    """Whether what is high from begin to end goes on with the run before it."""
    return begin_ns - before.end_ns <= join_ns and end_ns - before.begin_ns <= longest_ns


@dataclass(frozen=True, slots=True)
class Expression:
    """One or several runs between rest and rest."""

    onset_ns: int
    offset_ns: int
    begin_ns: int
    """First crossing of its first run."""
    end_ns: int
    """Last crossing of its last run."""

    @property
    def duration_s(self) -> float:
        """From onset to offset."""
        return (self.offset_ns - self.onset_ns) / SECOND_NS


def expression_of(first: Run, last: Run, spec: RunsSpec) -> Expression:
    """Runs -> onset and offset: windows see a motion a little after it begins and still after it ends."""
    onset = first.begin_ns - round(spec.onset_shift_s * SECOND_NS)
    return Expression(onset, last.end_ns - round(spec.offset_shift_s * SECOND_NS), first.begin_ns, last.end_ns)


def kind_of(expression: Expression, spec: RunsSpec) -> str:
    """`micro`, `macro` or '' for what is too short."""
    if expression.duration_s < spec.shortest_s:
        return ""
    return "micro" if expression.duration_s <= spec.micro_longest_s else "macro"


def nearest(samples: Recent[Sample], t_ns: int) -> int:
    """Index of the held sample nearest in time."""
    low, high = samples.first, len(samples) - 1
    while low < high:
        middle = (low + high) // 2
        if samples[middle].score.t_capture_ns < t_ns:
            low = middle + 1
        else:
            high = middle
    if low > samples.first:
        before = t_ns - samples[low - 1].score.t_capture_ns
        if before < samples[low].score.t_capture_ns - t_ns:
            return low - 1
    return low


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression lies among the samples, and what it is."""

    onset: int
    offset: int
    kind: str
    """`micro`, `macro` or '' for what is too short."""
    cut: bool
    """Frames are missing at its onset or offset, so part of it was not seen."""


def place(
    samples: Recent[Sample], expression: Expression, spec: RunsSpec, begin_ns: int, is_over: bool = True
) -> Place:
    """Onset and offset among the samples; `begin_ns` is where the stretch began.

    The times of an expression are estimates. Where no sample lies near one of them, or the score was high from the
    first sample on or to the last one, only what lies between samples was seen, and that alone must be long enough.
    """
    onset, offset = nearest(samples, expression.onset_ns), nearest(samples, expression.offset_ns)
    onset_ns, offset_ns = samples[onset].score.t_capture_ns, samples[offset].score.t_capture_ns
    away_ns = max(abs(onset_ns - expression.onset_ns), abs(offset_ns - expression.offset_ns))
    at_end = is_over and expression.end_ns >= samples[len(samples) - 1].score.t_capture_ns
    cut = at_end or expression.begin_ns <= begin_ns or away_ns > CUT_NS
    short = cut and offset_ns - onset_ns < spec.shortest_s * SECOND_NS
    return Place(onset, offset, "" if short else kind_of(expression, spec), cut)


def rise_of(samples: Recent[Sample], expression: Expression, spec: RunsSpec) -> list[Score]:
    """The scores that name an expression: those of its rise, from its first crossing on for `rise_s`.

    The published rule asks all from onset to apex. Here the windows before the first crossing see next to nothing yet,
    those of a long hold see noise, and those just after an early apex still reach back over the rise: the majority from
    onset to apex named 27 of 30 families right, this 29 (`benchmarks/decoding_choices.py`).
    """
    end_ns = expression.begin_ns + round(spec.rise_s * SECOND_NS)
    first, last = nearest(samples, expression.begin_ns), nearest(samples, min(end_ns, expression.end_ns))
    held = [sample.score for sample in samples.window(first, last + 1)]
    return [score for score in held if expression.begin_ns <= score.t_capture_ns <= end_ns]
