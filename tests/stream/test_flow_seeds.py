"""The accuracy bars on pairs of our own generator: a short form of benchmarks/flow_seeds.py."""

from __future__ import annotations

import pytest

from benchmarks.flow_seeds import BARS, MODES, averaged_w, figures
from sfam.app.bench_accuracy import FlowTruth
from sfam.app.bench_pairs import drawn_pairs

FEW = 1.1
"""Eight seeds spread about the mean of many by a tenth."""


@pytest.fixture(scope="module")
def pairs() -> FlowTruth:
    return drawn_pairs(range(7000, 7008))


@pytest.mark.parametrize("mode", MODES)
def test_pairs_of_other_seeds_are_measured_within_the_bars(mode: str, pairs: FlowTruth) -> None:
    found = figures(MODES[mode], pairs)
    missed = {
        key: (found[key], bar.of(mode)) for key, bar in BARS.items() if not bar.met(found[key], bar.of(mode), FEW)
    }
    assert not missed


def test_depth_averaged_over_three_frames_halves_the_noise_of_w() -> None:
    one, three = (averaged_w("iclk", range(7000, 7004), frames) for frames in (1, 3))
    assert three[0] < 0.07 * FEW
    assert three[1] < 0.11 * FEW
    assert three[0] < 0.7 * one[0]
