from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sfam.engine.model import ModelError, load_model  # noqa: E402
from sfam.training.clip_windows import ClipWindows, no_maps  # noqa: E402
from sfam.training.dataset import AnnotatedInterval, DataSetError  # noqa: E402
from sfam.training.finetune import UNUSED, FinetuneRecipe, finetune, labels  # noqa: E402
from sfam.training.metrics import Counts  # noqa: E402

MODEL = "synthetic-4"
ONSETS = (30, 90, 150)


def clip(subject: str, seed: int) -> ClipWindows:
    """Motion of a form that synthetic-4 never saw: a checkerboard in w, weak in u and v."""
    rng = np.random.default_rng(seed)
    maps = rng.normal(0, 0.02, (200, 3, 42, 42)).astype(np.float32)
    intervals = tuple(AnnotatedInterval("micro", at, at + 6, at + 14, "surprise") for at in ONSETS)
    board = (np.indices((42, 42)).sum(axis=0) // 6 % 2 * 2 - 1).astype(np.float32)
    for one in intervals:
        rise = slice(one.onset + 2, one.apex + 4)
        fall = slice(one.apex + 4, one.offset + 6)
        maps[rise, 2] += board
        maps[fall, 2] -= board
    return ClipWindows(subject, "v", maps, np.arange(200), 200, intervals, no_maps(), ())


def test_labels_follow_the_models_own_shifts() -> None:
    artifact = load_model(MODEL)
    macro = AnnotatedInterval("macro", 20, 40, 80, "happy")
    own = replace(clip("a", 0), intervals=(AnnotatedInterval("micro", 120, 126, 140, "sad"), macro))
    spot, emotion = labels(own, artifact)
    moving = np.flatnonzero(spot == 1)
    first = [frame for frame in moving if frame < 100]
    assert first[-1] == 40
    assert abs(first[0] - 22) <= 2
    assert spot[60] == UNUSED
    assert spot[100] == 0
    assert emotion[first[-1]] == artifact.classes.index("positive")
    assert emotion[125] == artifact.classes.index("negative")
    assert emotion[105] == artifact.classes.index("neutral")


@pytest.mark.slow  # learns three times
def test_a_model_learns_what_it_could_not_see_and_says_so(tmp_path: Path) -> None:
    clips = [clip(subject, seed) for seed, subject in enumerate("ab")]
    lines: list[str] = []
    steps: list[tuple[int, int]] = []
    recipe = FinetuneRecipe(steps=40, batch=16, rate=4e-3)
    compared = finetune(
        MODEL, clips, tmp_path / "new", recipe=recipe, progress=lines.append, steps=lambda *one: steps.append(one)
    )
    assert compared.new.f1 > compared.old.f1 + 0.3
    assert set(compared.per_subject) == {"a", "b"}
    assert len(lines) == 3
    assert steps == [(done, 120) for done in range(1, 121)], "two folds, and all subjects at last"
    written = load_model(tmp_path / "new")
    record = json.loads((tmp_path / "new" / "model.json").read_text())["finetuned"]
    assert record["from"] == load_model(MODEL).model_id
    assert record["compared"]["new_tp"] == compared.new.tp
    assert written.classes == load_model(MODEL).classes
    assert "2 corrected clips of 2 subjects" in written.training_data


def test_the_folder_of_the_windows_is_not_replaced_by_the_model(tmp_path: Path) -> None:
    (tmp_path / "features.json").write_text("{}")
    steps: list[tuple[int, int]] = []
    with pytest.raises(ModelError, match="is there and no model"):
        finetune(MODEL, [clip("a", 0), clip("b", 1)], tmp_path, steps=lambda *one: steps.append(one))
    assert (tmp_path / "features.json").exists()
    assert steps == []


def test_too_little_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="two or more"):
        finetune(MODEL, [clip("a", 0)], tmp_path / "x")
    bare = [replace(clip(subject, 0), intervals=()) for subject in "ab"]
    with pytest.raises(DataSetError, match="0 moving"):
        finetune(MODEL, bare, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    assert Counts(0, 0, 0).f1 == 0.0
