"""Rigid head motion: exact recovery, outliers, missing depth, the mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfam.stream.flow import FlowField
from sfam.stream.head_motion import CropCamera, HeadMotionFit, rigid_mask
from sfam.stream.scene_flow import HeadMotion
from tests.shared_data import shared

ROWS, COLUMNS = np.mgrid[0:128, 0:128].astype(np.float64)
CAMERA = CropCamera(492.0, 490.0, 70.0, 55.0)
SPHERE_MM = (600 - 40 * np.sqrt(np.maximum(1 - ((COLUMNS - 64) / 95) ** 2 - ((ROWS - 64) / 105) ** 2, 0))).astype(
    np.float32
)
MASK = ((COLUMNS - 64) ** 2 + (ROWS - 64) ** 2) < 42**2
VALID = np.ones((128, 128), bool)


def moved(motion: HeadMotion, depth_mm: np.ndarray, camera: CropCamera = CAMERA) -> np.ndarray:
    """Scene flow of every pixel in plain double-precision geometry, written apart from the product's."""
    points = np.stack(
        [(COLUMNS - camera.cx) / camera.fx * depth_mm, (ROWS - camera.cy) / camera.fy * depth_mm, depth_mm], -1
    )
    rotation = cv2.Rodrigues(np.asarray(motion.rotation_rad))[0]
    after = (points - motion.pivot_mm) @ rotation.T + motion.pivot_mm + motion.translation_mm
    u = after[..., 0] / after[..., 2] * camera.fx + camera.cx - COLUMNS
    v = after[..., 1] / after[..., 2] * camera.fy + camera.cy - ROWS
    return np.stack([u, v, after[..., 2] - depth_mm]).astype(np.float32)


def field(flow: np.ndarray) -> FlowField:
    return FlowField(flow[0], flow[1], VALID, 0.0)


angles = st.tuples(*[st.floats(-0.06, 0.06)] * 3)
ways = st.tuples(*[st.floats(-8, 8)] * 3)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(rotation=angles, translation=ways)
def test_an_exact_motion_is_found_and_removed_exactly(
    rotation: tuple[float, ...], translation: tuple[float, ...]
) -> None:
    true = HeadMotion(rotation, translation, (2.0, -3.0, 575.0))  # type: ignore[arg-type]
    flow = moved(true, SPHERE_MM)
    fit = HeadMotionFit()
    found = fit.fit(field(flow), flow[2], VALID, SPHERE_MM, CAMERA, MASK)
    left = flow - np.stack(fit.induced(found, SPHERE_MM, CAMERA))
    assert np.hypot(left[0], left[1])[MASK].max() < 0.01
    assert np.abs(left[2])[MASK].max() < 0.02
    assert np.allclose(found.rotation_rad, rotation, atol=1e-3)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(rotation=angles, translation=ways)
def test_the_induced_flow_is_rotate_and_project(rotation: tuple[float, ...], translation: tuple[float, ...]) -> None:
    motion = HeadMotion(rotation, translation, (2.0, -3.0, 575.0))  # type: ignore[arg-type]
    flow = np.stack(HeadMotionFit().induced(motion, SPHERE_MM, CAMERA))
    assert np.abs(flow - moved(motion, SPHERE_MM)).max() < 1e-3


def test_a_plane_is_enough() -> None:
    plane = np.full((128, 128), 600, np.float32)
    flow = moved(HeadMotion((0.0, 0.01, 0.005), (1.0, 0.5, -2.0), (0.0, 0.0, 600.0)), plane)
    fit = HeadMotionFit()
    found = fit.fit(field(flow), flow[2], VALID, plane, CAMERA, MASK)
    assert np.abs(flow - np.stack(fit.induced(found, plane, CAMERA)))[:, MASK].max() < 0.02


def test_an_expression_does_not_pull_the_head_along() -> None:
    true = HeadMotion((0.004, -0.008, 0.002), (1.5, -0.7, 1.0), (0.0, 0.0, 575.0))
    rigid = moved(true, SPHERE_MM)
    bump = np.exp(-((COLUMNS - 45) ** 2 + (ROWS - 80) ** 2) / (2 * 9.0**2)).astype(np.float32)
    flow = rigid + np.stack([1.5 * bump, -bump, 2 * bump])
    rng = np.random.default_rng(2)
    flow += cv2.GaussianBlur(rng.normal(size=(128, 128, 3)).astype(np.float32), (0, 0), 3).transpose(2, 0, 1) * 0.5
    fit = HeadMotionFit()
    found = fit.fit(field(flow), flow[2], VALID, SPHERE_MM, CAMERA, MASK)
    error = np.stack(fit.induced(found, SPHERE_MM, CAMERA)) - rigid
    assert np.hypot(error[0], error[1])[MASK].mean() < 0.03
    assert np.abs(error[2])[MASK].mean() < 0.1


def test_without_depth_the_picture_is_still_steadied() -> None:
    flow = moved(HeadMotion((0.0, 0.0, 0.004), (2.0, 1.0, 0.0), (0.0, 0.0, 600.0)), SPHERE_MM)
    nothing = np.zeros((128, 128), np.float32)
    fit = HeadMotionFit()
    found = fit.fit(field(flow), nothing, np.zeros((128, 128), bool), nothing, CAMERA, MASK)
    u, v, _ = fit.induced(found, nothing, CAMERA)
    assert np.hypot(flow[0] - u, flow[1] - v)[MASK].mean() < 0.1


def test_w_counts_only_where_it_is_valid() -> None:
    flow = moved(HeadMotion((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 575.0)), SPHERE_MM)
    wild = np.where(ROWS < 64, 25.0, flow[2]).astype(np.float32)
    found = HeadMotionFit().fit(field(flow), wild, ROWS >= 64, SPHERE_MM, CAMERA, MASK)
    assert np.allclose(found.translation_mm, (1.0, 0.0, 0.0), atol=0.05)


def test_too_few_points_give_no_motion_and_say_so() -> None:
    flow = np.ones((3, 128, 128), np.float32)
    found = HeadMotionFit().fit(field(flow), flow[2], VALID, SPHERE_MM, CAMERA, np.zeros((128, 128), bool))
    assert found.rotation_rad == found.translation_mm == (0.0, 0.0, 0.0)
    assert np.isnan(found.residual_px)


def test_no_motion_induces_none() -> None:
    assert not np.abs(HeadMotionFit().induced(HeadMotion(), SPHERE_MM, CAMERA)).any()


def test_the_rigid_mask_is_the_face_without_brows_and_mouth() -> None:
    with np.load(shared("golden/flow_pairs.npz")) as archive:
        landmarks, hull = archive["landmarks68"][0], archive["hull"][0]
    mask = rigid_mask(landmarks)
    assert mask.shape == (128, 128)
    assert mask.dtype == np.bool_
    assert not (mask & ~hull).any()
    for part in (landmarks[17:27], landmarks[48:68]):
        x, y = np.clip(np.rint(part), 0, 127).astype(int).T
        assert not mask[y, x].any()
    assert mask.sum() > 0.4 * hull.sum()


@pytest.mark.parametrize("offset", [(-90.0, 0.0), (300.0, 300.0)])
def test_a_mask_may_leave_the_crop(offset: tuple[float, float]) -> None:
    with np.load(shared("golden/flow_pairs.npz")) as archive:
        landmarks = archive["landmarks68"][0] + np.asarray(offset, np.float32)
    mask = rigid_mask(landmarks)
    assert mask.sum() < 0.5 * 128 * 128
