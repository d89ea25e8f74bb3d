"""Pose of a head from its landmarks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sfam.capture.face_sequence import COLOR_VIEW, FaceSequence
from sfam.capture.frame import Intrinsics
from sfam.capture.sequence_plan import draw_plan
from sfam.stream.head_pose import AVERAGE_HEAD_MM, head_pose

CAMERA = Intrinsics(640, 480, 600.0, 600.0, 320.0, 240.0)


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.2, 0.0, 0.0), (0.0, -0.3, 0.0), (0.1, 0.2, 0.15)])
def test_the_pose_is_that_of_a_projected_head(turn: tuple[float, float, float]) -> None:
    rx, ry, rz = (np.asarray(cv2.Rodrigues(np.array(axis))[0]) for axis in np.diag(turn))
    place = np.array([30.0, -20.0, 650.0])
    seen = np.zeros((68, 2))
    for number, point in AVERAGE_HEAD_MM.items():
        x, y, z = rx @ ry @ rz @ np.array(point) + place
        seen[number] = (600 * x / z + 320, 600 * y / z + 240)
    pose = head_pose(seen, CAMERA)
    assert pose is not None
    np.testing.assert_allclose(pose.translation_mm, place, atol=1.0)
    np.testing.assert_allclose(pose.rotation_rad, turn, atol=0.01)


def test_a_rendered_head_stands_about_where_it_is() -> None:
    sequence = FaceSequence(draw_plan(3, 1.0, micro=0, macro=0, blinks=0, sway=0.0))
    camera = Intrinsics(640, 480, COLOR_VIEW.fx, COLOR_VIEW.fy, COLOR_VIEW.cx, COLOR_VIEW.cy)
    pose = head_pose(sequence.landmarks(0, COLOR_VIEW), camera)
    assert pose is not None
    assert pose.translation_mm[2] == pytest.approx(590.0, rel=0.15)
    assert np.abs(pose.rotation_rad).max() < 0.35


@pytest.mark.parametrize("value", [np.nan, 100.0])
def test_points_that_are_no_face_have_no_pose(value: float) -> None:
    assert head_pose(np.full((68, 2), value), CAMERA) is None
