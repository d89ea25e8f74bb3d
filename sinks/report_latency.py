"""The latency part of a report: stages at the end of the session, and capture to score over all of it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from .report_plots import LEFT, RIGHT, WIDTH, Axes, Timeline, Values, scale, svg, time_marks, trace
from .session_reader import SessionRecord

BAR_HEIGHT = 20
COURSE_HEIGHT = 150
SHOWN_SHARE = 99.5
"""Percentile of the rows' p99 that the plot reaches up to; what is higher is cut off there, and said in words."""
LONGEST_STEP_S, LONGEST_STEPS = 5.0, 3.0
"""Between two rows, and in usual steps, of which a fast replay has long ones; no line bridges a longer one."""


def latency_words(record: SessionRecord, line: Timeline) -> str:
    """What is plotted, and the slowest frame of the session."""
    stages = "By stage over the session's last seconds: median, p95 and p99."
    if not record.summary["counters"].get("latency_us"):
        stages = "Stages were not measured: the session did not end in order."
    if not record.latency:
        return stages
    slowest_us = _column(record, "slowest_us")
    place = int(slowest_us.argmax())
    row = record.latency[place]
    minutes, seconds = divmod(round(line.second_of(int(row["last_frame"]))), 60)
    return (
        "From capture to score in ms, from second to second: median, and p99 in grey. The slowest frame "
        f"took {slowest_us[place] / 1e3:.1f} ms: one of {row['first_frame']} to {row['last_frame']}, "
        f"at {minutes}:{seconds:02d}. {stages}"
    )


def course_plot(record: SessionRecord, line: Timeline) -> str:
    """Median and p99 over the session; empty text where there are fewer than two rows."""
    if len(record.latency) < 2:
        return ""
    seconds = np.array([line.second_of(int(row["last_frame"])) for row in record.latency])
    p50_ms, p99_ms = _column(record, "p50_us") / 1e3, _column(record, "p99_us") / 1e3
    high = float(np.ceil(np.percentile(p99_ms, SHOWN_SHARE) * 1.1))
    axes = Axes(0.0, max(line.duration_s, 1e-3), 0.0, high, COURSE_HEIGHT)
    parts = [scale(axes, (0.0, high / 2, high)), time_marks(axes)]
    longest_s = max(LONGEST_STEP_S, LONGEST_STEPS * float(np.median(np.diff(seconds))))
    for values_ms, name in ((p99_ms, "slow"), (p50_ms, "median")):
        parts.append(trace(axes, seconds, np.minimum(values_ms, high), name, longest_s))
    return svg(axes.height, parts, "From capture to score over the session: median and 99th percentile, ms")


def _column(record: SessionRecord, name: str) -> Values:
    return np.array([float(row[name]) for row in record.latency])


def stages_plot(stages: Mapping[str, Mapping[str, float]]) -> str:
    """Median, p95 and p99 of each stage in milliseconds; empty text where nothing was measured."""
    if not stages:
        return ""
    longest = max(spread["p99"] for spread in stages.values()) / 1e3 or 1.0
    height = BAR_HEIGHT * len(stages) + 12
    room = WIDTH - LEFT - 220
    parts = []
    for place, (name, spread) in enumerate(stages.items()):
        p50, p95, p99 = (spread[quantile] / 1e3 for quantile in ("p50", "p95", "p99"))
        middle = place * BAR_HEIGHT + 14
        at50, at95, at99 = (LEFT + max(1.0, value / longest * room) for value in (p50, p95, p99))
        parts += [
            f'<text class="lane" x="{LEFT - 6}" y="{middle + 4}">{escape(name)}</text>',
            f'<line class="reach" x1="{LEFT}" x2="{at99:.1f}" y1="{middle}" y2="{middle}"/>',
            f'<line class="mostly" x1="{LEFT}" x2="{at95:.1f}" y1="{middle}" y2="{middle}"/>',
            f'<line class="half" x1="{LEFT}" x2="{at50:.1f}" y1="{middle}" y2="{middle}"/>',
            f'<text class="figure" x="{WIDTH - RIGHT}" y="{middle + 4}">{p50:.2f} / {p95:.2f} / {p99:.2f} ms</text>',
        ]
    return svg(height, parts, "Time by stage: median, 95th and 99th percentile")
