from __future__ import annotations

import numpy as np
import pytest

from sfam.capture.sensor_noise import Noise, sense_color, sense_depth

FLAT = np.full((128, 160), 600.0, np.float32)
GREY = np.full((128, 160, 3), 120.0, np.float32)


def draws(noise: Noise, count: int = 30) -> np.ndarray:
    return np.stack([sense_depth(FLAT, noise, np.random.default_rng(seed)) for seed in range(count)])


def neighbour_correlation(maps: np.ndarray) -> float:
    error = maps - 600.0
    return float((error[:, :, 1:] * error[:, :, :-1]).mean() / (error**2).mean())


def test_color_noise_has_the_asked_strength_in_every_channel() -> None:
    taken = np.stack([sense_color(GREY, Noise(), 1.0, 0.0, np.random.default_rng(seed)) for seed in range(30)])
    error = taken.astype(np.float64) - 120.0
    assert abs(error.mean()) < 0.02
    assert np.allclose(error.std(axis=(0, 1, 2)), np.hypot(2.0, 1 / np.sqrt(12)), atol=0.03)
    assert abs(np.corrcoef(error[0].ravel(), error[1].ravel())[0, 1]) < 0.02


def test_gain_and_offset_reach_the_image_with_and_without_noise() -> None:
    for noise in (Noise(), Noise.none()):
        taken = sense_color(GREY, noise, 1.1, 5.0, np.random.default_rng(1))
        assert abs(float(taken.mean()) - 137.0) < 0.1
    dark = sense_color(GREY, Noise.none(), 1.0, -200.0, np.random.default_rng(1))
    assert dark.max() == 0


def test_white_depth_noise_has_its_sigma_steps_and_holes() -> None:
    maps = draws(Noise())
    seen = maps > 0
    assert abs(float((~seen).mean()) - 0.03) < 0.006
    assert np.array_equal(maps, np.rint(maps))
    assert abs(float(maps[seen].std()) - np.hypot(1.0, 1 / np.sqrt(12))) < 0.02
    assert abs(float(maps[seen].mean()) - 600.0) < 0.02
    assert abs(neighbour_correlation(draws(Noise(holes=0.0)))) < 0.02


@pytest.mark.parametrize("sigma_px", [1.0, 1.5, 2.0])
def test_correlated_depth_noise_is_as_strong_and_correlated(sigma_px: float) -> None:
    noise = Noise(depth_model="correlated", correlation_px=sigma_px, depth_step_mm=0.0, holes=0.0)
    maps = draws(noise)
    assert abs(float((maps - 600.0).std()) - 1.0) < 0.05
    assert abs(neighbour_correlation(maps) - np.exp(-0.25 / sigma_px**2)) < 0.04


def test_holes_come_in_blobs() -> None:
    holes = draws(Noise()) == 0
    alone = holes[:, 1:-1, 1:-1] & ~(
        holes[:, :-2, 1:-1] | holes[:, 2:, 1:-1] | holes[:, 1:-1, :-2] | holes[:, 1:-1, 2:]
    )
    assert alone.sum() < 0.15 * holes.sum()


def test_no_noise_changes_nothing() -> None:
    assert np.array_equal(sense_depth(FLAT + 0.3, Noise.none(), np.random.default_rng(0)), FLAT + np.float32(0.3))


def test_quantised_depth_comes_in_steps_that_grow_with_the_distance_squared() -> None:
    noise = Noise(depth_sigma_mm=0.0, depth_model="quantised", depth_step_mm=0.0, holes=0.0)
    steps = {}
    for distance in (400.0, 800.0):
        ramp = np.linspace(distance, distance + 30.0, 3000, dtype=np.float32)[None]
        sensed = np.unique(sense_depth(ramp, noise, np.random.default_rng(0)))
        steps[distance] = float(np.diff(sensed).mean())
        assert np.abs(sensed[None].T - ramp).min(axis=0).max() <= steps[distance]
    assert 3.5 < steps[800.0] / steps[400.0] < 4.5
    hole = np.zeros((1, 4), np.float32)
    assert not sense_depth(hole, noise, np.random.default_rng(0)).any()
