from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfam.stream.config import StreamConfig
from sfam.training import backgrounds
from sfam.training.backgrounds import BackgroundTask, measure_background
from sfam.training.sequences import draw_background


@pytest.mark.slow  # renders and measures eight seconds of a face
def test_a_saved_background_is_taken_for_the_same_scene_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = BackgroundTask(draw_background(1, 4.0, 3, sway=1.0, talks=False), StreamConfig(), tmp_path / "scene_000.npz")
    first = measure_background(task)
    restless = replace(task, scene=draw_background(1, 4.0, 3, sway=2.5, talks=False))
    other = measure_background(restless)
    assert not np.array_equal(other.maps, first.maps)
    monkeypatch.setattr(backgrounds, "measure", None)
    again = measure_background(restless)
    for name in ("maps", "usable", "lag", "lookalikes", "landmarks"):
        assert np.array_equal(getattr(again, name), getattr(other, name))
    assert again.regions == other.regions
