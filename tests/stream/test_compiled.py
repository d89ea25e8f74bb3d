"""The compiled loops of motion: they are built, equal the NumPy code beside them, and refuse what does not fit."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing
import pytest

from sfam.capture.face_pair import FacePair, draw_pair
from sfam.stream import depth_change, flow, head_motion, key_frame
from sfam.stream.compiled import PRODUCT_FLOATS, Kernels, kernels
from sfam.stream.flow import FlowField, FlowSolver, LucasKanade, open_flow
from sfam.stream.flow_compiled import CompiledLucasKanade
from sfam.stream.grey_frame import GreyFrame
from sfam.stream.head_motion import CropCamera, HeadMotionFit, rigid_mask
from sfam.stream.key_frame import KeyFrame

CAMERA = CropCamera(492.0, 492.0, 63.5, 63.5)
LANDMARKS = np.asarray(draw_pair(3).landmarks + (90, 50), np.float32)
PAIR = draw_pair(11, peak_px=1.0, head=True)
OLD_OPENCV = cv2.__version__.startswith("4.")
"""Its warp, which only the NumPy code uses, rounds places to 1/32 px and does not blend at the edge."""
ODD_SHARE = 0.04 if OLD_OPENCV else 0.0
"""Pixels that may be further apart."""


@pytest.fixture
def loops() -> Kernels:
    assert kernels is not None, "the compiled loops were not built: install a C compiler and run pip install -e . again"
    return kernels


def grey(pair: FacePair, end: int) -> np.ndarray:
    return np.asarray(pair.rgb[end].mean(axis=2), np.uint8)


def fields(solver: FlowSolver) -> tuple[FlowField, FlowField, FlowField]:
    """A cold solve, one from a shift, and a warm one."""
    ends = solver.prepare(grey(PAIR, 0)), solver.prepare(grey(PAIR, 1))
    cold = solver.solve(*ends)
    return cold, solver.solve(*ends, shift_px=(1.5, -2.0)), solver.solve(*ends, initial=cold)


def everywhere(px: float) -> FlowField:
    image = np.full((128, 128), px, np.float32)
    return FlowField(image, image, np.ones((128, 128), bool), 0.0)


def assert_near(expected: np.typing.ArrayLike, found: np.typing.ArrayLike, most: float, old: float) -> None:
    """Nowhere further apart than `most`; with OpenCV 4 only at edges than `old`."""
    apart = np.abs(np.asarray(expected, float) - np.asarray(found, float)) > (old if OLD_OPENCV else most)
    assert apart.mean() <= ODD_SHARE


def assert_same_field(expected: FlowField, found: FlowField) -> None:
    assert_near(expected.u, found.u, 2e-3, 0.05)
    assert_near(expected.v, found.v, 2e-3, 0.05)
    assert np.abs(expected.u - found.u).mean() < (5e-3 if OLD_OPENCV else 1e-5)
    assert_near(expected.valid, found.valid, 0.5, 0.5)
    assert found.residual_grey == pytest.approx(expected.residual_grey, rel=5e-3 if OLD_OPENCV else 1e-4)


def test_the_fast_mode_uses_the_compiled_loops(loops: Kernels) -> None:
    assert isinstance(open_flow("iclk"), CompiledLucasKanade)


def test_products_are_those_of_numpy(loops: Kernels) -> None:
    expected, found = LucasKanade().prepare(grey(PAIR, 0)), CompiledLucasKanade(loops).prepare(grey(PAIR, 0))
    for first, second in zip(expected.all_levels(), found.all_levels(), strict=True):
        assert np.abs(first.image - second.image).max() < 1e-3
        assert np.abs(first.gradient - second.gradient).max() < 1e-3
        assert np.abs(first.inverse - second.inverse).max() < 1e-5


def test_flow_is_that_of_numpy(loops: Kernels) -> None:
    for expected, found in zip(fields(LucasKanade()), fields(CompiledLucasKanade(loops)), strict=True):
        assert_same_field(expected, found)


def test_flow_that_leaves_the_crop_is_that_of_numpy(loops: Kernels) -> None:
    away = everywhere(40.0)
    found = []
    for solver in (LucasKanade(), CompiledLucasKanade(loops)):
        ends = solver.prepare(grey(PAIR, 0)), solver.prepare(grey(PAIR, 1))
        found.append(solver.solve(*ends, initial=away))
    assert_near(found[0].u, found[1].u, 0.02, 0.2)
    assert_near(found[0].valid, found[1].valid, 0.5, 0.5)
    assert not found[1].valid.all()


def everything(solver: FlowSolver) -> list[np.typing.ArrayLike]:
    """Flow, depth change, head motion and what it induces, of one pair with holes; twice, the fit warm then."""
    field = solver.solve(solver.prepare(grey(PAIR, 0)), solver.prepare(grey(PAIR, 1)))
    before, after = (depth_change.smooth_depth(depth) for depth in PAIR.depth_mm)
    w, valid = depth_change.depth_change(before, after, field)
    fit, mask = HeadMotionFit(), rigid_mask(PAIR.landmarks.astype(np.float32))
    maps: list[np.typing.ArrayLike] = [np.float64(before.share), before.half_mm, before.shape_mm, w, valid]
    for _ in range(2):
        motion = fit.fit(field, w, valid, before.shape_mm, CAMERA, mask)
        maps += [np.array(motion.rotation_rad) * 500, np.array(motion.translation_mm), np.array(motion.pivot_mm)]
        maps += [np.float64(motion.residual_px), *fit.induced(motion, before.shape_mm, CAMERA)]
    return maps


def test_depth_change_and_head_motion_are_those_of_numpy(loops: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    found = everything(CompiledLucasKanade(loops))
    for module in (depth_change, head_motion):
        monkeypatch.setattr(module, "kernels", None)
    for expected, seen in zip(everything(LucasKanade()), found, strict=True):
        assert_near(expected, seen, 2e-3, 0.1)


@pytest.mark.parametrize("seed", range(5))
def test_the_similarity_of_tracked_points_is_that_of_numpy(
    seed: int, loops: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    key = KeyFrame(GreyFrame.of(np.asarray(rng.integers(0, 255, (240, 320)), np.uint8)), LANDMARKS)
    count = len(key._points)
    turned = key._points @ np.array(((1.02, 0.03), (-0.03, 1.02))) + (4.0, -3.0)
    found = np.asarray(turned + rng.normal(scale=0.2, size=(count, 2)), np.float32)
    found[: count // 4] += np.float32(9)
    usable = rng.random(count) < 0.9
    seen = key._fit(found, usable)
    monkeypatch.setattr(key_frame, "kernels", None)
    expected = key._fit(found, usable)
    assert seen is not None
    assert expected is not None
    assert seen.share == expected.share
    assert seen.spread_px == pytest.approx(expected.spread_px, rel=1e-9)
    assert seen.motion.turn == pytest.approx(expected.motion.turn, rel=1e-9)
    assert seen.motion.shift == pytest.approx(expected.motion.shift, rel=1e-9)


def test_without_compiled_loops_numpy_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "kernels", None)
    assert isinstance(open_flow("iclk"), LucasKanade)


def test_extreme_numbers_end_in_numbers(loops: Kernels) -> None:
    solver = CompiledLucasKanade(loops)
    ends = solver.prepare(grey(PAIR, 0)), solver.prepare(grey(PAIR, 1))
    for wild in (np.nan, np.inf, -1e30):
        begin = everywhere(wild)
        assert solver.solve(*ends, initial=begin).valid.shape == (128, 128)
        depth = np.full((128, 128), wild, np.float32)
        products = depth_change.smooth_depth(depth)
        assert depth_change.depth_change(products, products, begin)[0].shape == (128, 128)


def test_arrays_of_another_size_are_refused(loops: Kernels) -> None:
    products = np.empty(PRODUCT_FLOATS, np.float32)
    with pytest.raises(ValueError, match="grey has 4096 bytes"):
        loops.prepare(np.zeros((64, 64), np.uint8), products)
    with pytest.raises(ValueError, match="products has 4 bytes"):
        loops.prepare(np.zeros((128, 128), np.uint8), products[:1])
    with pytest.raises(ValueError):
        loops.prepare(np.zeros((128, 128, 2), np.uint8)[..., 0], products)
    frozen = products.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError):
        loops.prepare(np.zeros((128, 128), np.uint8), frozen)
    image = np.zeros((128, 128), np.float32)
    for places in ([-1], [128 * 128], [0] * 2000):
        with pytest.raises(ValueError, match=r"place|points"):
            loops.fit_head(
                np.array(places, np.int32),
                *(500.0, 500.0, 63.5, 63.5),
                *(image, image, image),
                np.zeros((128, 128), bool),
                image,
                False,
                np.empty(3 * len(places)),
                np.empty(10),
            )
