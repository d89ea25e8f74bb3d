"""Figures of the report as inline SVG: no plotting library, nothing to load."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .clip_windows import FRAME_SKIP
from .metrics import Span

WIDTH, HEIGHT, MARGIN = 720, 160, 24
MOST_POINTS = 1200


def score_trace(score: NDArray[np.float64], truth: Sequence[Span], found: Sequence[Span]) -> str:
    """A trace 0..1 over its samples, true spans as bars below and found ones above (spans in frames)."""
    frames = max(len(score) * FRAME_SKIP, 1)
    step = max(1, len(score) // MOST_POINTS)
    kept = score[: len(score) // step * step].reshape(-1, step).max(axis=1) if len(score) else score
    points = " ".join(
        f"{_x(index * step * FRAME_SKIP / frames):.1f},{_y(value):.1f}" for index, value in enumerate(kept)
    )
    bars = [_bar(span, frames, HEIGHT - 14, "#2a7") for span in truth] + [
        _bar(span, frames, 4, "#c33") for span in found
    ]
    return _svg(HEIGHT, f"<polyline points='{points}' fill='none' stroke='#235' stroke-width='1'/>", *bars)


def reliability_curve(bins: Sequence[tuple[float, float, int]]) -> str:
    """Share of moving windows over mean score, circles by number of windows, beside the diagonal."""
    side = 260
    inner = side - 2 * MARGIN
    most = max((count for *_, count in bins), default=1) or 1
    circles = [
        f"<circle cx='{MARGIN + inner * score:.1f}' cy='{side - MARGIN - inner * share:.1f}' "
        f"r='{2 + 6 * math.log1p(count) / math.log1p(most):.1f}' fill='#235'><title>{count} windows</title></circle>"
        for score, share, count in bins
        if count
    ]
    diagonal = f"<path d='M{MARGIN} {side - MARGIN}L{side - MARGIN} {MARGIN}' stroke='#aaa'/>"
    frame = f"<rect x='{MARGIN}' y='{MARGIN}' width='{inner}' height='{inner}' fill='none' stroke='#888'/>"
    return f"<svg viewBox='0 0 {side} {side}' width='{side}'>{frame}{diagonal}{''.join(circles)}</svg>"


def _x(share: float) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * share


def _y(value: float) -> float:
    return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value


def _bar(span: Span, frames: int, y: int, color: str) -> str:
    left, right = _x(span[0] / frames), _x((span[1] + 1) / frames)
    return f"<rect x='{left:.1f}' y='{y}' width='{max(right - left, 1):.1f}' height='8' fill='{color}'/>"


def _svg(height: int, *parts: str) -> str:
    base = f"<path d='M{MARGIN} {_y(0):.0f}H{WIDTH - MARGIN}M{MARGIN} {_y(1):.0f}H{WIDTH - MARGIN}' stroke='#ccc'/>"
    return f"<svg viewBox='0 0 {WIDTH} {height}' width='{WIDTH}'>{base}{''.join(parts)}</svg>"
