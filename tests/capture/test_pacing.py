from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from sfam.capture.clock import SessionClock
from sfam.capture.frame import Calibration, Intrinsics, RGBDFrame
from sfam.capture.pacing import ReplayControl, delivered, is_live, limited, paced
from sfam.capture.source import SourceInfo

LENS = Intrinsics(4, 4, 5.0, 5.0, 2.0, 2.0)
CALIBRATION = Calibration(LENS, LENS)


def frames_at(*stamps_ms: float) -> list[RGBDFrame]:
    blank = RGBDFrame.from_arrays(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint16), LENS, 0)
    return [
        replace(blank, sequence=number, t_capture_ns=round(stamp * 1e6), t_host_ns=0)
        for number, stamp in enumerate(stamps_ms)
    ]


class HandClock:
    """Time that passes only by sleeping, and by `cost_s` per delivered frame."""

    def __init__(self) -> None:
        self.now_ns = 10**12
        self.longest_sleep_s = 0.0

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.longest_sleep_s = max(self.longest_sleep_s, seconds)
        self.now_ns += math.ceil(seconds * 1e9)


def never() -> bool:
    return False


def delivery_ms(
    frames: list[RGBDFrame], speed: float | None, cost_ms: Callable[[int], float] = lambda number: 0.0
) -> list[float]:
    clock = HandClock()
    begin_ns = clock.now_ns
    times = []
    for frame in paced(frames, speed, clock, clock.sleep, never):
        times.append((clock.now_ns - begin_ns) / 1e6)
        clock.now_ns += int(cost_ms(frame.sequence) * 1e6)
    return times


@pytest.mark.parametrize("speed", [0.25, 1.0, 4.0])
def test_frames_come_at_the_distances_of_their_stamps_over_speed(speed: float) -> None:
    stamps = [0.0, 33.3, 66.7, 133.4, 166.7]
    assert delivery_ms(frames_at(*stamps), speed) == pytest.approx([stamp / speed for stamp in stamps], abs=0.01)


@pytest.mark.parametrize("speed", [None, math.inf])
def test_without_a_speed_nothing_waits(speed: float | None) -> None:
    assert delivery_ms(frames_at(0, 1000, 500, 90000), speed) == [0, 0, 0, 0]


def test_a_speed_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="pause"):
        delivery_ms(frames_at(0), 0.0)


def test_lateness_does_not_add_up() -> None:
    stamps = [100.0 * number for number in range(50)]
    times = delivery_ms(frames_at(*stamps), 1.0, lambda number: 250.0 if number == 3 else 99.0)
    assert times[4] == pytest.approx(550, abs=0.01)
    assert times[-1] > 4900
    times = delivery_ms(frames_at(*stamps), 1.0, lambda number: 250.0 if number == 3 else 20.0)
    assert times[10:] == pytest.approx(stamps[10:], abs=0.01)


def test_gaps_and_jumps_back_cost_two_seconds_at_most_and_the_pace_goes_on() -> None:
    times = delivery_ms(frames_at(0, 50, 60_050, 60_100, 10, 60), 1.0)
    assert times == pytest.approx([0, 50, 2050, 2100, 2100, 2150], abs=0.01)


def test_a_new_segment_starts_the_timeline_anew() -> None:
    frames = frames_at(0, 50, 950, 1000)
    frames[2:] = [replace(frame, segment=1) for frame in frames[2:]]
    assert delivery_ms(frames, 1.0) == pytest.approx([0, 50, 50, 100], abs=0.01)


def test_a_long_stall_is_not_followed_by_a_burst() -> None:
    stamps = [100.0 * number for number in range(60)]
    times = delivery_ms(frames_at(*stamps), 1.0, lambda number: 4000.0 if number == 0 else 0.0)
    assert times[1:3] == pytest.approx([4000, 4100], abs=0.01)


def test_a_stop_is_obeyed_within_a_moment_of_a_long_wait() -> None:
    clock = HandClock()
    begin_ns = clock.now_ns
    read = list(paced(frames_at(0, 1900), 1.0, clock, clock.sleep, lambda: clock.now_ns - begin_ns > 10**8))
    assert len(read) == 1
    assert clock.now_ns - begin_ns < 0.15e9


def test_a_paused_replay_goes_step_by_step_and_then_on_without_a_burst() -> None:
    clock, control = HandClock(), ReplayControl(paused=True)
    waited = 0

    def sleep(seconds: float) -> None:
        nonlocal waited
        clock.sleep(seconds)
        waited += 1
        if waited == 50:
            control.step()
        if waited == 100:
            control.resume()

    begin_ns = clock.now_ns
    steps = paced(frames_at(0, 100, 200, 300), 1.0, clock, sleep, never, control)
    times = [(clock.now_ns - begin_ns) / 1e6 for _ in steps]
    assert times[0] == pytest.approx(1000, abs=1)
    assert times[1] > 1900
    assert times[2] - times[1] == pytest.approx(100, abs=0.01)
    assert times[3] - times[2] == pytest.approx(100, abs=0.01)


def test_a_replay_as_fast_as_possible_can_be_paused_from_another_thread() -> None:
    control = ReplayControl()
    read: list[int] = []

    def endless() -> Iterator[RGBDFrame]:
        for number in range(10**6):
            yield replace(frames_at(0)[0], sequence=number)

    done = threading.Event()

    def take() -> None:
        frames = paced(endless(), None, time.monotonic_ns, time.sleep, done.is_set, control)
        read.extend(frame.sequence for frame in frames)

    thread = threading.Thread(target=take)
    thread.start()
    time.sleep(0.05)
    control.toggle()
    time.sleep(0.1)
    held = len(read)
    time.sleep(0.1)
    assert 0 < held == len(read)
    control.step()
    control.step()
    time.sleep(0.2)
    assert len(read) == held + 2
    control.toggle()
    time.sleep(0.05)
    assert len(read) > held + 2
    done.set()
    thread.join(5)
    assert read == list(range(len(read)))


def source_info(kind: str, live: bool) -> SourceInfo:
    return SourceInfo(camera="x", kind=kind, live=live, fps=100.0, calibration=CALIBRATION)


def test_a_recording_keeps_file_time_and_gets_a_delivery_time() -> None:
    clock = SessionClock.start()
    before = clock.now_ns()
    read = list(delivered(frames_at(0, 10, 20), source_info("recording", False), 1.0, clock, stop=never))
    assert [frame.t_capture_ns for frame in read] == [0, 10**7, 2 * 10**7]
    assert [frame.t_utc_ns for frame in read] == [0, 0, 0]
    assert before <= read[0].t_host_ns <= read[1].t_host_ns - 9e6


def test_a_device_is_never_waited_for_and_is_stamped_as_it_hands_on() -> None:
    clock = SessionClock.start()
    began = time.monotonic()
    read = list(delivered(frames_at(0, 90_000, 180_000), source_info("device", True), 1.0, clock, stop=never))
    assert time.monotonic() - began < 60
    for frame in read:
        assert frame.t_capture_ns == frame.t_host_ns >= clock.anchor_monotonic_ns
        assert frame.t_utc_ns - clock.anchor_utc_ns == frame.t_host_ns - clock.anchor_monotonic_ns


def test_a_device_that_stamps_its_frames_keeps_its_stamps_and_gets_utc() -> None:
    clock = SessionClock.start()
    info = replace(source_info("device", True), stamped=True)
    arrived = [replace(frame, t_host_ns=frame.t_capture_ns) for frame in frames_at(5, 40, 70)]
    read = list(delivered(arrived, info, 1.0, clock, stop=never))
    for before, after in zip(arrived, read, strict=True):
        assert after.t_capture_ns == after.t_host_ns == before.t_capture_ns
        assert after.t_utc_ns - clock.anchor_utc_ns == after.t_capture_ns - clock.anchor_monotonic_ns


def test_the_synthetic_camera_is_live_at_speed_one_and_a_replay_otherwise() -> None:
    info = source_info("synthetic", True)
    assert is_live(info, 1.0)
    assert not is_live(info, math.inf)
    assert not is_live(info, 0.5)
    clock = SessionClock.start()
    live = list(delivered(frames_at(0, 40, 80), info, 1.0, clock, stop=never))
    assert live[2].t_capture_ns - live[0].t_capture_ns > 79e6
    fast = list(delivered(frames_at(0, 40, 80), info, math.inf, clock, stop=never))
    assert [frame.t_capture_ns for frame in fast] == [0, 40 * 10**6, 80 * 10**6]


def test_a_duration_counts_capture_time_from_the_first_frame() -> None:
    frames = frames_at(5000, 5500, 5999, 6000, 6100)
    assert [frame.sequence for frame in limited(frames, 1.0)] == [0, 1, 2]
    assert len(list(limited(frames, None))) == 5
