from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'sfam-live[train]'")

from sfam.engine.network import SFAMNet  # noqa: E402
from sfam.training.fit import Schedule, compress, fit  # noqa: E402
from sfam.training.overlays import Batch  # noqa: E402

SCALES = (0.1, 0.3)


class Blobs:
    """Positives show a moving patch, negatives noise."""

    def batch(self, rng: np.random.Generator) -> Batch:
        maps = rng.normal(0, 0.05, (32, 3, 42, 42)).astype(np.float32)
        spot = (np.arange(32) % 2).astype(np.float32)
        maps[spot > 0, 1, 5:15, 5:15] += 0.5
        return Batch(maps, spot, np.where(spot > 0, 2, 4).astype(np.int64))


def network(seed: int = 0) -> SFAMNet:
    torch.manual_seed(seed)
    return SFAMNet(5)


def test_a_few_steps_reduce_the_loss_and_repeat_exactly() -> None:
    torch.set_num_threads(1)
    runs = [fit(network(), Blobs(), Schedule(steps=25), SCALES, seed=1) for _ in range(2)]
    assert runs[0] == runs[1]
    assert np.mean(runs[0][-5:]) < 0.6 * np.mean(runs[0][:5])


def test_compression_keeps_signs_and_tames_large_motion() -> None:
    maps = torch.tensor([-4.0, 0.0, 0.2]).reshape(1, 3, 1, 1).expand(1, 3, 42, 42)
    out = compress(maps, *SCALES)[0, :, 0, 0]
    assert out.tolist() == pytest.approx([-np.log1p(40), 0.0, np.log1p(0.2 / 0.3)], abs=1e-5)


def test_a_loss_that_is_not_finite_stops_training() -> None:
    class Broken(Blobs):
        def batch(self, rng: np.random.Generator) -> Batch:
            batch = super().batch(rng)
            batch.maps[:] = np.nan
            return batch

    with pytest.raises(FloatingPointError, match="step 0"):
        fit(network(), Broken(), Schedule(steps=2), SCALES, seed=1)
