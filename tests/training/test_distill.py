from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sfam.engine.checkpoint import import_checkpoints  # noqa: E402
from sfam.engine.model import ModelError, load_model  # noqa: E402
from sfam.training.clip_windows import ClipWindows, no_maps  # noqa: E402
from sfam.training.distill import DistillRecipe, distill  # noqa: E402
from tests.shared_data import shared  # noqa: E402

CLASSES = 4


def clip(seed: int) -> ClipWindows:
    """Windows over which the ensemble's score truly varies."""
    maps = np.random.default_rng(seed).normal(0, 1, (300, 3, 42, 42)).astype(np.float32)
    maps *= np.geomspace(0.05, 20, 300, dtype=np.float32)[:, None, None, None]
    return ClipWindows("a", "v", maps, np.arange(300), 300, (), no_maps(), ())


@pytest.mark.slow  # learns for 80 steps
def test_one_network_comes_to_answer_as_an_ensemble_does(tmp_path: Path) -> None:
    weights = shared("sfamnet/pretrained_weights") / f"{CLASSES}emo"
    import_checkpoints(weights, "three", tmp_path / "three", folds=3)
    short = distill(str(tmp_path / "three"), tmp_path / "a", [clip(0)], recipe=DistillRecipe(steps=1, batch=8))
    agreed = distill(str(tmp_path / "three"), tmp_path / "b", [clip(0)], recipe=DistillRecipe(steps=80, batch=24))
    assert agreed.windows == 60
    assert agreed.mean_difference < 0.5 * short.mean_difference
    written = load_model(tmp_path / "b")
    assert written.folds == ("single",)
    assert written.decoding == "paper"
    record = json.loads((tmp_path / "b" / "model.json").read_text())["distilled"]
    assert record["held_back_windows"] == 60
    assert "imitation" in written.limits[-1]


@pytest.mark.slow  # learns for 60 steps
def test_of_several_clips_whole_ones_are_held_back_and_events_compared(tmp_path: Path) -> None:
    weights = shared("sfamnet/pretrained_weights") / f"{CLASSES}emo"
    import_checkpoints(weights, "three", tmp_path / "three", folds=3)
    clips = [clip(seed) for seed in range(5)]
    agreed = distill(str(tmp_path / "three"), tmp_path / "a", clips, recipe=DistillRecipe(steps=60, batch=24))
    assert agreed.windows == 300
    assert agreed.event_f1 is not None
    assert 0 <= agreed.event_f1 <= 1
    assert agreed.mean_difference <= agreed.rmse <= agreed.largest_difference
    record = json.loads((tmp_path / "a" / "model.json").read_text())["distilled"]
    assert record["event_f1"] == round(agreed.event_f1, 4)
    assert record["rmse"] == round(agreed.rmse, 5)


@pytest.mark.slow  # draws 2,000 fields
def test_without_clips_fields_stand_in_and_are_named(tmp_path: Path) -> None:
    agreed = distill("synthetic-4", tmp_path / "x", recipe=DistillRecipe(steps=1, batch=8))
    assert "smooth random fields" in agreed.data
    assert "smooth random fields" in load_model(tmp_path / "x").training_data


def test_a_folder_that_is_no_model_is_refused_before_anything_is_learnt(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with pytest.raises(ModelError, match="is there and no model"):
        distill("synthetic-4", tmp_path, progress=lambda *_: pytest.fail("it has learnt"))
    assert (tmp_path / "kept").exists()


def test_unknown_teachers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        distill("nobody", tmp_path / "x")
    assert not (tmp_path / "x").exists()
