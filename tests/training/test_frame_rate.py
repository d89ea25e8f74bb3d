"""Clips of other rates than 30 frames a second: measured by their stamps, learnt from by time, not scored as if 30."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("openpyxl")

from sfam.engine.model import load_model  # noqa: E402
from sfam.engine.network import SFAMNet  # noqa: E402
from sfam.stream.config import StreamConfig  # noqa: E402
from sfam.training.clip_windows import ClipWindows, no_maps  # noqa: E402
from sfam.training.dataset import AnnotatedInterval, DataSet, DataSetError, group_by_subject  # noqa: E402
from sfam.training.evaluation import judge_clips  # noqa: E402
from sfam.training.feature_set import read_features, write_features  # noqa: E402
from sfam.training.finetune import labels, spot_counts  # noqa: E402
from sfam.training.loso import ClipTrace, FoldResult, load_clips  # noqa: E402
from sfam.training.metrics import Counts  # noqa: E402
from tests.training.stand_in import InThisProcess, tree  # noqa: E402

MODEL = load_model("synthetic-4")


def clip(fps: int, onsets_s: tuple[float, ...] = (1.0, 3.0)) -> ClipWindows:
    """Six seconds with micros of 0.5 s, as windows of 0.2 s show them: out for 0.25 s, back for the rest."""
    frames = np.arange(6 * fps)
    maps = np.zeros((len(frames), 3, 42, 42), np.float32)
    intervals = []
    for onset_s in onsets_s:
        onset, apex, offset = (round((onset_s + later_s) * fps) for later_s in (0.0, 0.25, 0.5))
        intervals.append(AnnotatedInterval("micro", onset, apex, offset, "surprise"))
        seen = frames - round(0.1 * fps)
        maps[(seen >= onset) & (seen <= apex), 2] = 2.0
        maps[(seen > apex) & (seen <= offset), 2] = -2.0
    return ClipWindows("a", "v", maps, frames, len(frames), tuple(intervals), no_maps(), (), float(fps))


def moves(_u: Any, _v: Any, w: Any) -> tuple[Any, Any]:
    """Stands for a network that has learnt to see any motion in w."""
    return (w.abs().mean(dim=(1, 2, 3)) > 0).float() * 0.98, torch.zeros(len(w), len(MODEL.classes))


@pytest.mark.parametrize("fps", [30, 60, 90])
def test_fine_tuning_goes_by_time_at_any_rate(fps: int) -> None:
    found = spot_counts(cast(SFAMNet, moves), [clip(fps)], MODEL)
    assert found == Counts(2, 0, 0)
    slow, _ = labels(clip(30), MODEL)
    spot, _ = labels(clip(fps), MODEL)
    for label in (0, 1, -1):
        seconds = np.count_nonzero(spot == label) / fps, np.count_nonzero(slow == label) / 30
        assert seconds[0] == pytest.approx(seconds[1], abs=0.2), label


def test_the_rate_comes_from_the_stamps_and_the_published_protocol_takes_30_only(tmp_path: Path) -> None:
    """The clip's images as a recording of 60 frames a second."""
    own = tree(tmp_path / "tree", subjects=1).clips[0]
    camera = {"width": 160, "height": 160, "fx": 440, "fy": 440, "ppx": 80, "ppy": 80}
    sidecar = {"depth_unit_m": 0.001, "fps": 60, "depth_aligned": True, "color": camera}
    windows = tmp_path / "windows"
    write_features(DataSet("x", group_by_subject([own])), windows, StreamConfig(), InThisProcess())
    assert [clip.fps for clip in load_clips(windows, None)] == [30.0]
    load_clips.cache_clear()
    (own.recording / "recording.json").write_text(json.dumps(sidecar))
    write_features(DataSet("x", group_by_subject([own])), windows, StreamConfig(), InThisProcess())
    assert [clip.fps for clip in read_features(windows)] == [60.0]
    with pytest.raises(DataSetError, match=r"has 60 frames a second.*--finetune"):
        load_clips(windows, None)


def test_hours_are_those_of_the_clip() -> None:
    own = replace(clip(30), fps=29.0)
    trace = ClipTrace("v", (0.0,) * 90, (4,) * 90)
    verdict = judge_clips([own], FoldResult("a", "scored", traces=(trace,)), 4)[0]
    assert verdict.seconds == pytest.approx(180 / 29)
