"""Measured sequences with known expressions, judged by a network, and the decoding that reads them best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfam.engine.decoding import RunsSpec
from sfam.engine.events import Score
from sfam.engine.network import SFAMNet
from sfam.engine.spotting import runs_offline
from sfam.stream.flow_window import FlowWindow

from .backgrounds import Measured
from .courses import CLASSES
from .decoding import Tally, Truth, coordinate_search, tally
from .fit import compress
from .sequences import Scene, sequence_of


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One sequence as the spotter gets it, and what it should find."""

    scores: list[Score]
    windows: list[FlowWindow | None]
    truth: Truth


def judge(
    network: SFAMNet, scales: tuple[float, float], maps: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Spot (N,) and emotion probabilities (N, C) of maps (N, 3, 42, 42), by the network as trained."""
    spots, emotions = [], []
    with torch.no_grad():
        for start in range(0, len(maps), 256):
            x = compress(torch.from_numpy(maps[start : start + 256]), *scales)
            spot, emotion = network(*torch.chunk(x, 3, dim=1))
            spots.append(spot.numpy())
            emotions.append(torch.softmax(emotion, dim=1).numpy())
    return np.concatenate(spots), np.concatenate(emotions)


def judge_sequence(network: SFAMNet, scales: tuple[float, float], measured: Measured, scene: Scene) -> Judged:
    """Scores of a measured sequence, beside its truth."""
    windows = [window for window in measured.windows if window is not None]
    spots, emotions = judge(network, scales, np.stack([window.maps for window in windows]))
    scores = [
        Score(
            window.frame,
            window.t_capture_ns,
            float(spot),
            tuple(float(value) for value in emotion),
            from_frame=window.from_frame,
            flags=window.flags,
            t_from_ns=window.t_from_ns,
        )
        for window, spot, emotion in zip(windows, spots, emotions, strict=True)
    ]
    events = sequence_of(scene).events()
    spans = {kind: tuple((e.onset, e.offset) for e in events if e.kind == kind) for kind in ("micro", "macro")}
    return Judged(scores, list(windows), Truth(spans["micro"], spans["macro"], scene.plan.seconds / 60))


def count(spec: RunsSpec, judged: Sequence[Judged]) -> Tally:
    """What this decoding finds."""
    found = [[(i.kind, i.onset, i.offset) for i in runs_offline(each.scores, each.windows, spec)] for each in judged]
    return tally(found, [each.truth for each in judged])


def tune(choices: Mapping[str, Sequence[float]], judged: Sequence[Judged]) -> tuple[RunsSpec, Tally]:
    """Decoding settings that find most, with few false alarms, on these sequences."""
    start = RunsSpec(classes=CLASSES)
    first = {name: float(getattr(start, name)) for name in choices}
    best, _ = coordinate_search(first, choices, lambda values: count(_changed(start, values), judged).goodness)
    spec = _changed(start, best)
    return spec, count(spec, judged)


def _changed(spec: RunsSpec, values: Mapping[str, float]) -> RunsSpec:
    settings: dict[str, Any] = dict(values)
    return replace(spec, **settings)
