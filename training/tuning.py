"""Sequences with known expressions, judged by a network as live, and the decoding that reads them best.

Tuning decodes with the live spotter: what is tuned is what runs.
"""

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
from sfam.engine.spotting import LiveSpotter, interval_of
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from sfam.stream.flow_window import FlowWindow

from .courses import CLASSES
from .decoding import Tally, Truth, coordinate_search, tally
from .fit import compress
from .reliability import adjusted, fit_reliability, moving_labels
from .sequences import FPS, Scene, frames, sequence_of


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One sequence as the spotter gets it, and what it should find."""

    scores: list[Score]
    windows: list[FlowWindow]
    truth: Truth
    moving: NDArray[np.int8]
    """(len(scores),) 1 = an expression moves in the window, 0 = none, -1 = too little to say."""


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


def judge_sequence(
    network: SFAMNet,
    scales: tuple[float, float],
    scene: Scene,
    config: StreamConfig | None = None,
    silent: tuple[int, ...] = (),
) -> Judged:
    """Render and measure a scene, and score it.

    Args:
        network: as trained.
        scales: compression of u, v (px) and w (mm).
        scene: with expressions.
        config: of the analysis; None = as live.
        silent: channels that the network does not see.
    """
    analysis = Analysis(config or StreamConfig(), FPS)
    scores: list[Score] = []
    windows: list[FlowWindow] = []
    try:
        for frame in frames(scene):
            for window in analysis.push(frame)[:1]:
                scores.append(_score(network, scales, window, silent))
                windows.append(window)
    finally:
        analysis.close()
    sequence = sequence_of(scene)
    spans = [(score.from_frame, score.frame) for score in scores]
    moving = moving_labels(scene.plan.events, sequence.model, spans, FPS)
    return Judged(scores, windows, truth_of(scene), moving)


def calibrate(network: SFAMNet, judged: Sequence[Judged], usual: Sequence[Judged] = ()) -> list[Judged]:
    """Make scores mean what they say: adjusts the network's last layer, and gives the sequences with new scores.

    Args:
        network: as trained; changed in place.
        judged: sequences to score anew.
        usual: those of them that show what is usual, where scores are to hold; none = all.
    """
    shown = usual or judged
    scores = np.array([score.spot for each in shown for score in each.scores])
    slope, offset = fit_reliability(scores, np.concatenate([each.moving for each in shown]))
    with torch.no_grad():
        network.fc_spot.weight.mul_(slope)
        network.fc_spot.bias.mul_(slope).add_(offset)
    return [
        replace(
            each,
            scores=[
                replace(score, spot=float(spot))
                for score, spot in zip(
                    each.scores, adjusted(np.array([one.spot for one in each.scores]), slope, offset), strict=True
                )
            ],
        )
        for each in judged
    ]


def truth_of(scene: Scene) -> Truth:
    """What a scene shows."""
    events = sequence_of(scene).events()
    spans = {kind: tuple((e.onset, e.offset) for e in events if e.kind == kind) for kind in ("micro", "macro")}
    return Truth(spans["micro"], spans["macro"], scene.plan.seconds / 60)


def _score(network: SFAMNet, scales: tuple[float, float], window: FlowWindow, silent: tuple[int, ...]) -> Score:
    maps = window.maps[None].copy()
    maps[:, list(silent)] = 0
    spots, emotions = judge(network, scales, maps)
    return Score(
        window.frame,
        window.t_capture_ns,
        float(spots[0]),
        tuple(float(value) for value in emotions[0]),
        from_frame=window.from_frame,
        flags=window.flags,
        t_from_ns=window.t_from_ns,
    )


def count(spec: RunsSpec, judged: Sequence[Judged]) -> Tally:
    """What this decoding finds, live."""
    return tally([_found(spec, each) for each in judged], [each.truth for each in judged])


def _found(spec: RunsSpec, judged: Judged) -> list[tuple[str, int, int]]:
    spotter = LiveSpotter(spec)
    events = [
        event
        for score, window in zip(judged.scores, judged.windows, strict=True)
        for event in spotter.push(score, window)
    ]
    last = {event.id: event for event in (*events, *spotter.flush())}
    found = [interval_of(event) for event in last.values() if event.state == "confirmed"]
    return [(one.kind, one.onset, one.offset) for one in found]


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
