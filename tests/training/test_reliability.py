from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'sfam-live[train]'")

import torch

from sfam.capture.face_model import face_model
from sfam.capture.sequence_plan import draw_plan
from sfam.engine.events import Score
from sfam.engine.network import SFAMNet
from sfam.training.decoding import Truth
from sfam.training.reliability import (
    adjusted,
    fit_reliability,
    largest_miss,
    moving_labels,
    reliability_bins,
)
from sfam.training.tuning import Judged, calibrate


def test_labels_follow_rise_and_fall_and_leave_blinks_out() -> None:
    plan = draw_plan(8, 6.0, micro=1, macro=0, blinks=3, micro_px=(2.0,))
    (event,) = (event for event in plan.events if event.kind == "micro")
    start, apex = round(event.start_s * 30), round((event.start_s + event.rise_s) * 30)
    labels = moving_labels(plan.events, face_model(0), [(frame - 6, frame) for frame in range(6, 180)], 30.0)
    assert labels[apex - 6] == 1
    assert (labels[: max(start - 6, 0)] == 0).all()
    assert (labels == 1).sum() < 60
    assert -1 in labels


def test_an_invisible_movement_is_no_moving_window() -> None:
    plan = draw_plan(8, 6.0, micro=1, macro=0, blinks=0, micro_px=(0.05,))
    labels = moving_labels(plan.events, face_model(0), [(frame - 6, frame) for frame in range(6, 180)], 30.0)
    assert not (labels == 1).any()


def drawn(slope: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.normal(-1.5, 2.0, 20_000)
    labels = (rng.random(len(truth)) < 1 / (1 + np.exp(-truth))).astype(np.int8)
    return 1 / (1 + np.exp(-(truth - offset) / slope)), labels


def test_scores_that_promise_too_much_come_to_the_diagonal() -> None:
    scores, labels = drawn(slope=0.6, offset=-1.4)
    assert largest_miss(reliability_bins(scores, labels)) > 0.15
    slope, offset = fit_reliability(scores, labels)
    assert (slope, offset) == pytest.approx((0.6, -1.4), abs=0.06)
    assert largest_miss(reliability_bins(adjusted(scores, slope, offset), labels)) < 0.05


def judged(slope: float, offset: float) -> Judged:
    spots, labels = drawn(slope, offset)
    scores = [Score(index, index, float(spot)) for index, spot in enumerate(spots)]
    return Judged(scores, [], Truth((), (), 1.0), labels)


def test_scores_hold_where_things_are_usual_and_all_are_scored_anew() -> None:
    network = SFAMNet(5)
    weight, bias = (value.detach().clone() for value in (network.fc_spot.weight, network.fc_spot.bias))
    usual, odd = judged(0.6, -1.4), judged(1.0, 0.5)
    changed = calibrate(network, [usual, odd], [usual])
    slope, offset = fit_reliability(np.array([score.spot for score in usual.scores]), usual.moving)
    assert torch.allclose(network.fc_spot.weight, weight * slope)
    assert torch.allclose(network.fc_spot.bias, bias * slope + offset)
    for before, after in zip((usual, odd), changed, strict=True):
        expected = adjusted(np.array([score.spot for score in before.scores]), slope, offset)
        assert [score.spot for score in after.scores] == pytest.approx(expected.tolist())


def test_unclear_windows_and_certain_scores_do_no_harm() -> None:
    scores, labels = drawn(slope=1.0, offset=0.0)
    expected = fit_reliability(scores, labels)
    more = np.concatenate([scores, np.ones(5000)]), np.concatenate([labels, np.full(5000, -1, np.int8)])
    assert fit_reliability(*more) == expected
    assert np.isfinite(adjusted(np.array([0.0, 1.0]), *expected)).all()
    assert sum(count for *_, count in reliability_bins(*more)) == len(scores)


def test_windows_of_one_kind_cannot_calibrate() -> None:
    with pytest.raises(ValueError, match="0 of 3 move"):
        fit_reliability(np.array([0.1, 0.2, 0.3]), np.zeros(3, np.int8))
