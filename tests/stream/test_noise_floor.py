from __future__ import annotations

import numpy as np
import pytest

from sfam.stream.noise_floor import FEWEST, DepthTrust, NoiseMeter
from sfam.stream.scene_flow import NoiseFloor

RANDOM = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def same_numbers_whatever_ran_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "RANDOM", np.random.default_rng(5))


def quiet(spread: tuple[float, float, float] = (0.03, 0.04, 0.2)) -> np.ndarray:
    return np.stack([RANDOM.normal(0, sigma, (42, 42)) for sigma in spread]).astype(np.float32)


def moving(px: float) -> np.ndarray:
    maps = quiet()
    maps[0, 24:38, 4:18] += px
    return maps


def test_nothing_is_said_before_enough_windows() -> None:
    meter = NoiseMeter()
    said = [meter.push(quiet(), True) for _ in range(FEWEST - 1)]
    assert set(said) == {(False, False)}
    assert np.isnan(meter.floor.u_px)


def test_the_floor_is_the_spread_of_a_face_at_rest() -> None:
    meter = NoiseMeter()
    for _ in range(100):
        meter.push(quiet(), True)
    assert (meter.floor.u_px, meter.floor.v_px, meter.floor.w_mm) == pytest.approx((0.03, 0.04, 0.2), rel=0.05)


def test_a_face_that_moves_three_quarters_of_the_time_does_not_raise_it() -> None:
    meter = NoiseMeter()
    for index in range(200):
        meter.push(quiet() if index % 4 == 0 else moving(1.0), True)
    assert meter.floor.u_px == pytest.approx(0.03, rel=0.1)


def test_rest_is_below_noise_and_a_fifth_of_a_pixel_is_not() -> None:
    meter = NoiseMeter()
    for _ in range(60):
        meter.push(quiet(), True)
    assert min(np.mean([meter.push(quiet(), True) for _ in range(20)], axis=0)) > 0.9
    assert not any(meter.push(moving(0.2), True)[0] for _ in range(20))


def test_skin_that_moves_in_depth_alone_is_above_the_noise_of_depth() -> None:
    meter = NoiseMeter()
    for _ in range(60):
        meter.push(quiet(), True)
    for way in (-1.0, 1.0):
        maps = quiet()
        maps[2, 24:38, 4:18] += way
        assert meter.push(maps, True) == (True, False)


def test_windows_without_depth_say_nothing_of_w() -> None:
    meter = NoiseMeter()
    for _ in range(60):
        meter.push(quiet((0.03, 0.03, 0.0)), False)
    assert meter.push(quiet((0.03, 0.03, 0.0)), False) == (True, False)
    assert meter.push(quiet(), True) == (True, False), "no floor of w is known yet"
    assert np.isnan(meter.floor.w_mm)
    assert meter.floor.u_px > 0


def test_depth_is_distrusted_above_the_limit_and_trusted_again_well_below_it() -> None:
    trust = DepthTrust(0.6)
    floors = [float("nan"), 0.5, 0.61, 0.55, 0.47, float("nan"), 0.44, 0.59, 0.61]
    said = [trust.noisy(NoiseFloor(w_mm=floor)) for floor in floors]
    assert said == [False, False, True, True, True, True, False, False, True]
