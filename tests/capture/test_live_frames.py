from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from sfam.capture.frame import Calibration, ClockDomain, Intrinsics
from sfam.capture.live_frames import WRAP_NS, LiveFrames, SensorFrame
from sfam.capture.pairing import Role

LENS = Intrinsics(4, 3, 5.0, 5.0, 2.0, 1.5)
PERIOD_NS = 33_333_333
ROLES: tuple[Role, Role] = ("depth", "color")
HARDWARE, SYSTEM = ClockDomain.HARDWARE, ClockDomain.SYSTEM


def live() -> LiveFrames:
    return LiveFrames(Calibration(LENS, LENS), PERIOD_NS, 0)


def image(
    role: Role, number: int, stamp_ns: int, clock: ClockDomain = HARDWARE, scale_m: float = 0.0001
) -> SensorFrame:
    pixels = np.zeros((3, 4, 3), np.uint8) if role == "color" else np.zeros((3, 4), np.uint16)
    return SensorFrame(role, pixels, number, stamp_ns, clock, number * PERIOD_NS, depth_scale_m=scale_m)


def both(frames: LiveFrames, number: int, stamp_ns: int, clock: ClockDomain = HARDWARE) -> list[int]:
    """Push one pair; the segments of the frames that come out."""
    out = frames.push(image("depth", number, stamp_ns, clock)) + frames.push(image("color", number, stamp_ns, clock))
    return [frame.segment for frame in out]


def test_a_jump_back_of_both_streams_is_one_new_segment() -> None:
    frames = live()
    stamps = [n * PERIOD_NS for n in (100, 101, 102, 7, 8, 9)]
    assert [both(frames, n, stamp) for n, stamp in enumerate(stamps)] == [[0], [0], [0], [1], [1], [1]]


def test_a_pair_that_only_the_jump_settles_belongs_to_the_old_segment() -> None:
    frames = live()
    both(frames, 0, 0)
    # A third of a period apart: certain only once the next frame, or the end, has come.
    assert frames.push(image("color", 31, 31 * PERIOD_NS)) == []
    assert frames.push(image("depth", 31, 31 * PERIOD_NS + PERIOD_NS // 3)) == []
    (settled,) = frames.push(image("color", 0, 5))
    assert (settled.color_number, settled.segment) == (31, 0)
    assert both(frames, 1, PERIOD_NS) == [1]


def test_a_change_of_clock_is_a_new_segment_even_forwards() -> None:
    frames = live()
    assert both(frames, 0, 0) == [0]
    assert both(frames, 1, 10**18, SYSTEM) == [1]
    assert both(frames, 2, 10**18 + PERIOD_NS, SYSTEM) == [1]


def test_a_jump_before_the_first_pair_is_none() -> None:
    frames = live()
    frames.push(image("color", 0, 10**12))
    both(frames, 1, PERIOD_NS)
    assert both(frames, 2, 2 * PERIOD_NS) == [0]


def test_a_wrapping_counter_goes_on_in_one_segment() -> None:
    frames = live()
    out = []
    for number in range(6):
        stamp_ns = (WRAP_NS - 3 * PERIOD_NS + number * PERIOD_NS) % WRAP_NS
        out += frames.push(image("depth", number, stamp_ns)) + frames.push(image("color", number, stamp_ns))
    assert {frame.segment for frame in out} == {0}
    assert {b.t_device_ns - a.t_device_ns for a, b in pairwise(out)} == {PERIOD_NS}


def test_the_stamp_of_mid_exposure_wraps_with_the_devices_or_a_frame_later() -> None:
    frames = live()
    out = []
    for number in range(6):
        stamp_ns = WRAP_NS + 1_000_000 + (number - 3) * PERIOD_NS
        color = replace(image("color", number, stamp_ns % WRAP_NS), t_sensor_ns=(stamp_ns - 4_000_000) % WRAP_NS)
        out += frames.push(image("depth", number, stamp_ns % WRAP_NS)) + frames.push(color)
    assert out[3].t_device_ns == WRAP_NS + 1_000_000
    assert [frame.t_device_ns - (frame.t_sensor_ns or 0) for frame in out] == [4_000_000] * 6


def test_a_repeated_frame_is_dropped_and_counted() -> None:
    frames = live()
    both(frames, 0, 0)
    assert frames.push(image("color", 0, 0)) == []
    assert frames.drops == {"duplicate": 1}


def test_drops_are_kept_over_a_new_segment() -> None:
    frames = live()
    both(frames, 10, 10 * PERIOD_NS)
    both(frames, 13, 13 * PERIOD_NS)
    both(frames, 0, 0)
    both(frames, 2, 2 * PERIOD_NS)
    assert (frames.drops["lost"], frames.drops["lost_depth"]) == (3, 3)


def test_what_is_lost_or_jumps_among_frames_that_are_passed_over_counts_for_nothing() -> None:
    frames = live()
    for number, stamp_ns in ((100, 10**12), (103, 10**12 + 3 * PERIOD_NS), (3, 3 * PERIOD_NS), (4, 4 * PERIOD_NS)):
        frames.pass_over(image("depth", number, stamp_ns))
        frames.pass_over(image("color", number, stamp_ns))
    assert frames.drops == {}
    frames.push(image("depth", 5, 5 * PERIOD_NS))
    (first,) = frames.push(image("color", 5, 5 * PERIOD_NS))
    assert (first.sequence, first.segment) == (0, 0)
    assert frames.drops == {}


def test_without_a_counter_losses_and_rate_are_told_by_the_stamps() -> None:
    frames = live()
    out = []
    for place in [*range(20), *range(30, 50)]:  # ten captures never came
        jitter_ns = place % 3 * 1_000_000
        for role in ROLES:
            one = replace(image(role, place + 1, place * PERIOD_NS + jitter_ns), number=-1)
            out += frames.push(one)
    assert frames.drops == {"lost": 10, "lost_depth": 10}
    assert [frame.dropped_before for frame in out] == [0] * 20 + [10] + [0] * 19
    assert {(frame.color_number, frame.depth_number, frame.segment) for frame in out} == {(-1, -1, 0)}
    assert frames.rate == pytest.approx(30, abs=0.1)


def test_a_camera_without_counter_that_slows_down_loses_few_and_then_none() -> None:
    frames, drops = live(), list[int]()
    for place in [*range(40), *range(40, 200, 2)]:  # in the dark: every second picture from here on
        for role in ROLES:
            frames.push(replace(image(role, place + 1, place * PERIOD_NS), number=-1))
        drops.append(frames.drops.get("lost", 0))
    assert drops[39] == 0
    assert drops[-1] == drops[60] <= 17, "half of the 31 distances it knows its period from"


def test_streams_that_run_but_never_meet_are_told_with_their_clocks() -> None:
    frames = live()
    for number in range(100):
        frames.push(image("depth", number, number * PERIOD_NS))
        frames.push(image("color", number, 10**15 + number * PERIOD_NS, SYSTEM))
    trouble = frames.trouble(100 * PERIOD_NS, 1.0)
    assert trouble is not None
    assert "never meet" in trouble
    assert "color in system time" in trouble


def test_each_frame_keeps_the_unit_it_came_with() -> None:
    frames = live()
    frames.push(image("depth", 0, 0, scale_m=0.001))
    assert frames.push(image("color", 0, 0))[0].depth_scale_m == 0.001
    frames.push(image("depth", 1, PERIOD_NS))
    assert frames.push(image("color", 1, PERIOD_NS))[0].depth_scale_m == 0.0001


def test_the_rate_counts_frames_that_were_lost_on_the_way() -> None:
    frames = live()
    for number in range(0, 40, 2):
        both(frames, number, number * PERIOD_NS)
    assert frames.rate == pytest.approx(30, abs=0.01)
