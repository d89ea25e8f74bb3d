from __future__ import annotations

import cmath
import math

import cv2
import numpy as np
import pytest

from sfam.stream.face_manual import template_landmarks
from sfam.stream.grey_frame import GreyFrame, cut
from sfam.stream.key_frame import KeyFrame, Similarity
from tests.stream.moving_face import BOX, picture

LANDMARKS = template_landmarks() * np.float32(BOX[2]) + np.array(BOX[:2], dtype=np.float32)
STILL = Similarity()


def noisy(image: np.ndarray, seed: int, sigma: float = 2.0) -> np.ndarray:
    grain = np.random.default_rng(seed).standard_normal(image.shape) * sigma
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def test_a_still_face_stays_still_to_a_fiftieth_of_a_pixel() -> None:
    key = KeyFrame(GreyFrame.of(noisy(picture(), 0)), LANDMARKS)
    places = []
    for seed in range(1, 41):
        fix = key.locate(GreyFrame.of(noisy(picture(), seed)), STILL, check=False)
        assert fix is not None
        places.append(fix.motion.move(LANDMARKS))
    assert np.std(places, axis=0).max() < 0.02


@pytest.mark.parametrize(("dx", "dy"), [(0.3125, -0.1875), (6.5, 3.125), (-17.0, 11.5)])
def test_a_shift_is_found_to_a_twentieth_of_a_pixel(dx: float, dy: float) -> None:
    key = KeyFrame(GreyFrame.of(noisy(picture(), 0)), LANDMARKS)
    fix = key.locate(GreyFrame.of(noisy(picture(dx, dy), 1)), STILL, check=True)
    assert fix is not None
    assert fix.share > 0.9
    moved = fix.motion.move(LANDMARKS) - LANDMARKS
    assert np.abs(moved - (dx, dy)).max() < 0.05 + 0.01 * math.hypot(dx, dy)


def test_scale_and_turn_are_found() -> None:
    key = KeyFrame(GreyFrame.of(picture()), LANDMARKS)
    fix = key.locate(GreyFrame.of(picture(scale=1.06, angle_deg=4.0)), STILL, check=True)
    assert fix is not None
    assert abs(abs(fix.motion.turn) - 1.06) < 0.003
    assert abs(math.degrees(cmath.phase(fix.motion.turn)) + 4.0) < 0.2


def test_a_third_of_the_face_covered_moves_nothing() -> None:
    key = KeyFrame(GreyFrame.of(noisy(picture(), 0)), LANDMARKS)
    covered = picture(2.0, 0.0)
    covered[140:200, :] = 60
    fix = key.locate(GreyFrame.of(noisy(covered, 1)), STILL, check=True)
    assert fix is not None
    assert 0.35 < fix.share < 0.9
    assert np.abs(fix.motion.move(LANDMARKS) - LANDMARKS - (2.0, 0.0)).max() < 0.15


def test_a_face_that_is_gone_is_not_found() -> None:
    key = KeyFrame(GreyFrame.of(noisy(picture(), 0)), LANDMARKS)
    wall = noisy(np.full_like(picture(), 90), 1)
    fix = key.locate(GreyFrame.of(wall), STILL, check=True)
    assert fix is None or fix.share < 0.35
    assert key.likeness(GreyFrame.of(wall), STILL) < 0.5


def test_light_does_not_change_the_likeness() -> None:
    key = KeyFrame(GreyFrame.of(picture()), LANDMARKS)
    brighter = np.clip(1.1 * picture(3.0, 0.0) + 8, 0, 255).astype(np.uint8)
    assert key.likeness(GreyFrame.of(brighter), Similarity(shift=3.0 + 0.0j)) > 0.97


def test_a_face_at_the_edge_is_cut_without_complaint() -> None:
    key = KeyFrame(GreyFrame.of(picture()), LANDMARKS)
    assert key.locate(GreyFrame.of(picture()), Similarity(shift=2000 + 0j), check=True) is None
    at_edge = KeyFrame(GreyFrame.of(picture(130.0, 0.0)), LANDMARKS + np.array((130, 0), dtype=np.float32))
    assert at_edge.locate(GreyFrame.of(picture(130.0, 0.0)), STILL, check=True) is not None


@pytest.mark.parametrize("corner", [(-20, -20), (300, 220), (-500, 0), (900, 900), (10, 10)])
def test_a_box_over_the_edge_has_its_full_size(corner: tuple[int, int]) -> None:
    part = cut(picture(), corner[0], corner[1], 50, 40, cv2.BORDER_REPLICATE)
    assert part.shape == (40, 50)
    x, y = min(max(corner[0], 0), 319), min(max(corner[1], 0), 239)
    inside = corner[0] >= 0 and corner[1] >= 0 and corner[0] + 50 <= 320 and corner[1] + 40 <= 240
    assert not inside or np.array_equal(part, picture()[y : y + 40, x : x + 50])
