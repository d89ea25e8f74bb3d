"""Depth change along the flow: known planes, holes, noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfam.stream.depth_change import depth_change, smooth_depth
from sfam.stream.flow import FlowField
from tests.stream.flow_pairs import inner

ROWS, COLUMNS = np.mgrid[0:128, 0:128].astype(np.float32)


def still(u: float = 0.0, v: float = 0.0) -> FlowField:
    maps = np.full((2, 128, 128), [[[u]], [[v]]], np.float32)
    return FlowField(maps[0], maps[1], np.ones((128, 128), bool), 0.0)


def plane(slope: float = 0.4, away_mm: float = 0.0) -> np.ndarray:
    return np.asarray(600 + slope * (COLUMNS - 63.5) - 0.2 * (ROWS - 63.5) + away_mm, np.float32)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(u=st.floats(-3, 3), v=st.floats(-3, 3), away=st.floats(-5, 5))
def test_a_moved_plane_changes_by_what_it_moved(u: float, v: float, away: float) -> None:
    moved = (600 + 0.4 * (COLUMNS - u - 63.5) - 0.2 * (ROWS - v - 63.5) + away).astype(np.float32)
    w, valid = depth_change(smooth_depth(plane()), smooth_depth(moved), still(u, v))
    assert valid[inner()].all()
    assert np.abs(w - away)[inner()].max() < 0.02


def test_holes_at_either_end_do_not_tilt_the_result() -> None:
    rng = np.random.default_rng(0)
    before, after = plane(0.5), plane(0.5, 0.8)
    for depth in (before, after):
        for row, column in rng.integers(20, 100, (12, 2)):
            depth[row : row + 4, column : column + 4] = 0
    w, valid = depth_change(smooth_depth(before), smooth_depth(after), still())
    assert valid[inner()].all()
    assert np.abs(w - 0.8)[inner()].max() < 0.03


def test_a_narrow_bump_keeps_its_height() -> None:
    bump = 1.5 * np.exp(-((COLUMNS - 60) ** 2 + (ROWS - 66) ** 2) / (2 * 9.0**2))
    w, _ = depth_change(smooth_depth(plane()), smooth_depth(plane() + bump.astype(np.float32)), still())
    assert w[66, 60] == pytest.approx(1.5, rel=0.1)


def test_white_noise_of_a_millimetre_is_averaged_to_a_tenth() -> None:
    rng = np.random.default_rng(1)
    noisy = [np.rint(plane() + rng.normal(size=(128, 128))).astype(np.float32) for _ in range(2)]
    w, _ = depth_change(smooth_depth(noisy[0]), smooth_depth(noisy[1]), still())
    assert w[inner()].std() < 0.15


def test_no_depth_is_nowhere_valid_and_zero() -> None:
    empty = np.zeros((128, 128), np.float32)
    for before, after in ((empty, plane()), (plane(), empty), (empty, empty)):
        w, valid = depth_change(smooth_depth(before), smooth_depth(after), still())
        assert not valid.any()
        assert not w.any()
    products = smooth_depth(empty)
    assert products.share == 0.0
    assert np.isfinite(products.shape_mm).all()


def test_a_large_hole_is_not_valid_inside_and_exact_outside() -> None:
    before = plane()
    before[40:90, 40:90] = 0
    w, valid = depth_change(smooth_depth(before), smooth_depth(plane(away_mm=1.0)), still())
    assert not valid[55:75, 55:75].any()
    assert np.abs(w[valid] - 1.0).max() < 0.02


def test_an_edge_in_depth_is_not_taken_for_motion() -> None:
    before, after = plane(0.0), plane(0.0, 0.5)
    before[:, 90:] += 900
    after[:, 92:] += 900
    products = smooth_depth(before), smooth_depth(after)
    w, valid = depth_change(*products, still())
    near = (slice(16, 112), slice(16, 90))
    assert valid[near].all()
    assert np.abs(w - 0.5)[near].max() < 0.05
    assert not valid[:, 100:].any(), "a wall is not the face"
    assert products[0].share == 1.0, "but the camera sees it"
    assert np.abs(products[0].shape_mm - plane(0.0))[near].max() < 2.0, "and it does not bend the cheek"


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(128, 128\)"):
        smooth_depth(np.zeros((64, 64), np.float32))
