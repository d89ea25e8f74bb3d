from __future__ import annotations

import tracemalloc
from itertools import islice

import cv2
import numpy as np
import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.face_sequence import FaceSequence
from sfam.capture.frame import ClockDomain, RGBDFrame
from sfam.capture.sequence_plan import draw_plan
from sfam.capture.source import open_source
from sfam.capture.synthetic import SyntheticSource


def demo(seed: int = 7, fps: float = 30.0) -> SyntheticSource:
    return SyntheticSource(CaptureConfig(demo_seed=seed), fps=fps)


def same(a: RGBDFrame, b: RGBDFrame) -> bool:
    return a.color.tobytes() == b.color.tobytes() and a.depth.tobytes() == b.depth.tobytes()


def test_the_registry_opens_the_demo_camera() -> None:
    with open_source(CaptureConfig(camera="demo")) as source:
        assert isinstance(source, SyntheticSource)
        assert (source.info.camera, source.info.kind, source.info.live) == ("demo", "synthetic", True)
        frames = list(islice(source.frames(), 3))
    assert [frame.sequence for frame in frames] == [0, 1, 2]
    assert [frame.t_device_ns for frame in frames] == [0, 33_333_333, 66_666_667]
    assert frames[2].clock_domain is ClockDomain.HARDWARE
    assert frames[0].color.shape == (480, 640, 3)
    assert frames[0].depth.shape == (480, 848)
    assert not frames[0].calibration.depth_aligned
    assert source.drops == {}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = demo(3).sequence, demo(3).sequence, demo(4).sequence
    again.frame(5)
    for index in (0, 62, 100):
        assert same(first.frame(index), again.frame(index))
    assert not same(first.frame(0), other.frame(0))


def test_frames_do_not_depend_on_the_number_of_threads() -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = demo().sequence.frame(64)
        cv2.setNumThreads(4)
        four = demo().sequence.frame(64)
    finally:
        cv2.setNumThreads(before)
    assert same(one, four)


def test_closing_ends_the_stream() -> None:
    source = demo()
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    with pytest.raises(StopIteration):
        next(frames)


@pytest.mark.parametrize("seed", [0, 7, 8, 21])
def test_the_demo_shows_a_micro_expression_soon_and_often(seed: int) -> None:
    events = demo(seed).truth_events(900)
    micro = [event for event in events if event.kind == "micro"]
    assert micro[0].onset >= 60
    assert micro[0].apex <= 150
    assert len(micro) >= 4
    assert sum(event.kind == "blink" for event in events) >= 4
    assert min(event.peak_px for event in micro) > 0.3


def test_truth_of_an_endless_run_is_the_same_however_far_it_is_asked_for() -> None:
    source = demo()
    long = source.truth_events(9000)
    assert [event for event in long if event.onset < 800] == [
        event for event in source.truth_events(1200) if event.onset < 800
    ]
    assert long[-1].onset > 8000


def test_events_lie_at_the_same_time_at_any_frame_rate() -> None:
    slow, fast = demo().truth_events(600), demo(fps=90.0).truth_events(1800)
    assert [event.name for event in slow] == [event.name for event in fast]
    for a, b in zip(slow, fast, strict=True):
        assert abs(a.apex / 30 - b.apex / 90) < 0.04
    assert demo(fps=60.0).sequence.frame(60).t_capture_ns == 1_000_000_000


def test_an_endless_plan_asked_for_everything_says_so() -> None:
    with pytest.raises(ValueError, match="endless"):
        demo().sequence.events()


def test_rendering_keeps_its_memory_flat() -> None:
    sequence = demo().sequence
    for index in range(3):
        sequence.frame(index)
        sequence.crop(index)
    tracemalloc.start()
    try:
        sizes = []
        for index in range(3, 33):
            sequence.frame(index)
            sequence.crop(index)
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes[10:]) - sizes[9] < 50_000


def test_a_frame_without_noise_repeats_while_nothing_moves() -> None:
    from sfam.capture.sensor_noise import Noise

    still = FaceSequence(draw_plan(1, 2.0, micro=0, macro=0, blinks=0, sway=0.0), Noise.none())
    assert same(still.frame(0), still.frame(40))
    noisy = FaceSequence(draw_plan(1, 2.0, micro=0, macro=0, blinks=0, sway=0.0))
    assert not same(noisy.frame(0), noisy.frame(40))
    assert np.array_equal(noisy.crop(3)[0], noisy.crop(3)[0])
