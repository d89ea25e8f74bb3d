"""The plots of a report, as SVG text: drawn from the session's tables, light enough for an hour of frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from sfam.engine.events import Event

from .session_reader import SessionRecord

Values = NDArray[np.float64]
WIDTH = 960
LEFT, RIGHT, TOP, BOTTOM = 112, 10, 8, 20
TRACE_HEIGHT = 190
LANE_HEIGHT = 18
MOST_POINTS = 1800
LONGEST_STEP_S = 0.25
"""Between two scores; a longer one is a gap, and no line bridges it."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Columns of scores.csv as arrays, one entry per row."""

    frames: NDArray[np.int64]
    seconds: Values
    """Since the first frame; where a frame was dropped before its stamp was read, between its neighbours."""
    face_ids: NDArray[np.int64]
    spot: Values
    """NaN where there is none."""
    noise_u_px: Values
    noise_v_px: Values
    noise_w_mm: Values
    causes: tuple[str, ...]
    """Why a row has no score; empty where it has one."""

    @classmethod
    def of(cls, record: SessionRecord) -> Timeline:
        """The timeline of a session."""
        rows = record.scores
        frames = np.array([int(row["frame"]) for row in rows], np.int64)
        stamped = np.array([bool(row["t_capture_ns"]) for row in rows], bool)
        seconds = np.zeros(len(rows))
        if stamped.any():
            known = [record.seconds(int(row["t_capture_ns"])) for row in rows if row["t_capture_ns"]]
            seconds = np.interp(frames, frames[stamped], known)

        def column(name: str) -> Values:
            return np.array([float(row[name]) if row.get(name) else math.nan for row in rows], np.float64)

        return cls(
            frames,
            seconds,
            np.array([int(row["face_id"]) for row in rows], np.int64),
            column("spot"),
            column("noise_u_px"),
            column("noise_v_px"),
            column("noise_w_mm"),
            tuple("" if row["spot"] else row["cause"] or "no_score" for row in rows),
        )

    @property
    def duration_s(self) -> float:
        """From the first to the last frame."""
        return float(self.seconds[-1]) if len(self.seconds) else 0.0

    def second_of(self, frame: int) -> float:
        """When a frame was captured."""
        return float(np.interp(frame, self.frames, self.seconds)) if len(self.frames) else 0.0


@dataclass(frozen=True, slots=True)
class Axes:
    """From seconds and values to the plane of a plot."""

    begin_s: float
    end_s: float
    low: float
    high: float
    height: int
    width: int = WIDTH

    def x(self, second: float) -> float:
        """Pixels from the left."""
        share = (second - self.begin_s) / max(self.end_s - self.begin_s, 1e-9)
        return LEFT + share * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        share = (value - self.low) / max(self.high - self.low, 1e-12)
        return self.height - BOTTOM - share * (self.height - TOP - BOTTOM)


def score_plot(line: Timeline, events: Sequence[Event], threshold: float | None) -> str:
    """The spotting score over the session, its threshold, and each event as a band that leads to its review."""
    axes = Axes(0.0, max(line.duration_s, 1e-3), 0.0, 1.0, TRACE_HEIGHT)
    parts = [scale(axes, (0.0, 0.5, 1.0)), time_marks(axes)]
    for event in events:
        begin, end = axes.x(line.second_of(event.onset.frame)), axes.x(line.second_of(event.offset.frame))
        label = f"{event.kind} {event.emotion}, frames {event.onset.frame} to {event.offset.frame}"
        parts.append(
            f'<a href="#event-{event.id}"><rect class="band {event.kind}" x="{begin:.1f}" y="{TOP}" '
            f'width="{max(2.0, end - begin):.1f}" height="{TRACE_HEIGHT - TOP - BOTTOM}">'
            f"<title>{escape(label)}</title></rect></a>"
        )
    if threshold is not None:
        parts.append(_level(axes, threshold, "threshold"))
    for face in np.unique(line.face_ids):
        mine = line.face_ids == face
        parts.append(trace(axes, line.seconds[mine], line.spot[mine], "score"))
    return svg(axes.height, parts, "Spotting score over the session")


def event_plot(line: Timeline, event: Event, threshold: float | None, begin_s: float, end_s: float) -> str:
    """The score around one event, with its interval and apex."""
    axes = Axes(begin_s, end_s, 0.0, 1.0, 150)
    onset, apex, offset = (axes.x(line.second_of(m.frame)) for m in (event.onset, event.apex, event.offset))
    inside = (line.seconds >= begin_s) & (line.seconds <= end_s) & (line.face_ids == event.track_id)
    parts = [
        scale(axes, (0.0, 0.5, 1.0)),
        time_marks(axes),
        f'<rect class="band {event.kind} interval" x="{onset:.1f}" y="{TOP}" width="{max(1.0, offset - onset):.1f}" '
        f'height="{axes.height - TOP - BOTTOM}"/>',
        f'<line class="apex" x1="{apex:.1f}" x2="{apex:.1f}" y1="{TOP}" y2="{axes.height - BOTTOM}"/>',
        "" if threshold is None else _level(axes, threshold, "threshold"),
        trace(axes, line.seconds[inside], line.spot[inside], "score"),
        f'<line class="cursor" x1="{apex:.1f}" x2="{apex:.1f}" y1="{TOP}" y2="{axes.height - BOTTOM}"/>',
    ]
    label = f"Score around event {event.id}; the line is its apex"
    return svg(axes.height, parts, label)


def causes_plot(line: Timeline) -> str:
    """When frames gave no score, one lane per cause; empty text where every frame gave one."""
    causes = sorted({cause for cause in line.causes if cause})
    if not causes:
        return ""
    found = np.array(line.causes)
    height = TOP + LANE_HEIGHT * len(causes) + BOTTOM
    axes = Axes(0.0, max(line.duration_s, 1e-3), 0.0, 1.0, height)
    step = np.median(np.diff(line.seconds)) if len(line.seconds) > 1 else 0.0
    parts = [time_marks(axes)]
    for lane, cause in enumerate(causes):
        top = TOP + lane * LANE_HEIGHT
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top + 16}" y2="{top + 16}"/>')
        for first, last in _runs(found == cause):
            begin, end = axes.x(line.seconds[first]), axes.x(line.seconds[last] + step)
            parts.append(
                f'<rect class="cause" x="{begin:.1f}" y="{top + 3}" width="{max(1.0, end - begin):.1f}" height="12">'
                f"<title>{escape(cause)}: frames {line.frames[first]} to {line.frames[last]}</title></rect>"
            )
        parts.append(f'<text class="lane" x="{LEFT - 6}" y="{top + 13}">{escape(cause)}</text>')
    return svg(height, parts, f"Frames without score by cause: {', '.join(causes)}")


def noise_plot(line: Timeline) -> str:
    """The noise floor of the motion over the session; empty text where it was never measured."""
    floor = np.hypot(line.noise_u_px, line.noise_v_px)
    known = floor[np.isfinite(floor)]
    if not known.size:
        return ""
    high = float(np.ceil(np.percentile(known, 99.5) * 12) / 10)
    axes = Axes(0.0, max(line.duration_s, 1e-3), 0.0, high, 130)
    parts = [
        scale(axes, (0.0, round(high / 2, 3), high)),
        time_marks(axes),
        trace(axes, line.seconds, np.minimum(floor, high), "noise"),
    ]
    return svg(axes.height, parts, "Noise floor of the motion over the session, pixels of the 128 px crop")


def _runs(marked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    return [(int(first), int(last) - 1) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def trace(axes: Axes, seconds: Values, values: Values, name: str, longest_step_s: float = LONGEST_STEP_S) -> str:
    """A line that breaks at longer steps; of many points, the lowest and highest of each short stretch."""
    known = np.isfinite(values)
    seconds, values = seconds[known], values[known]
    longest_step_s = max(longest_step_s, 3 * (axes.end_s - axes.begin_s) / MOST_POINTS)
    if len(seconds) > MOST_POINTS:
        seconds, values = _thinned(seconds, values)
    pieces = np.split(np.arange(len(seconds)), np.flatnonzero(np.diff(seconds) > longest_step_s) + 1)
    path = []
    for piece in pieces:
        points = [f"{axes.x(seconds[i]):.1f} {axes.y(values[i]):.1f}" for i in piece]
        if len(points) > 1:
            path.append("M" + "L".join(points))
    return f'<path class="{name}" d="{"".join(path)}"/>'


def _thinned(seconds: Values, values: Values) -> tuple[Values, Values]:
    stretch = math.ceil(2 * len(seconds) / MOST_POINTS)
    kept: list[int] = []
    for begin in range(0, len(seconds), stretch):
        part = values[begin : begin + stretch]
        kept += sorted({begin + int(part.argmin()), begin + int(part.argmax())})
    return seconds[kept], values[kept]


def scale(axes: Axes, marks: Sequence[float]) -> str:
    """Lines across at some values, named on the left."""
    return "".join(
        f'<line class="grid" x1="{LEFT}" x2="{axes.width - RIGHT}" y1="{axes.y(mark):.1f}" y2="{axes.y(mark):.1f}"/>'
        f'<text class="mark" x="{LEFT - 6}" y="{axes.y(mark) + 4:.1f}">{mark:g}</text>'
        for mark in marks
    )


def _level(axes: Axes, value: float, name: str) -> str:
    y = axes.y(value)
    return f'<line class="{name}" x1="{LEFT}" x2="{axes.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def time_marks(axes: Axes) -> str:
    """Round times along the bottom, eight at most."""
    span = axes.end_s - axes.begin_s
    step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800) if span / s <= 8), 3600)
    marks = np.arange(math.ceil(axes.begin_s / step) * step, axes.end_s + 1e-9, step)
    return "".join(
        f'<text class="time" x="{axes.x(mark):.1f}" y="{axes.height - 4}">{_clock(float(mark), step)}</text>'
        for mark in marks
    )


def _clock(second: float, step: float) -> str:
    if step < 1:
        return f"{second:.1f} s"
    minutes, rest = divmod(round(second), 60)
    return f"{minutes}:{rest:02d}"


def svg(height: int, parts: Sequence[str], label: str) -> str:
    """The plot as an element of the page."""
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{body}</svg>'
