from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sfam.capture.drawn_events import GAP_S
from sfam.capture.expression import EMOTION, EXPRESSIONS, Action, FaceEvent
from sfam.capture.face_sequence import FaceSequence, truth_of
from sfam.capture.sensor_noise import Noise
from sfam.capture.sequence_plan import EndlessPlan, Light, draw_plan, draw_sway


def test_onset_and_offset_are_the_first_and_last_frames_that_differ_from_rest() -> None:
    sequence = FaceSequence(draw_plan(4, 20.0, sway=0.0, blinks=0), Noise.none())
    rest = sequence.crop(0)[0]
    for event in sequence.events():
        courses = [len(sequence.state(frame / 30).bumps) for frame in range(event.onset - 1, event.offset + 2)]
        assert courses[0] == courses[-1] == 0
        assert min(courses[1:-1]) > 0
        assert np.array_equal(sequence.crop(event.onset - 1)[0], rest)
        assert not np.array_equal(sequence.crop(event.apex)[0], rest)


def test_the_apex_is_the_first_frame_at_the_peak() -> None:
    event = FaceEvent("micro", "lip_press", 16 / 30, 6 / 30, 1 / 30, 9 / 30, (Action("lip_press", 2.0, 1.0),))
    truth = truth_of(event, FaceSequence(draw_plan(0, 2.0, micro=0, macro=0, blinks=0)).model, 30.0)
    assert truth is not None
    assert (truth.onset, truth.apex, truth.offset) == (17, 22, 31)
    assert (truth.region, truth.emotion) == ("mouth", "others")
    assert 1.8 < truth.peak_px < 2.1
    assert abs(event.course(17 / 30) - 0.067) < 1e-3


def test_peaks_durations_and_rests_keep_their_bounds() -> None:
    for seed in range(20):
        sequence = FaceSequence(draw_plan(seed, 30.0))
        events = [event for event in sequence.events() if event.kind in ("micro", "macro")]
        assert sum(event.kind == "micro" for event in events) == 5
        for event in events:
            length = event.offset - event.onset + 1
            if event.kind == "micro":
                assert 4 <= length <= 30
                assert 0.15 < event.peak_px < 2.3
                assert 0.02 < event.peak_mm < 3.3
            else:
                assert length >= 32
                assert 2.0 < event.peak_px < 4.4
        for before, after in pairwise(events):
            assert after.onset - before.offset >= round(GAP_S * 30)


def test_every_family_comes_up_and_is_named_by_its_main_action() -> None:
    names = [e.name for seed in range(5) for e in draw_plan(seed, 30.0).events if e.kind == "micro"]
    assert all(names.count(name) >= 2 for name in EXPRESSIONS)
    assert {EMOTION[name] for name in names} == {"negative", "positive", "surprise", "others"}


def test_given_durations_are_used() -> None:
    plan = draw_plan(3, 300.0, macro=0, blinks=0, durations=[(3, 17)])
    frames = [(round(event.rise_s * 30), round((event.end_s - event.start_s) * 30)) for event in plan.events]
    assert frames.count((3, 17)) > 0.4 * len(frames)


def test_too_many_events_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer events or more seconds"):
        draw_plan(1, 3.0, micro=10)


def test_the_same_seed_draws_the_same_plan() -> None:
    assert draw_plan(9, 30.0) == draw_plan(9, 30.0)
    assert draw_plan(9, 30.0) != draw_plan(10, 30.0)


def test_sway_is_smooth_and_as_wide_as_asked() -> None:
    for seed in range(6):
        poses = np.array([np.concatenate(draw_sway(seed).pose(t)) for t in np.arange(0.0, 60.0, 1 / 30)])
        wide = np.ptp(poses, axis=0)
        assert 1.0 < np.degrees(wide[:3]).max() < 4.0
        assert 4.0 < wide[3:].max() < 13.0
        assert np.abs(np.diff(poses, axis=0)).max(axis=0)[3:].max() < 0.6
    half = np.array(draw_sway(1, 0.5).pose(3.3))
    assert np.allclose(2.0 * half, np.array(draw_sway(1).pose(3.3)))


def test_blinks_speech_gaze_and_light_are_options() -> None:
    plan = draw_plan(2, 20.0, micro=1, macro=0, blinks=3, speech=1, gaze=2, light=Light(flicker=0.05))
    kinds = sorted(event.kind for event in FaceSequence(plan).events())
    assert kinds == ["blink", "blink", "blink", "gaze", "gaze", "micro", "speech"]
    gains = [plan.light.at(frame / 30)[0] for frame in range(30)]
    assert 0.05 < max(gains) - min(gains) < 0.1
    assert np.allclose(gains[:27], gains[3:], atol=1e-6), "100 Hz at 30 fps repeats every third frame"


def test_an_endless_plan_has_no_end_and_no_history() -> None:
    plan = EndlessPlan(5)
    far = plan.events_between(86_400.0, 86_460.0)
    assert len(far) > 8
    assert EndlessPlan(5).events_between(86_400.0, 86_460.0) == far
    assert all(event.end_s <= 86_490.0 for event in far)
