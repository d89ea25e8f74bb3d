from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfam.stream.face_manual import template_landmarks
from sfam.stream.roi import RegionFinder, Regions, cut_maps, find_regions, to_crop
from sfam.stream.scene_flow import Crop, SceneFlow

CROP = Crop(100, 60, 116)
LANDMARKS = template_landmarks() * np.float32(100) + np.array((108, 68), dtype=np.float32)


def placed(upper: tuple[int, int, int, int], lower: tuple[int, int, int, int]) -> Regions:
    return replace(find_regions(to_crop(LANDMARKS, CROP)), upper=upper, lower=lower)


def flow(u: np.ndarray, v: np.ndarray, w: np.ndarray) -> SceneFlow:
    return SceneFlow(0, 0, 6, 0, 200, u, v, w, np.ones((128, 128), dtype=bool), CROP)


def flat(value: float) -> np.ndarray:
    return np.full((128, 128), value, dtype=np.float32)


def test_pixel_centres_map_to_pixel_centres() -> None:
    corners = np.array(((99.5, 59.5), (215.5, 175.5)), dtype=np.float32)
    assert np.allclose(to_crop(corners, CROP), ((-0.5, -0.5), (127.5, 127.5)), atol=1e-4)


def test_regions_hold_brows_eyes_and_mouth() -> None:
    regions = RegionFinder().regions(LANDMARKS, CROP)
    points = to_crop(LANDMARKS, CROP)
    for chosen, (x, y, width, height) in ((points[17:27], regions.upper), (points[36:48], regions.upper)):
        assert ((chosen >= (x, y)) & (chosen < (x + width, y + height))).all()
    x, y, width, height = regions.lower
    assert ((points[48:] >= (x, y)) & (points[48:] < (x + width, y + height))).all()
    assert regions.upper[1] + regions.upper[3] <= regions.lower[1]


def test_regions_do_not_jitter_with_the_landmarks() -> None:
    finder = RegionFinder()
    random = np.random.default_rng(3)
    seen = {finder.regions(LANDMARKS + random.normal(0, 0.5, (68, 2)).astype(np.float32), CROP) for _ in range(50)}
    assert len(seen) == 1


def test_regions_follow_a_moved_face_and_a_new_crop() -> None:
    finder = RegionFinder()
    before = finder.regions(LANDMARKS, CROP)
    assert finder.regions(LANDMARKS + np.float32(3), CROP).upper[0] > before.upper[0]
    assert finder.regions(LANDMARKS, Crop(104, 60, 116)).upper[0] < before.upper[0]


@pytest.mark.parametrize("shift", [-300, 300])
def test_regions_of_a_face_outside_the_crop_are_still_boxes_in_it(shift: float) -> None:
    regions = RegionFinder().regions(LANDMARKS + np.float32(shift), CROP)
    for x, y, width, height in (regions.upper, regions.lower):
        assert width >= 8
        assert height >= 8
        assert x >= 0
        assert y >= 0
        assert x + width <= 128
        assert y + height <= 128


def test_maps_keep_units_and_places() -> None:
    regions = placed((10, 8, 84, 42), (30, 70, 63, 42))
    u, v, w = flat(0.25), flat(-0.5), flat(1.5)
    u[70:, :] = 2.0
    maps = cut_maps(flow(u, v, w), regions)
    assert maps.shape == (3, 42, 42)
    assert maps.dtype == np.float32
    assert np.allclose(maps[0, :21], 0.25)
    assert np.allclose(maps[0, 21:], 2.0)
    assert np.allclose(maps[1], -0.5)
    assert np.allclose(maps[2], 1.5)


def test_resizing_averages_over_the_area() -> None:
    u = np.random.default_rng(4).standard_normal((128, 128)).astype(np.float32)
    maps = cut_maps(flow(u, u, u), placed((0, 0, 84, 42), (0, 60, 84, 42)))
    blocks = u[:42, :84].reshape(21, 2, 42, 2).mean(axis=(1, 3))
    assert np.allclose(maps[0, :21], blocks, atol=1e-5)
