"""The `runs` decoding of a finished stretch, written as plainly as it can be: what the live one must agree with."""

from __future__ import annotations

import itertools

from sfam.stream.flow_window import FlowWindow

from .decoding import RunsSpec
from .event_book import class_name, majority_class
from .events import Interval, Score
from .recent import Recent
from .return_check import follow
from .spotting_runs import (
    SECOND_NS,
    Expression,
    Run,
    Sample,
    belong_together,
    box_mean,
    crossing_ns,
    expression_of,
    place,
    rise_of,
    sample_of,
)

Stretch = list[tuple[Score, FlowWindow | None]]
"""Scores of one face without a gap, with their windows."""


def intervals_of(stretch: Stretch, spec: RunsSpec) -> list[Interval]:
    """Confirmed intervals of a gap-free stretch, ascending."""
    samples: Recent[Sample] = Recent(len(stretch) + 1)
    for score, window in stretch:
        samples.append(sample_of(score, window))
    half_ns = round(spec.box_s * SECOND_NS / 2)
    points = [(samples[i].score.t_capture_ns, box_mean(samples, i, half_ns)) for i in range(len(samples))]
    runs = joined(raw_runs(points, spec), spec)
    intervals: list[Interval] = []
    while runs:
        pieces, expression = next_rest(runs, samples, spec)
        if expression is not None and place(samples, expression, spec, samples[0].score.t_capture_ns).kind:
            intervals.append(_interval(expression, samples, spec))
        runs = runs[pieces:]
    return intervals


def raw_runs(points: list[tuple[int, float]], spec: RunsSpec) -> list[tuple[Run, float]]:
    """Stretches at or above `lo` and their peaks, cut at the longest length."""
    longest_ns = round(spec.longest_s * SECOND_NS)
    runs: list[tuple[Run, float]] = []
    for high, group in itertools.groupby(range(len(points)), key=lambda i: points[i][1] >= spec.lo):
        if not high:
            continue
        indices = list(group)
        while indices:
            first = indices[0]
            begin = points[first][0]
            if first and points[first - 1][1] < spec.lo:
                begin = crossing_ns(*points[first - 1], *points[first], spec.lo)
            part = [i for i in indices if i == first or points[i][0] - begin < longest_ns]
            last, end = part[-1], points[part[-1]][0]
            if last + 1 < len(points) and points[last + 1][1] < spec.lo:
                end = crossing_ns(*points[last], *points[last + 1], spec.lo)
            runs.append((Run(begin, end), max(points[i][1] for i in part)))
            indices = indices[len(part) :]
    return runs


def joined(runs: list[tuple[Run, float]], spec: RunsSpec) -> list[Run]:
    """Those that reach `hi`, with what follows soon however weak, unless that would be too long."""
    join_ns, longest_ns = round(spec.join_s * SECOND_NS), round(spec.longest_s * SECOND_NS)
    result: list[Run] = []
    for run, peak in runs:
        if result and belong_together(result[-1], run.begin_ns, run.end_ns, join_ns, longest_ns):
            result[-1] = Run(result[-1].begin_ns, run.end_ns)
        elif peak >= spec.hi:
            result.append(run)
    return result


def next_rest(runs: list[Run], samples: Recent[Sample], spec: RunsSpec) -> tuple[int, Expression | None]:
    """How many of the runs bring the face back to rest, and the expression they make; (1, None) if none do."""
    gap_ns, longest_ns = round(spec.piece_gap_s * SECOND_NS), round(spec.longest_s * SECOND_NS)
    for pieces, last in enumerate(runs[: spec.pieces], 1):
        expression = expression_of(runs[0], last, spec)
        too_far = pieces > 1 and last.begin_ns - runs[pieces - 2].end_ns > gap_ns
        if too_far or expression.end_ns - expression.begin_ns > longest_ns:
            break
        path = follow(samples, expression)
        if path is None or path.is_back(spec.return_rho, spec.return_px):
            return pieces, expression
    return 1, None


def _interval(expression: Expression, samples: Recent[Sample], spec: RunsSpec) -> Interval:
    found = place(samples, expression, spec, samples[0].score.t_capture_ns)
    rise = rise_of(samples, expression, spec)
    frames = samples[found.onset].score.frame, samples[found.offset].score.frame
    return Interval(found.kind, *frames, class_name(spec.classes, majority_class(rise)))
