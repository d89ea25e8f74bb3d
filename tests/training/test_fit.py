from __future__ import annotations

from pathlib import Path

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
    runs = [fit(network(), Blobs(), Schedule(steps=25), SCALES, seed=1).losses for _ in range(2)]
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


class Broken(Blobs):
    """Fails at a step, as a machine does that is switched off."""

    def __init__(self, at: int) -> None:
        self._left = at

    def batch(self, rng: np.random.Generator) -> Batch:
        self._left -= 1
        if self._left < 0:
            raise InterruptedError
        return super().batch(rng)


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr("sfam.training.fit.SAVED_EVERY", 4)
    schedule, saved = Schedule(steps=12, check_every=3), tmp_path / "fit.pt"
    held_out = [Blobs().batch(np.random.default_rng(9))]
    whole = network()
    expected = fit(whole, Blobs(), schedule, SCALES, seed=1, held_out=held_out)
    with pytest.raises(InterruptedError):
        fit(network(), Broken(at=7), schedule, SCALES, seed=1, held_out=held_out, saved=saved)
    drawn: list[int] = []
    later = network(seed=5)
    resumed = fit(
        later, Blobs(), schedule, SCALES, seed=1, progress=lambda step, _: drawn.append(step), held_out=held_out,
        saved=saved,
    )  # fmt: skip
    assert drawn == list(range(4, 12)), "the first four steps are not done again"
    assert resumed == expected
    for name, value in whole.state_dict().items():
        assert torch.equal(value, later.state_dict()[name]), name


def test_a_saved_run_of_another_seed_or_a_damaged_one_is_not_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfam.training.fit.SAVED_EVERY", 2)
    saved = tmp_path / "fit.pt"
    fit(network(), Blobs(), Schedule(steps=2), SCALES, seed=1, saved=saved)
    expected = fit(network(), Blobs(), Schedule(steps=2), SCALES, seed=2)
    assert fit(network(), Blobs(), Schedule(steps=2), SCALES, seed=2, saved=saved) == expected
    saved.write_bytes(saved.read_bytes()[:100])
    assert fit(network(), Blobs(), Schedule(steps=2), SCALES, seed=2, saved=saved) == expected


def test_learning_stops_when_unseen_data_get_worse_and_keeps_the_best_weights() -> None:
    torch.set_num_threads(1)
    other = Blobs().batch(np.random.default_rng(9))
    reversed_labels = Batch(other.maps, 1 - other.spot, other.emotion)
    schedule = Schedule(steps=60, check_every=2, patience=3)
    run = fit(network(), Blobs(), schedule, SCALES, seed=1, held_out=[reversed_labels])
    assert len(run.losses) < 60
    assert run.kept_step == min(run.held_out, key=lambda step: run.held_out[step])
    assert run.held_out[run.kept_step] < 0.9 * run.held_out[len(run.losses)]
    assert len(run.losses) == run.kept_step + 6


def test_the_last_weights_are_kept_where_others_were_hardly_better() -> None:
    torch.set_num_threads(1)
    other = Blobs().batch(np.random.default_rng(9))
    run = fit(network(), Blobs(), Schedule(steps=12, check_every=2), SCALES, seed=1, held_out=[other])
    assert min(run.held_out.values()) > 0.9 * run.held_out[12]
    assert run.kept_step == 12
