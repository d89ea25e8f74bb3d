"""Pairing by nearest stamp: order, tolerance, loss, repeats, jumps, bounded memory."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfam.capture.pairing import Pair, Pairer, Role

PERIOD = 33_333_333


@dataclass(frozen=True)
class Frame:
    role: Role
    number: int
    t_device_ns: int


def color(number: int, t_ns: int) -> Frame:
    return Frame("color", number, t_ns)


def depth(number: int, t_ns: int) -> Frame:
    return Frame("depth", number, t_ns)


def run(frames: list[Frame], period_ns: int | None = PERIOD) -> tuple[list[tuple[int, int]], Pairer[Frame]]:
    pairer: Pairer[Frame] = Pairer(period_ns)
    pairs: list[Pair[Frame]] = []
    for frame in frames:
        pairs += pairer.push(frame)
    pairs += pairer.flush()
    return [(pair.color.number, pair.depth.number) for pair in pairs], pairer


def regular(count: int, offset_ns: int = 200_000) -> list[Frame]:
    frames = []
    for k in range(count):
        frames += [depth(1000 + k, k * PERIOD), color(k, k * PERIOD + offset_ns)]
    return frames


def test_agreeing_stamps_pair_at_once() -> None:
    pairer: Pairer[Frame] = Pairer(PERIOD)
    for frame in regular(30):
        pairs = pairer.push(frame)
        assert len(pairs) == (frame.role == "color")
    assert pairer.drops == {}


@pytest.mark.parametrize("offset", [-0.45, -0.3, 0.3, 0.45])
def test_a_constant_offset_below_half_a_period_pairs_with_the_nearest(offset: float) -> None:
    pairs, pairer = run(regular(30, int(offset * PERIOD)))
    assert pairs == [(k, 1000 + k) for k in range(30)]
    assert pairer.drops == {}


def test_a_frame_nearer_to_the_next_one_waits_for_it() -> None:
    frames = [depth(1, 0), color(1, int(0.45 * PERIOD)), depth(2, int(0.7 * PERIOD)), color(2, int(1.7 * PERIOD))]
    pairs, pairer = run(frames)
    assert pairs == [(1, 2)]
    assert pairer.drops == {"unpaired_color": 1, "unpaired_depth": 1}


def test_more_than_half_a_period_apart_is_no_pair() -> None:
    frames = [depth(169, 360_815_089_000), color(162, 360_713_523_000), depth(170, 360_981_765_000)]
    pairs, pairer = run(frames, 166_666_667)
    assert pairs == []
    assert pairer.drops == {"unpaired_color": 1, "unpaired_depth": 2}


def test_lost_frames_are_counted_per_stream_and_named_at_the_next_pair() -> None:
    frames = [frame for frame in regular(12) if frame.number not in (4, 5, 1008)]
    pairer: Pairer[Frame] = Pairer(PERIOD)
    pairs = [pair for frame in frames for pair in pairer.push(frame)] + pairer.flush()
    assert [pair.color.number for pair in pairs] == [0, 1, 2, 3, 6, 7, 9, 10, 11]
    assert {pair.color.number: pair.dropped_before for pair in pairs if pair.dropped_before} == {6: 2, 9: 1}
    assert pairer.drops == {"lost": 2, "lost_depth": 1, "unpaired_color": 1, "unpaired_depth": 2}


def test_a_repeated_frame_is_dropped_and_stands_for_the_frame_it_replaced() -> None:
    frames = regular(10)
    frames[8], frames[9] = frames[6], frames[7]  # what a stalled camera does: frame 3 again in place of frame 4
    pairs, pairer = run(frames)
    assert [number for number, _ in pairs] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert pairer.drops == {"duplicate": 1, "duplicate_depth": 1}


def test_stamps_that_jump_back_pair_on() -> None:
    frames = regular(8)
    frames += [Frame(one.role, one.number + 8, one.t_device_ns - 2_000_000_000) for one in regular(8)]
    pairs, pairer = run(frames)
    assert pairs == [(k, 1000 + k) for k in range(16)]
    assert pairer.drops == {}


def test_a_looped_recording_pairs_on_though_its_numbers_start_again() -> None:
    pairs, pairer = run(regular(8) + regular(8))
    assert len(pairs) == 16
    assert pairer.drops == {}


def test_a_stalled_stream_costs_bounded_memory_and_is_counted() -> None:
    pairer: Pairer[Frame] = Pairer(PERIOD, capacity=16)
    for k in range(10_000):
        pairer.push(color(k, k * PERIOD))
    assert pairer.drops == {"unpaired_color": 10_000 - 16}
    pairer.flush()
    assert pairer.drops == {"unpaired_color": 10_000}


def test_the_period_is_measured_where_the_nominal_one_is_wrong_or_missing() -> None:
    for nominal in (None, PERIOD):
        slow = [Frame(one.role, one.number, one.t_device_ns * 4) for one in regular(20, int(0.3 * PERIOD))]
        pairs, pairer = run(slow, nominal)
        assert pairer.period_ns == pytest.approx(4 * PERIOD, rel=1e-6)
        assert pairs[-10:] == [(k, 1000 + k) for k in range(10, 20)]


def test_the_faster_stream_gives_the_tolerance() -> None:
    frames = sorted(
        [*(color(k, k * PERIOD) for k in range(30)), *(depth(k, 2 * k * PERIOD) for k in range(15))],
        key=lambda one: one.t_device_ns,
    )
    pairs, pairer = run(frames)
    assert pairs == [(2 * k, k) for k in range(15)]
    assert pairer.drops == {"unpaired_color": 15}


def test_two_single_frames_without_any_rate_still_pair() -> None:
    assert run([depth(1, 0), color(1, 5_000_000)], None)[0] == [(1, 1)]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 0.2), st.floats(0.0, 0.15))
def test_whatever_is_lost_no_frame_is_used_twice_or_forgotten(seed: int, loss: float, jitter: float) -> None:
    rng = random.Random(seed)
    frames = [
        Frame(one.role, one.number, one.t_device_ns + int(rng.uniform(-jitter, jitter) * PERIOD))
        for one in regular(60)
        if rng.random() >= loss
    ]
    pairs, pairer = run(frames)
    assert len({first for first, _ in pairs}) == len(pairs) == len({second for _, second in pairs})
    assert pairs == sorted(pairs)
    colors = sum(one.role == "color" for one in frames)
    assert len(pairs) + pairer.drops.get("unpaired_color", 0) == colors
    assert len(pairs) + pairer.drops.get("unpaired_depth", 0) == len(frames) - colors
    both = {one.number for one in frames if one.role == "color"} & {one.number - 1000 for one in frames}
    assert [first for first, _ in pairs] == sorted(both)
