from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'sfam-live[train]'")

from sfam.engine.network import SFAMNet  # noqa: E402
from sfam.training.batched_folds import fit_batched  # noqa: E402
from sfam.training.published import PublishedRecipe, Samples, fit_published  # noqa: E402

RECIPE = PublishedRecipe(steps=7, batch=16, rate=1e-3)


def samples(count: int, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    spot = (np.arange(count) % 2).astype(np.float32)
    maps = rng.normal(0, 0.3, (count, 3, 42, 42)).astype(np.float32)
    maps[spot > 0, 0, :21] += 0.5
    return Samples(maps, spot, np.where(spot > 0, rng.integers(0, 4, count), 4), 4)


def network(seed: int) -> SFAMNet:
    torch.manual_seed(seed)
    return SFAMNet(5)


def test_folds_in_one_graph_learn_what_each_learns_alone() -> None:
    torch.set_num_threads(1)
    sets = [samples(count, seed) for seed, count in enumerate((40, 37, 21))]  # epochs end at different steps
    alone = [network(0) for _ in sets]
    losses = [fit_published(one, own, RECIPE, seed=3) for one, own in zip(alone, sets, strict=True)]
    together = [network(0) for _ in sets]
    fits = fit_batched(together, sets, RECIPE, seed=3)
    for fit, expected in zip(fits, losses, strict=True):
        assert not fit.failed
        np.testing.assert_allclose(fit.losses, expected, rtol=1e-4)
    for one, other in zip(alone, together, strict=True):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-3, atol=2e-4)


def test_a_fold_that_becomes_non_finite_is_named_and_spoils_no_other() -> None:
    torch.set_num_threads(1)
    good, bad = samples(20, 0), samples(20, 1)
    bad.maps[3] = np.inf
    fits = fit_batched([network(0), network(0)], [good, bad], RECIPE, seed=3)
    assert not fits[0].failed
    assert np.isfinite(fits[0].losses).all()
    assert "not finite after step" in fits[1].failed
    np.testing.assert_allclose(fits[0].losses, fit_published(network(0), good, RECIPE, seed=3), rtol=1e-4)


def test_a_batch_without_emotions_has_no_emotion_loss() -> None:
    torch.set_num_threads(1)
    resting = samples(20, 0)
    resting = Samples(resting.maps, np.zeros(20, np.float32), np.full(20, 4, np.int64), 4)
    (fit,) = fit_batched([network(0)], [resting], RECIPE, seed=3)
    np.testing.assert_allclose(fit.losses, fit_published(network(0), resting, RECIPE, seed=3), rtol=1e-4)
