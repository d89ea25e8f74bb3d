from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from sfam.capture.expression import Action, FaceEvent, event_bumps
from sfam.capture.face_model import face_model
from sfam.capture.face_sequence import CALIBRATION, COLOR_VIEW, DEPTH_VIEW, FaceSequence
from sfam.capture.render import CANONICAL, FaceState, Renderer, View, forward, head_rect, invert, sample_layer, solve
from sfam.capture.sequence_plan import draw_plan


def smiling(px: float) -> FaceState:
    event = FaceEvent("macro", "lip_pull", 0.0, 1.0, 0.0, 1.0, (Action("lip_pull", px, px),))
    return FaceState(event_bumps(event, face_model(0)), 0.0, (0.02, -0.03, 0.01), (5.0, -4.0, 6.0))


@pytest.mark.parametrize(("view", "rounds"), [(CANONICAL, 3), (COLOR_VIEW, 2), (DEPTH_VIEW, 2)])
def test_the_quick_inverse_is_the_exact_one(view: View, rounds: int) -> None:
    model, state = face_model(0), smiling(3.5)
    x, y, width, height = rect = head_rect(model, state, view)
    sx, sy, depth = invert(model, state, view, rect, rounds)
    gx, gy = np.meshgrid(np.arange(x, x + width, dtype=np.float64), np.arange(y, y + height, dtype=np.float64))
    tx, ty = solve(model, state, view, gx, gy, 60)
    px, py, exact_depth = forward(model, state, view, tx, ty)
    face = sample_layer(model, tx.astype(np.float32), ty.astype(np.float32))[..., 3] > 0.5
    assert np.hypot(px - gx, py - gy)[face].max() < 1e-6
    assert np.hypot(sx - tx, sy - ty)[face].max() < 0.01
    assert np.hypot(sx - tx, sy - ty)[face].mean() < 0.0005
    assert np.abs(depth - exact_depth)[face].max() < 0.02


def test_the_two_cameras_see_one_scene() -> None:
    model, state = face_model(0), smiling(2.0)
    depth = Renderer(model, DEPTH_VIEW).depth(state)
    in_color = Renderer(model, COLOR_VIEW).depth(state)
    i, c = CALIBRATION.depth, CALIBRATION.color
    rows, columns = np.mgrid[180:280:7, 390:440:7]
    z = depth[rows, columns].astype(np.float64)
    points = np.stack([(columns - i.ppx) / i.fx * z, (rows - i.ppy) / i.fy * z, z], axis=-1)
    to = CALIBRATION.depth_to_color
    points = points @ to.matrix().T + 1000.0 * np.array(to.translation_m)
    x = np.rint(points[..., 0] / points[..., 2] * c.fx + c.ppx).astype(int)
    y = np.rint(points[..., 1] / points[..., 2] * c.fy + c.ppy).astype(int)
    assert np.median(np.abs(in_color[y, x] - points[..., 2])) < 0.4
    assert np.abs(in_color[y, x] - points[..., 2]).max() < 1.5


def test_the_face_is_as_far_and_as_large_as_a_face() -> None:
    depth = Renderer(face_model(0), CANONICAL).depth(FaceState())
    assert 578 < depth.min() < 590
    assert 595 < depth[30, 64] < 625
    assert depth[110, 3] == 1400 or 690 < depth[110, 3] < 800
    marks = FaceSequence(draw_plan(0, 2.0, micro=0, macro=0, blinks=0, sway=0.0)).landmarks(0)
    assert 120 < np.ptp(marks[:, 0]) < 145


@pytest.mark.parametrize("identity", range(10))
def test_a_face_detector_finds_every_head_where_it_is(identity: int) -> None:
    dlib = pytest.importorskip("dlib")
    sequence = FaceSequence(draw_plan(1, 2.0, micro=0, macro=0, blinks=0, identity=identity))
    frame = sequence.frame(0)
    boxes = dlib.get_frontal_face_detector()(frame.color, 0)
    assert len(boxes) == 1
    spec = find_spec("face_recognition_models")
    assert spec is not None
    assert spec.submodule_search_locations
    path = f"{spec.submodule_search_locations[0]}/models/shape_predictor_68_face_landmarks.dat"
    found = np.array([(p.x, p.y) for p in dlib.shape_predictor(path)(frame.color, boxes[0]).parts()])
    away = np.hypot(*(found - sequence.landmarks(0)).T)
    assert np.median(away) < 6.0
    assert np.median(away[36:68]) < 5.0


@pytest.mark.parametrize("place", [(0.0, 0.0, -250.0), (120.0, 30.0, 0.0), (0.0, 0.0, 500.0), (900.0, 0.0, 0.0)])
def test_the_head_may_sit_anywhere_even_out_of_the_image(place: tuple[float, float, float]) -> None:
    frame = FaceSequence(draw_plan(1, 2.0, micro=0, macro=0, blinks=0, place_mm=place)).frame(0)
    assert frame.color.shape == (480, 640, 3)
    nearest = int(frame.depth[frame.depth > 0].min())
    assert abs(nearest - (582 + place[2])) < 30 or nearest > 600
