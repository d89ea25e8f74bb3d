from __future__ import annotations

import numpy as np
import pytest

from sfam.stream.face import Detection
from sfam.stream.face_follower import FollowedFace, freeze_crop
from sfam.stream.face_manual import template_landmarks
from sfam.stream.grey_frame import GreyFrame
from sfam.stream.scene_flow import CROP_PX, Crop
from tests.stream.moving_face import BOX, picture

LANDMARKS = template_landmarks() * np.float32(BOX[2]) + np.array(BOX[:2], dtype=np.float32)


def moved(dx: float, dy: float = 0.0) -> np.ndarray:
    return LANDMARKS + np.array((dx, dy), dtype=np.float32)


def followed() -> FollowedFace:
    return FollowedFace(0, Detection(LANDMARKS, 1.0), GreyFrame.of(picture()), 4)


@pytest.mark.parametrize("width", [60, 110, 300])
def test_the_face_fills_110_of_128_crop_pixels(width: int) -> None:
    landmarks = template_landmarks() * np.float32(width)
    crop = freeze_crop(landmarks, None, 4)
    assert abs(width * crop.scale - 110) < 2.5
    assert crop.x <= 0 <= crop.y + crop.size
    assert isinstance(crop.x, int)


def test_the_crop_is_frozen_inside_the_dead_zone_and_recentred_outside() -> None:
    crop = freeze_crop(LANDMARKS, None, 4)
    zone = 4 / crop.scale
    assert freeze_crop(moved(zone - 1, -zone + 1), crop, 4) == crop
    fresh = freeze_crop(moved(zone + 1), crop, 4)
    assert fresh.size == crop.size
    assert fresh.x - crop.x == round(zone + 1)


def test_a_dead_zone_of_nought_follows_every_pixel() -> None:
    crop = freeze_crop(LANDMARKS, None, 0)
    assert freeze_crop(moved(2), crop, 0).x == crop.x + 2


def test_the_crop_grows_only_with_a_clearly_larger_face() -> None:
    crop = Crop(100, 60, freeze_crop(LANDMARKS, None, 4).size)
    middle = LANDMARKS.mean(axis=0)
    slightly, clearly = ((LANDMARKS - middle) * np.float32(gain) + middle for gain in (1.05, 1.2))
    assert freeze_crop(slightly, crop, 4).size == crop.size
    assert freeze_crop(clearly, crop, 4).size > 1.15 * crop.size


def test_landmarks_go_with_the_face() -> None:
    face = followed()
    for step in range(1, 11):
        assert face.follow(GreyFrame.of(picture(dx=2.0 * step, dy=-1.0 * step)))
    assert np.abs(face.landmarks - moved(20.0, -10.0)).max() < 0.2
    assert face.state == "tracked"
    assert face.confidence > 0.9


def test_a_new_key_frame_makes_no_step_in_the_landmarks() -> None:
    face = followed()
    scales = np.linspace(1.0, 1.5, 51)
    widths = []
    for scale in scales:
        assert face.follow(GreyFrame.of(picture(scale=float(scale))))
        widths.append(face.face_px)
    grown = np.array(widths) / BOX[2]
    assert np.abs(grown - scales).max() < 0.02
    assert np.diff(widths).max() < 2.5


def test_a_face_that_leaves_or_is_covered_is_lost() -> None:
    leaving = followed()
    kept = [leaving.follow(GreyFrame.of(picture(dx=8.0 * step))) for step in range(1, 40)]
    assert kept[5]
    assert False in kept
    covered = followed()
    wall = np.full((240, 320), 90, dtype=np.uint8)
    assert not all(covered.follow(GreyFrame.of(wall)) for _ in range(5))
    assert covered.state == "lost"
    assert covered.confidence == 0.0


def test_the_noun_repeats_what_is_known() -> None:
    track = followed().track(("birth",))
    assert track.state == "found"
    assert track.flags == ("birth",)
    assert track.landmarks_px.shape == (68, 2)
    assert track.crop.size / CROP_PX == 1 / track.crop.scale
