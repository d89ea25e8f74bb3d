"""How a model answers to the size of its input: the authors of the published weights never stated their scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .backend import Backend
from .fields import smooth_fields

AMPLITUDES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
GAINS = tuple(float(g) for g in np.geomspace(0.05, 100.0, 34))
W_SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Gain of w against that of u and v, from the most trusting down."""
WORTH_IT = 0.05
"""So much more span is worth a weaker w, or a larger gain."""
MOST_WINDOWS = 128
CHANNELS = ("u", "v", "w")


@dataclass(frozen=True, slots=True)
class Response:
    """Scores of smooth fields in one channel, the others at rest."""

    channel: str
    amplitude: float
    """px (u, v) or mm (w), root mean square."""
    mean: float
    highest: float


def response_to_scale(
    backend: Backend, amplitudes: Sequence[float] = AMPLITUDES, fields: int = 24, seed: int = 0
) -> list[Response]:
    """Score smooth random fields of growing size, channel by channel."""
    shapes = smooth_fields(fields, seed)
    rows = []
    for k, channel in enumerate(CHANNELS):
        for amplitude in amplitudes:
            maps = np.zeros((fields, 3, 42, 42), np.float32)
            maps[:, k] = shapes[:, k] * np.float32(amplitude)
            spot, _ = backend.run(maps)
            rows.append(Response(channel, amplitude, float(spot.mean()), float(spot.max())))
    return rows


@dataclass(frozen=True, slots=True)
class GainFit:
    """Gains under which the scores of a recording span as much of 0..1 as they can."""

    gain: float
    """Of u and v."""
    gain_w: float
    span: float
    """Between the 5th and the 99th percentile of the scores with these gains."""
    span_without: float
    """The same with gain 1."""
    windows: int

    @property
    def channels(self) -> tuple[float, float, float]:
        """Of u, v, w."""
        return self.gain, self.gain, self.gain_w

    @property
    def text(self) -> str:
        """What was done, for model.json and the start line."""
        return (
            f"gain {self.gain:.3g} for u and v, {self.gain_w:.3g} for w was fitted on {self.windows} windows so that "
            f"the score spans its range ({self.span:.2f} instead of {self.span_without:.2f}); the published scale is "
            "unknown"
        )


def fit_gain(backend: Backend, maps: NDArray[np.float32], gains: Sequence[float] = GAINS) -> GainFit:
    """Choose a gain for u and v, and one for w, from windows of a recording with some expressions in it.

    The networks' answer to w is a matter of its own: published ones are pushed to zero by a w of a tenth of what depth
    cameras give. w is made weaker against u and v only as far as that widens the span.

    Args:
        backend: a model imported with gain 1.
        maps: (M, 3, 42, 42), at least 30 windows; of many, 128 evenly spread ones are used.
        gains: to try, ascending.

    Raises:
        ValueError: too few windows.
    """
    if len(maps) < 30:
        raise ValueError(f"{len(maps)} windows are too few to fit a gain; give a recording of some seconds")
    used = maps[np.unique(np.linspace(0, len(maps) - 1, min(len(maps), MOST_WINDOWS)).round().astype(int))]

    def span(gain: float, share: float) -> float:
        scale = np.array([gain, gain, gain * share], np.float32)[:, None, None]
        low, high = np.percentile(backend.run(used * scale)[0], [5, 99])
        return float(high - low)

    coarse = {share: max(span(gain, share) for gain in gains[::3]) for share in W_SHARES}
    enough = max(coarse.values()) - WORTH_IT
    share = next(share for share in W_SHARES if coarse[share] >= enough)
    spans = {gain: span(gain, share) for gain in gains}
    # Of gains that do nearly alike the smallest: it leaves the most scores between the ends.
    best = next(gain for gain in gains if spans[gain] >= max(spans.values()) - WORTH_IT)
    return GainFit(best, best * share, spans[best], span(1.0, 1.0), len(used))
