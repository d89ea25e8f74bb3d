"""Direct flow between past frames of a sequence, measured while they are held, for tuning after they are gone.

Live, the return check of the `runs` decoding asks for the motion from onset to offset as one direct flow. Which frames
it asks for depends on the settings that tuning is about, and a sequence is rendered only once: so spotters with many
settings watch it at the same time, and whatever one of them asks is measured and kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfam.engine.decoding import RunsSpec
from sfam.stream.analysis import Analysis
from sfam.stream.roi import RegionFinder, cut_maps

NEAREST_FRAMES = 4
"""An answer for a pair this far away, both ends together, serves: at rest a frame more or less moves nothing."""
WATCHED_LO = (0.1, 0.3, 0.5, 0.7)
"""Levels at which runs begin; scores are calibrated afterwards, so they reach further than the choices do."""
WATCHED_RHO = (0.3, 1.2)
"""A low bar makes a spotter ask about further pieces as well."""

Pair = tuple[int, int]
Motion = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class DirectMotion:
    """Answers of one sequence."""

    answers: Mapping[Pair, Motion | None]
    """(frame a, frame b) -> (2, 42, 42) u, v px; None where the frames were no longer held when asked."""

    def between(self, frame_a: int, frame_b: int) -> Motion | None:
        """What was measured for this pair, or for the nearest one; None where the live chain has no direct flow."""
        wanted = (frame_a, frame_b)
        if wanted in self.answers:
            return self.answers[wanted]
        near = min(self.answers, key=lambda pair: (_distance(pair, wanted), pair), default=None)
        return None if near is None or _distance(near, wanted) > NEAREST_FRAMES else self.answers[near]


def _distance(first: Pair, second: Pair) -> int:
    return abs(first[0] - second[0]) + abs(first[1] - second[1])


class DirectMeter:
    """Measures on demand and remembers.

    Args:
        analysis: that the sequence runs through; asked about the face of its first track.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self.answers: dict[Pair, Motion | None] = {}

    def between(self, frame_a: int, frame_b: int) -> Motion | None:
        """Motion from one past frame to the other as a window is cut, as the live pipeline gives it."""
        pair = (frame_a, frame_b)
        if pair not in self.answers:
            self.answers[pair] = self._measure(pair)
        return self.answers[pair]

    def _measure(self, pair: Pair) -> Motion | None:
        if not self._analysis.tracks:
            return None
        track = self._analysis.tracks[0]
        flow = self._analysis.flow_between(track.track_id, *pair)
        if flow is None:
            return None
        return cut_maps(flow, RegionFinder().regions(track.landmarks_px, track.crop))[:2].copy()


def watching(spec: RunsSpec, choices: Mapping[str, Sequence[float]]) -> list[RunsSpec]:
    """Settings that together ask for about every pair that any of these choices would ask for."""
    middle = {name: values[len(values) // 2] for name, values in choices.items()}
    joins = sorted({choices["join_s"][0], choices["join_s"][-1]}) if "join_s" in choices else [spec.join_s]
    settings: list[dict[str, Any]] = [
        {**middle, "lo": lo, "hi": lo, "join_s": join, "return_rho": rho}
        for lo, join, rho in itertools.product(WATCHED_LO, joins, WATCHED_RHO)
    ]
    return [replace(spec, **one) for one in settings]
