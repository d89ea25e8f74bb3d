from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'sfam-live[train]'")

from sfam.capture.sensor_noise import Noise
from sfam.capture.sequence_plan import draw_plan
from sfam.engine.decoding import RunsSpec
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from sfam.training.direct_motion import DirectMeter, DirectMotion, watching
from sfam.training.recipe import DECODING_CHOICES
from sfam.training.sequences import FPS, Scene, frames, sequence_of


def motion(value: float) -> np.ndarray:
    return np.full((2, 42, 42), value, np.float32)


def test_an_exact_answer_comes_first_then_the_nearest_then_none() -> None:
    direct = DirectMotion({(10, 20): motion(1.0), (12, 22): motion(2.0), (50, 60): None})
    exact, near = direct.between(12, 22), direct.between(11, 20)
    assert exact is not None
    assert near is not None
    assert exact[0, 0, 0] == 2.0
    assert near[0, 0, 0] == 1.0
    assert direct.between(30, 40) is None
    assert direct.between(50, 61) is None
    assert DirectMotion({}).between(1, 2) is None


def test_watching_settings_cover_what_decides_runs() -> None:
    settings = watching(RunsSpec(), DECODING_CHOICES)
    assert {spec.join_s for spec in settings} == {DECODING_CHOICES["join_s"][0], DECODING_CHOICES["join_s"][-1]}
    assert min(spec.lo for spec in settings) <= DECODING_CHOICES["lo"][0]
    assert max(spec.lo for spec in settings) >= DECODING_CHOICES["lo"][-1]
    assert len(set(settings)) == len(settings) == 16


def test_measured_motion_is_that_of_the_face_and_is_remembered() -> None:
    plan = draw_plan(8, 2.6, micro=1, macro=0, blinks=0, sway=0.3, micro_px=(2.0,))
    scene = Scene(plan, Noise(), 1.0)
    (event,) = sequence_of(scene).events()
    analysis = Analysis(StreamConfig(), FPS)
    for frame in frames(scene):
        analysis.push(frame)
    meter = DirectMeter(analysis)
    to_apex, back = meter.between(event.onset - 1, event.apex), meter.between(event.onset - 1, event.offset + 1)
    analysis.close()
    assert to_apex is not None
    assert back is not None
    assert np.abs(to_apex).max() > 4 * np.abs(back[:, 6:-6, 6:-6]).mean()
    assert np.sqrt((to_apex**2).mean()) > 2 * np.sqrt((back**2).mean())
    assert meter.between(event.onset - 1, event.apex) is to_apex
    assert meter.between(0, 10_000) is None
