from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'sfam-live[train]'")

from sfam.engine.backend import check_all_backends
from sfam.engine.model import ModelError, load_model
from sfam.training import train
from sfam.training.recipe import PRESETS, Preset
from sfam.training.sequences import Conditions, draw_session
from sfam.training.tensorboard_log import TensorBoardLog

TINY = replace(
    PRESETS["synthetic-4"],
    train_sequences=1,
    restless_sequences=0,
    tune_sequences=1,
    seconds=4.0,
    tune_seconds=5.0,
    overlays_each=1,
    steps=12,
    choices={"hi": (0.3, 0.5)},
)


class Here:
    """Runs tasks in this process, and fails at one of them if told to."""

    def __init__(self, fails_at: int = 1 << 30) -> None:
        self.ran, self._fails_at = 0, fails_at

    def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for number, task in enumerate(tasks):
            if self.ran == self._fails_at:
                raise InterruptedError
            self.ran += 1
            yield number, work(task)


def run(out: Path, seed: int = 3, fails_at: int = 1 << 30) -> list[str]:
    lines: list[str] = []
    here = Here(fails_at)
    train.train_preset("synthetic-4", out, seed=seed, preset=TINY, progress=lines.append, executor=here)
    return lines


def test_a_folder_that_is_no_model_is_refused_before_anything_is_rendered(tmp_path: Path) -> None:
    (tmp_path / "study" / "clips").mkdir(parents=True)
    with pytest.raises(ModelError, match="study is there and no model"):
        run(tmp_path / "study")
    assert [path.name for path in tmp_path.rglob("*")] == ["study", "clips"]


@pytest.mark.slow  # renders 9 s of faces twice: that the whole way repeats exactly shows only on the whole way
def test_the_same_seed_writes_the_same_model_also_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfam.training.fit.SAVED_EVERY", 4)
    lines = run(tmp_path / "a")
    with pytest.raises(InterruptedError):
        run(tmp_path / "b", fails_at=1)
    assert not (tmp_path / "b").exists(), "nothing half-written under the model's name"
    assert (tmp_path / ".b.unfinished" / "fit.pt").exists()
    resumed = run(tmp_path / "b")
    assert not any(line.startswith("step ") for line in resumed)
    assert not (tmp_path / ".b.unfinished").exists()
    for name in ("model.onnx", "weights.safetensors", "model.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    reports = check_all_backends(load_model(tmp_path / "a"))
    assert reports["onnxruntime"]["ok"]
    assert all(report["ok"] for report in reports.values() if report["present"])
    assert any("tuning" in line for line in lines)


def test_an_unknown_preset_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="synthetic-4"):
        train.train_preset("synthetic-5", tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_preset_for_seven_feelings_and_the_reason_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="disgust from anger"):
        train.train_preset("synthetic-7", tmp_path / "m")


def test_tuning_uses_other_heads_and_other_numbers_than_training() -> None:
    preset = Preset("x")
    learnt, tuned = train.train_scenes(preset, preset.seed), train.tune_scenes(preset, preset.seed)
    assert not {s.plan.identity for s in learnt} & {s.plan.identity for s in tuned}
    assert not {s.plan.seed for s in learnt} & {s.plan.seed for s in tuned}
    assert len({s.plan.identity for s in learnt}) == len(learnt)
    kinds = {event.kind for scene in learnt for event in scene.plan.events}
    assert kinds == {"blink", "gaze", "speech"}


def test_the_decoding_is_tuned_on_hard_sessions_too() -> None:
    scenes = train.tune_scenes(Preset("x"), 1)
    kinds = [{event.kind for event in scene.plan.events} for scene in scenes]
    assert all("micro" in one and "macro" in one for one in kinds)
    assert sum("speech" in one for one in kinds) == sum("gaze" in one for one in kinds) == len(scenes) // 8
    usual, noisy = draw_session(7, 30.0, 7, Conditions()), draw_session(7, 30.0, 7, Conditions(noise=1.8))
    assert noisy.plan == usual.plan
    assert noisy.noise.rgb_sigma == pytest.approx(1.8 * usual.noise.rgb_sigma)
    assert noisy.noise.depth_sigma_mm == pytest.approx(1.8 * usual.noise.depth_sigma_mm)
    assert draw_session(7, 30.0, 7, Conditions(sway=2.5)).plan.sway != usual.plan.sway
    assert not Conditions(sway=2.5).is_usual
    assert not Conditions(noise=1.8).is_usual


def test_the_shipped_model_says_what_it_is() -> None:
    model = load_model("synthetic-4")
    card = model.card()
    assert "synthetic faces only" in card
    assert "not evaluated on any real face" in card
    assert model.classes == ("negative", "positive", "surprise", "others", "neutral")
    assert model.description["training"]["command"].startswith("sfam train --preset synthetic-4")
    assert json.loads((model.path / "model.json").read_text())["licence"] == "Apache-2.0"


def test_the_shipped_model_passes_parity_on_every_backend_here() -> None:
    reports = check_all_backends(load_model("synthetic-4"))
    assert reports["onnxruntime"]["ok"]
    assert all(report["ok"] for report in reports.values() if report["present"])


def test_the_shipped_model_is_silent_on_a_still_face() -> None:
    from sfam.engine.backend import open_backend
    from sfam.engine.config import EngineConfig

    backend = open_backend(EngineConfig(backend="onnxruntime"), load_model("synthetic-4"))
    rng = np.random.default_rng(0)
    maps = rng.normal(0, 0.02, (50, 3, 42, 42)).astype(np.float32)
    spot, emotion = backend.run(maps)
    assert spot.max() < 0.2
    assert (emotion.argmax(axis=1) == 4).all()


def test_losses_for_tensorboard_without_the_package_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RuntimeError, match="pip install tensorboard"):
        TensorBoardLog(tmp_path / "events")
    assert list(tmp_path.iterdir()) == []
