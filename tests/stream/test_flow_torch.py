"""Batched scene flow in torch equals the CPU's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sfam.app.bench_accuracy import FlowTruth, cold_flow, estimate, read_truth
from sfam.stream.depth_change import depth_change, smooth_depth
from sfam.stream.flow import open_flow
from sfam.stream.head_motion import CropCamera, HeadMotionFit, rigid_mask
from tests.shared_data import shared
from tests.stream.flow_pairs import seen

torch = pytest.importorskip("torch", reason="torch is an extra")

from sfam.stream.flow_torch import MotionBatch, TorchMotion  # noqa: E402
from sfam.stream.head_motion_torch import rotation_matrix  # noqa: E402

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "batched_motion.py"


@pytest.fixture(scope="module")
def truth() -> FlowTruth:
    return read_truth(shared("golden/flow_pairs.npz"))


def cameras(truth: FlowTruth) -> np.ndarray:
    camera = truth.camera
    return np.tile([camera.fx, camera.fy, camera.cx, camera.cy], (len(truth.grey), 1))


def masks(truth: FlowTruth) -> np.ndarray:
    return np.stack([rigid_mask(landmarks) for landmarks in truth.landmarks68])


@pytest.fixture(scope="module")
def cold(truth: FlowTruth) -> MotionBatch:
    return TorchMotion().measure(truth.grey, truth.depth_mm, cameras(truth), masks(truth))


def test_cold_batches_equal_the_cpu_on_the_golden_pairs(truth: FlowTruth, cold: MotionBatch) -> None:
    measured, residual = estimate(cold_flow("iclk"), truth)
    batch = torch.stack([cold.u, cold.v, cold.w], dim=1)
    for expected, found in ((measured, batch), (residual, batch - cold.rigid)):
        difference = np.abs(found.cpu().numpy() - expected)
        assert difference[:, :2].max() < 0.005
        assert difference[:, 2].max() < 0.01


def test_warm_batches_equal_the_cpu_on_the_golden_pairs(truth: FlowTruth, cold: MotionBatch) -> None:
    warm = TorchMotion().measure(truth.grey, truth.depth_mm, cameras(truth), masks(truth), grid=cold.grid)
    solver = open_flow("iclk")
    for pair, grey in enumerate(truth.grey):
        reference, moving = solver.prepare(grey[0]), solver.prepare(grey[1])
        field = solver.solve(reference, moving, initial=solver.solve(reference, moving))
        assert np.abs(field.u - warm.u[pair].cpu().numpy()).max() < 0.005
        assert np.abs(field.v - warm.v[pair].cpu().numpy()).max() < 0.005


def test_a_batch_gives_what_its_pairs_give_alone(truth: FlowTruth, cold: MotionBatch) -> None:
    one = slice(5, 6)
    alone = TorchMotion().measure(truth.grey[one], truth.depth_mm[one], cameras(truth)[one], masks(truth)[one])
    assert torch.allclose(alone.u[0], cold.u[5], atol=1e-4)
    assert torch.allclose(alone.rigid[0], cold.rigid[5], atol=1e-3)


def test_a_tracker_shift_starts_a_batch() -> None:
    shifts = np.array([[10.0, 0.0], [-6.0, 8.0]])
    grey = np.stack([np.stack([seen(), seen(*shift)]) for shift in shifts])
    depth = np.full(grey.shape, 600, np.float32)
    mask = np.ones((2, 128, 128), bool)
    camera = np.tile([492.0, 492.0, 63.5, 63.5], (2, 1))
    found = TorchMotion().measure(grey, depth, camera, mask, shift_px=shifts + 0.7)
    inner = slice(24, -24)
    for pair, (x, y) in enumerate(shifts):
        assert abs(float(found.u[pair, inner, inner].mean()) - x) < 0.05
        assert abs(float(found.v[pair, inner, inner].mean()) - y) < 0.05


def test_no_depth_and_no_mask_are_as_on_the_cpu() -> None:
    grey = np.stack([np.stack([seen(), seen(1.0, -0.5)])] * 2)
    depth = np.zeros(grey.shape, np.float32)
    mask = np.stack([np.ones((128, 128), bool), np.zeros((128, 128), bool)])
    camera = np.tile([492.0, 492.0, 63.5, 63.5], (2, 1))
    found = TorchMotion().measure(grey, depth, camera, mask)
    assert not found.w_valid.any()
    assert found.head.fitted.tolist() == [True, False]
    assert not found.rigid[1].any()
    solver, fit = open_flow("iclk"), HeadMotionFit()
    field = solver.solve(solver.prepare(grey[0, 0]), solver.prepare(grey[0, 1]))
    products = smooth_depth(depth[0, 0])
    w, valid = depth_change(products, products, field)
    lens = CropCamera(492.0, 492.0, 63.5, 63.5)
    motion = fit.fit(field, w, valid, products.shape_mm, lens, mask[0])
    expected = np.stack(fit.induced(motion, products.shape_mm, lens))
    assert np.abs(found.rigid[0].cpu().numpy() - expected)[:2].max() < 0.005


def test_the_example_measures_heads_and_skin() -> None:
    done = subprocess.run([sys.executable, "-I", str(EXAMPLE)], capture_output=True, text=True, check=True, timeout=300)
    told = re.findall(r"face (\d): the head turned by ([\d.]+) degrees, skin moved by ([\d.]+) px", done.stdout)
    assert [face for face, _, _ in told] == ["0", "1", "2", "3"]
    for _, turned, moved in told:
        assert 0.1 < float(turned) < 1.8
        assert 0.4 < float(moved) < 1.1


def test_rotation_vectors_become_rotations() -> None:
    vectors = np.array([[0.0, 0.0, 0.0], [1e-9, 0.0, 0.0], [0.02, -0.05, 0.01], [1.0, -2.0, 0.5]])
    found = rotation_matrix(torch.as_tensor(vectors)).numpy()
    expected = np.stack([cv2.Rodrigues(vector)[0] for vector in vectors])
    assert np.abs(found - expected).max() < 1e-12
