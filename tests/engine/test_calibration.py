from __future__ import annotations

import numpy as np
import pytest

from sfam.engine.calibration import FalseAlarmRate, calibrate, lowest_bounded, needed_hours
from sfam.engine.decoding import RunsSpec
from sfam.engine.events import Score

SECOND = 1_000_000_000
SPEC = RunsSpec()
STEPS = (0.3, 0.4, 0.5, 0.7, 0.9)


def baseline(seconds: int, heights: dict[int, float]) -> list[Score]:
    """A quiet score with a bump of 0.5 s at each given second."""
    t = np.arange(seconds * 30) / 30
    spot = np.zeros_like(t)
    for second, height in heights.items():
        spot[(t >= second) & (t < second + 0.6)] = height
    return [Score(i, round(x * SECOND), float(s)) for i, (x, s) in enumerate(zip(t, spot, strict=True))]


@pytest.mark.parametrize("per_hour", [5.0, 40.0, 300.0])
def test_bounds_cover_the_true_rate_of_simulated_baselines(per_hour: float) -> None:
    rng = np.random.default_rng(0)
    hours = rng.uniform(60, 1200, 500) / 3600
    rates = [FalseAlarmRate(int(rng.poisson(per_hour * h)), float(h)) for h in hours]
    assert np.mean([rate.lower <= per_hour <= rate.upper for rate in rates]) >= 0.9


def test_a_chosen_threshold_keeps_its_promise_in_simulated_baselines() -> None:
    rng, kept = np.random.default_rng(1), 0
    thresholds, per_hour_at = (0.3, 0.5, 0.7, 0.9), {0.3: 240.0, 0.5: 60.0, 0.7: 18.0, 0.9: 3.0}
    wanted, hours = 30.0, 0.5
    for _ in range(500):
        shares = np.array([180, 42, 15, 3]) / 240
        heights = rng.choice([0.45, 0.65, 0.85, 0.95], p=shares, size=rng.poisson(240 * hours))
        steps = [(t, int((heights >= t).sum())) for t in thresholds]
        chosen, _ = lowest_bounded(steps, hours, wanted)
        kept += per_hour_at[chosen] <= wanted
    assert kept / 500 >= 0.9


def test_calibration_finds_the_lowest_threshold_that_bounds_the_alarms() -> None:
    scores = baseline(600, {10: 0.45, 60: 0.45, 120: 0.45, 300: 0.45, 400: 0.45})
    found = calibrate(scores, [None] * len(scores), SPEC, wanted_per_hour=20, thresholds=STEPS)
    assert found.holds
    assert found.threshold == 0.5
    assert found.rate.alarms == 0
    assert dict(found.steps)[0.3] == 5
    assert "as wanted" in found.text


def test_calibration_says_when_the_baseline_is_too_short() -> None:
    scores = baseline(60, {10: 0.45})
    found = calibrate(scores, [None] * len(scores), SPEC, wanted_per_hour=10)
    assert not found.holds
    assert found.rate.alarms == 0
    assert "too short" in found.text
    assert f"{needed_hours(10) * 3600:.0f} s" in found.text


def test_calibration_says_when_no_threshold_is_high_enough() -> None:
    scores = baseline(600, dict.fromkeys(range(5, 595, 10), 1.0))
    found = calibrate(scores, [None] * len(scores), SPEC, wanted_per_hour=30, thresholds=STEPS)
    assert not found.holds
    assert "no threshold" in found.text


def test_an_empty_baseline_is_refused() -> None:
    with pytest.raises(ValueError):
        calibrate([], [], SPEC, 10)


def test_an_event_is_rated_by_the_alarms_that_were_as_strong() -> None:
    scores = baseline(600, {10: 0.45, 60: 0.45, 120: 0.65, 300: 0.85})
    found = calibrate(scores, [None] * len(scores), SPEC, wanted_per_hour=1000, thresholds=(0.3, 0.5))
    assert found.threshold == 0.3
    assert [found.rate_of(score, 0.3).alarms for score in (0.3, 0.5, 0.8, 0.95)] == [4, 2, 1, 0]
    # A level that was not tried promises no more than the one below it.
    assert found.rate_of(0.3, 0.49).alarms == 4
    assert found.rate_of(0.3, 0.5).alarms == 2
    expected, upper = found.rates_at(0.3)(0.95)
    assert 0 < expected < upper < 30


@pytest.mark.slow  # 500 baselines
def test_simulated_participants_decoded_score_by_score_keep_within_their_bounds() -> None:
    """500 neutral faces that raise alarms at random, through the decoding that a session uses."""
    rng, per_hour, seconds = np.random.default_rng(2), 400.0, 30
    covered = 0
    for _ in range(500):
        starts = np.cumsum(rng.exponential(3600 / per_hour, 20))
        t = np.arange(seconds * 12) / 12
        spot = np.zeros_like(t)
        for start in starts[starts < seconds]:
            spot[(t >= start) & (t < start + 0.6)] = 0.8
        scores = [Score(i, round(x * SECOND), float(s)) for i, (x, s) in enumerate(zip(t, spot, strict=True))]
        rate = calibrate(scores, [None] * len(scores), SPEC, 1000, thresholds=(0.4,)).rate
        covered += rate.lower <= per_hour <= rate.upper
    assert covered / 500 >= 0.9
