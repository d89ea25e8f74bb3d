from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.source import open_source
from sfam.training.dataset import DataSetError
from sfam.training.synthetic_corpus import (
    CorpusPlan,
    corpus_tasks,
    draw_scene,
    is_corpus,
    read_corpus,
    write_clip,
)

PLAN = CorpusPlan(subjects=8, clips=2, seconds=8.0)


def test_heads_for_testing_are_in_no_clip_for_training(tmp_path: Path) -> None:
    tasks = corpus_tasks(PLAN, tmp_path)
    heads = {
        split: {task.scene.plan.identity for task in tasks if task.folder.parent.name == split}
        for split in ("train", "test")
    }
    assert len(tasks) == 16
    assert (len(heads["train"]), len(heads["test"])) == (6, 2)
    assert not heads["train"] & heads["test"]
    assert len({task.scene.plan.seed for task in tasks}) == 16


def test_one_subject_is_all_for_training_and_none_is_refused(tmp_path: Path) -> None:
    assert {task.folder.parent.name for task in corpus_tasks(replace(PLAN, subjects=1), tmp_path)} == {"train"}
    with pytest.raises(ValueError, match="empty"):
        corpus_tasks(replace(PLAN, subjects=0), tmp_path)


def test_everything_is_drawn_from_the_seed() -> None:
    first, again, other = (draw_scene(replace(PLAN, seed=seed), 10_001, 0) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_depth_noise_is_as_asked_and_mixed_holds_all_three() -> None:
    mixed = {draw_scene(PLAN, head, 0).noise.depth_model for head in range(40)}
    assert mixed == {"white", "correlated", "quantised"}
    stepped = {draw_scene(replace(PLAN, depth_noise="quantised"), head, 0).noise.depth_model for head in range(5)}
    assert stepped == {"quantised"}


def test_lookalikes_and_light_vary() -> None:
    scenes = [draw_scene(replace(PLAN, seconds=30.0), head, 0) for head in range(20)]
    kinds = {event.kind for scene in scenes for event in scene.plan.events}
    assert kinds == {"micro", "macro", "blink", "gaze", "speech"}
    assert {scene.plan.light.flicker for scene in scenes} >= {0.0, 0.02}


def test_a_clip_plays_and_its_truth_is_read_and_nothing_is_written_twice(tmp_path: Path) -> None:
    task = next(iter(corpus_tasks(replace(PLAN, subjects=2, clips=1), tmp_path)))
    assert not is_corpus(tmp_path)
    assert write_clip(task)
    assert not write_clip(task)
    data = read_corpus(tmp_path)
    assert data.name == "SYNTHETIC corpus"
    (clip,) = read_corpus(tmp_path / "train").clips
    truth = json.loads((tmp_path / "train" / task.subject / "clip00.json").read_text())
    expressions = [one for one in truth["events"] if one["kind"] in ("micro", "macro")]
    assert [(one.kind, one.onset, one.offset, one.emotion) for one in clip.intervals] == [
        (one["kind"], one["onset"], one["offset"], one["emotion"]) for one in expressions
    ]
    assert {one.kind for one in clip.intervals} == {"micro", "macro"}
    with open_source(CaptureConfig(camera=str(clip.recording))) as source:
        assert sum(1 for _ in source.frames()) == truth["frames"] == 240


def test_a_clip_that_was_cut_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    task = next(iter(corpus_tasks(replace(PLAN, subjects=2, clips=1), tmp_path)))
    task.folder.mkdir(parents=True)
    (task.folder / "clip00.mcap").write_bytes(b"half a recording")
    with pytest.raises(DataSetError, match="no finished clip"):
        read_corpus(tmp_path)
    assert not is_corpus(tmp_path)
