"""How a model answers to the size of its input: the authors of the published weights never stated their scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .backend import Backend
from .fields import smooth_fields

AMPLITUDES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
GAINS = tuple(float(g) for g in np.geomspace(0.05, 20.0, 27))
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
    """A gain under which the scores of a recording span as much of 0..1 as they can."""

    gain: float
    span: float
    """Between the 5th and the 99th percentile of the scores with this gain."""
    span_without: float
    """The same with gain 1."""
    windows: int

    @property
    def text(self) -> str:
        """What was done, for model.json and the start line."""
        return (
            f"gain {self.gain:.3g} for u, v, w was fitted on {self.windows} windows so that the score spans its range "
            f"({self.span:.2f} instead of {self.span_without:.2f}); the published scale is unknown"
        )


def fit_gain(backend: Backend, maps: NDArray[np.float32], gains: Sequence[float] = GAINS) -> GainFit:
    """Choose one gain for all channels from windows of a recording with some expressions in it.

    Args:
        backend: a model imported with gain 1.
        maps: (M, 3, 42, 42), at least 30 windows.

    Raises:
        ValueError: too few windows.
    """
    if len(maps) < 30:
        raise ValueError(f"{len(maps)} windows are too few to fit a gain; give a recording of some seconds")
    spans = {gain: _span(backend, maps, gain) for gain in (1.0, *gains)}
    best = max(spans, key=lambda gain: spans[gain])
    return GainFit(best, spans[best], spans[1.0], len(maps))


def _span(backend: Backend, maps: NDArray[np.float32], gain: float) -> float:
    spots = [backend.run(part * np.float32(gain))[0] for part in np.array_split(maps, max(1, len(maps) // 256))]
    low, high = np.percentile(np.concatenate(spots), [5, 99])
    return float(high - low)
