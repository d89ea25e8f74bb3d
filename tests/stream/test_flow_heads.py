"""Flow on varied synthetic heads.

The bars of benchmarks/flow_seeds.py hold for the worst of twelve heads but for those in `SHORTFALLS`, which may not get
worse. Besides, no head is measured badly from onset to apex, and warm streams are as good as cold starts.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.flow_seeds import BARS, MODES, OF_HEADS, Figures, figures, head_pairs
from sfam.capture.face_sequence import FaceSequence
from sfam.capture.flow_truth import FlowTruth
from sfam.capture.sequence_plan import draw_plan
from sfam.stream.flow import FlowField, open_flow

HEADS = range(8)
WINDOW = 6
BENCH_HEADS = range(12)
SEEDS_PER_HEAD = 8
SHORTFALLS: dict[str, dict[str, float]] = {
    "fast": {
        "act_epe_px": 0.1129,
        "amplitude_narrow": 0.691,
        "head_face_epe_px": 0.0885,
        "head_inside_epe_px": 0.0763,
        "head_act_epe_px": 0.1298,
    },
    "quality": {"act_epe_px": 0.1052, "amplitude_narrow": 0.686},
}
"""The worst head's figure where it is more than 5 % beyond its bar: 0.10, 0.85 (as a share), 0.070, 0.070, 0.115."""


def grey_of(sequence: FaceSequence, index: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(sequence.crop(index)[0], cv2.COLOR_RGB2GRAY), np.uint8)


@cache
def of_head(head: int) -> dict[str, Figures]:
    """Both modes at once: only their figures are kept, not the pairs of all heads."""
    pairs = head_pairs(head, SEEDS_PER_HEAD)
    return {mode: figures(method, pairs) for mode, method in MODES.items()}


@cache
def onset_to_apex(identity: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], FlowTruth]:
    plan = draw_plan(
        100 * identity + 1,
        2.0,
        micro=1,
        macro=0,
        blinks=0,
        first_micro_s=0.3,
        sway=0.2,
        identity=identity,
        micro_px=(1.0,),
    )
    sequence = FaceSequence(plan)
    event = sequence.events()[0]
    before, after = event.onset - 1, event.apex
    return grey_of(sequence, before), grey_of(sequence, after), sequence.flow(before, after)


def face_error(field: FlowField, truth: FlowTruth) -> float:
    return float(np.hypot(field.u - truth.u, field.v - truth.v)[truth.hull].mean())


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_the_worst_head_misses_the_known_bars_and_no_others_and_by_no_more(mode: str) -> None:
    """The bench's own 480 pairs of twelve heads take half a minute; fewer would not give its figures."""
    found = [of_head(head)[mode] for head in BENCH_HEADS]
    missed = {}
    for key in OF_HEADS:
        bar, values = BARS[key], [head[key] for head in found]
        worst = values[bar.worst(dict(enumerate(values)))]
        if not bar.met(worst, bar.of(mode)):
            missed[key] = worst
    known = SHORTFALLS[mode]
    assert missed.keys() <= known.keys(), missed
    assert not {key: worst for key, worst in missed.items() if not BARS[key].met(worst, known[key], slack=1.01)}
    assert not [key for key, worst in known.items() if BARS[key].met(worst, BARS[key].of(mode))], "reached now"


@pytest.mark.parametrize(("method", "worst_px"), [("iclk", 0.08), ("quality", 0.055)])
def test_no_head_is_measured_badly(method: str, worst_px: float) -> None:
    solver = open_flow(method)
    errors = {}
    for identity in HEADS:
        before, after, truth = onset_to_apex(identity)
        errors[identity] = face_error(solver.solve(solver.prepare(before), solver.prepare(after)), truth)
    assert max(errors.values()) < worst_px, errors


@pytest.mark.parametrize("method", ["iclk", "quality"])
def test_an_expression_keeps_its_amplitude_on_every_head(method: str) -> None:
    solver = open_flow(method)
    shares = []
    for identity in HEADS:
        before, after, truth = onset_to_apex(identity)
        field = solver.solve(solver.prepare(before), solver.prepare(after))
        true = np.stack([truth.u, truth.v]) - truth.rigid[:2]
        found = np.stack([field.u, field.v]) - truth.rigid[:2]
        shares.append(float((true * found)[:, truth.act].sum() / (true**2)[:, truth.act].sum()))
    assert min(shares) > 0.7, shares
    assert 0.85 < np.mean(shares) < 1.05, shares


@pytest.mark.parametrize("method", ["iclk", "quality"])
def test_a_warm_stream_is_as_good_as_cold_starts(method: str) -> None:
    plan = draw_plan(5, 2.0, micro=1, macro=0, blinks=0, first_micro_s=0.3, sway=0.5, micro_px=(1.5,))
    sequence = FaceSequence(plan)
    solver = open_flow(method)
    products = [solver.prepare(grey_of(sequence, index)) for index in range(30)]
    field: FlowField | None = None
    warm, cold = [], []
    for index in range(WINDOW, 30):
        field = solver.solve(products[index - WINDOW], products[index], initial=field)
        if index >= 10 and index % 4 == 0:
            truth = sequence.flow(index - WINDOW, index)
            warm.append(face_error(field, truth))
            cold.append(face_error(solver.solve(products[index - WINDOW], products[index]), truth))
    assert np.mean(warm) <= 1.05 * np.mean(cold)
