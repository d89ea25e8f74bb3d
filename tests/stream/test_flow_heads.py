"""Flow on varied synthetic heads: the bars hold for the worst head, and warm streams are as good as cold starts."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sfam.capture.face_sequence import FaceSequence
from sfam.capture.flow_truth import FlowTruth
from sfam.capture.sequence_plan import draw_plan
from sfam.stream.flow import FlowField, open_flow

HEADS = range(8)
WINDOW = 6


def grey_of(sequence: FaceSequence, index: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(sequence.crop(index)[0], cv2.COLOR_RGB2GRAY), np.uint8)


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
