from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from sfam.capture.face_pair import draw_pair
from sfam.capture.face_sequence import COLOR_VIEW, FaceSequence
from sfam.capture.flow_truth import FlowTruth, flow_between
from sfam.capture.render import FaceState
from sfam.capture.sensor_noise import Noise
from sfam.capture.sequence_plan import draw_plan


def inner(truth: FlowTruth) -> np.ndarray:
    return np.asarray(cv2.erode(truth.hull.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0)


def pulled_back(image: np.ndarray, truth: FlowTruth) -> np.ndarray:
    gx, gy = np.meshgrid(np.arange(128, dtype=np.float32), np.arange(128, dtype=np.float32))
    return np.asarray(cv2.remap(image.astype(np.float32), gx + truth.u, gy + truth.v, cv2.INTER_CUBIC))


@pytest.mark.parametrize("identity", [0, 1, 4])
@pytest.mark.parametrize("head", [0.0, 1.0])
def test_the_second_image_pulled_back_by_the_truth_is_the_first(identity: int, head: float) -> None:
    pair = draw_pair(60 + identity, peak_px=2.0, head=head, identity=identity, noise=Noise.none())
    area = inner(pair.truth)
    first, second = pair.rgb[0].astype(np.float32), pair.rgb[1].astype(np.float32)
    before = float((first - second)[area].std())
    after = float((first - pulled_back(pair.rgb[1], pair.truth))[area].std())
    assert before > 1.5
    assert after < 1.6, "what remains is interpolation of hair and lashes"
    assert after < 0.35 * before
    # not OpenCV's remap, which up to version 4 rounds places to 1/32 px
    rows, columns = np.mgrid[:128, :128].astype(np.float64)
    second_mm = map_coordinates(
        pair.depth_mm[1], (rows + pair.truth.v, columns + pair.truth.u), order=1, mode="nearest"
    )
    lost = second_mm - pair.depth_mm[0] - pair.truth.w
    assert float(np.abs(lost[area]).mean()) < 0.01
    assert float(np.abs(lost[area]).max()) < (0.02 if head == 0.0 else 0.08), "bilinear reading of the nose"


def test_a_still_face_has_no_flow_at_all() -> None:
    pair = draw_pair(5, peak_px=0.0, noise=Noise.none())
    assert np.array_equal(pair.rgb[0], pair.rgb[1])
    assert not pair.truth.u.any()
    assert not pair.truth.w.any()
    assert not pair.truth.act.any()


def test_the_peak_of_the_flow_is_the_peak_that_was_asked_for() -> None:
    pair = draw_pair(3, peak_px=1.0, head=0.6)
    part = np.hypot(pair.truth.u - pair.truth.rigid[0], pair.truth.v - pair.truth.rigid[1])
    assert 0.8 < float(part[pair.truth.hull].max()) < 1.1
    assert 100 < pair.truth.act.sum() < 4000
    assert float(np.abs(pair.truth.rigid[0])[pair.truth.hull].mean()) > 0.2


def test_head_motion_alone_is_all_rigid() -> None:
    truth = draw_pair(8, peak_px=0.0, head=1.0).truth
    assert np.allclose(truth.u, truth.rigid[0], atol=1e-6)
    assert np.allclose(truth.w, truth.rigid[2], atol=1e-6)


def test_flow_of_a_sequence_scales_with_the_crop() -> None:
    sequence = FaceSequence(draw_plan(2, 8.0, micro=1, macro=0, blinks=0))
    event = sequence.events()[0]
    small = sequence.flow(event.onset - 1, event.apex, COLOR_VIEW.crop(245, 165, 160))
    large = sequence.flow(event.onset - 1, event.apex, COLOR_VIEW.crop(245, 165, 160, side=256))
    area = inner(small)
    for name, factor in (("u", 2.0), ("v", 2.0), ("w", 1.0)):
        shrunk = cv2.resize(getattr(large, name), (128, 128), interpolation=cv2.INTER_AREA)
        assert np.allclose(shrunk[area], factor * getattr(small, name)[area], atol=0.02)


def test_the_lid_travels_as_the_truth_says() -> None:
    sequence = FaceSequence(draw_plan(2, 4.0, micro=0, macro=0, blinks=1, sway=0.0), Noise.none())
    (blink,) = sequence.events()
    assert blink.kind == "blink"
    assert 4.0 < blink.peak_px < 9.5
    truth = sequence.flow(blink.onset - 1, blink.apex)
    assert 0.8 * blink.peak_px < float(truth.v.max()) < 1.05 * blink.peak_px
    assert float(np.abs(truth.w).max()) < 8.0
    eye = sequence.model.eyes[0]
    row, column = int(eye.corner_y - 1), int(eye.middle_x)
    opened, closed = sequence.crop(blink.onset - 1)[0], sequence.crop(blink.apex)[0]
    area = (slice(row - 2, row + 3), slice(column - 2, column + 3))
    assert float(closed[area].mean()) > float(opened[area].mean()) + 20, "skin covers the iris"


def test_a_turn_of_the_head_moves_the_nose_most_and_can_be_undone() -> None:
    model = FaceSequence(draw_plan(0, 2.0, micro=0, macro=0, blinks=0)).model
    turn = FaceState(rotation_rad=(0.0, 0.02, 0.0))
    there, back = flow_between(model, FaceState(), turn), flow_between(model, turn, FaceState())
    assert there.u[64, 64] < min(there.u[64, 40], there.u[64, 90]) < 0.0
    moved_to = 64 + round(float(there.u[64, 64]))
    assert abs(float(there.u[64, 64] + back.u[64, moved_to])) < 0.05
