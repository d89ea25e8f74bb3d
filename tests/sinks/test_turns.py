"""Turns on a grid, counted in simulated time."""

from __future__ import annotations

import random
import threading

import pytest

from sfam.sinks.live_frames import LiveFrames
from sfam.sinks.turns import Turns
from sfam.stream.ring import Ring
from sfam.stream.ring_writer import RingWriter
from tests.sinks.session_parts import rgbd_frame
from tests.sinks.waiting import until

SECOND = 1_000_000_000
SECONDS = 20


@pytest.mark.parametrize("work_ms", [0, 5, 30, 60])
def test_work_within_a_turn_does_not_push_the_next_one_back(work_ms: int) -> None:
    turns, now_ns, count = Turns(15.0), 0, 0
    while now_ns < SECONDS * SECOND:
        now_ns += round(turns.wait_s(now_ns) * 1e9)
        count += 1
        now_ns += work_ms * 1_000_000
    assert count == pytest.approx(15 * SECONDS, abs=1)


def test_missed_turns_are_not_caught_up() -> None:
    turns = Turns(10.0)
    assert turns.wait_s(0) == 0.0
    assert turns.wait_s(5 * SECOND) == 0.0
    assert [turns.wait_s(5 * SECOND), turns.wait_s(5 * SECOND)] == [pytest.approx(0.1), pytest.approx(0.2)]


@pytest.mark.parametrize("fps", [15, 30, 60, 90])
def test_what_comes_as_often_as_there_are_turns_or_a_multiple_is_let_through_at_their_rate(fps: int) -> None:
    chance, turns = random.Random(fps), Turns(15.0)
    stamps = [round((number / fps + chance.uniform(-0.004, 0.004)) * SECOND) for number in range(fps * SECONDS)]
    assert sum(turns.due(stamp) for stamp in stamps) == pytest.approx(15 * SECONDS, abs=2)


def test_every_picture_taken_from_a_ring_reaches_the_page() -> None:
    """A camera of 30 frames a second, an onlooker that needs 5 ms for a picture, looks that come up to 8 ms late."""
    chance = random.Random(1)
    onlooker, looks, page = Turns(15.0), Turns(30.0), Turns(15.0)
    taken: list[int] = []
    now_ns = 0
    while now_ns < SECONDS * SECOND:
        now_ns += round(onlooker.wait_s(now_ns) * 1e9) + 5_000_000
        taken.append(now_ns)
    shown: set[int] = set()
    now_ns = 0
    while now_ns < SECONDS * SECOND:
        now_ns += round(looks.wait_s(now_ns) * 1e9) + chance.randrange(8_000_000)
        newest = max((stamp for stamp in taken if stamp <= now_ns), default=None)
        if newest is not None and newest not in shown and page.due(now_ns):
            shown.add(newest)
    assert len(shown) == pytest.approx(15 * SECONDS, abs=3)


@pytest.mark.parametrize("why", ["the camera was unplugged", ""])
def test_frames_of_a_ring_come_until_it_ends_and_a_failure_is_kept(why: str) -> None:
    with Ring((48, 64), (48, 64), policy="latest", slots=8, readers=0) as ring, RingWriter(ring.name) as writer:
        frames, found = LiveFrames(ring.name, 100.0), list[int]()
        frames.start()
        writer.write(rgbd_frame(7), {}, lambda: False)

        def come() -> bool:
            found.extend(frame.frame for frame in frames.news())
            return bool(found)

        until(come, "a frame", 60)
        writer.fail(why) if why else writer.end()
        until(lambda: f"ring {ring.name}" not in [one.name for one in threading.enumerate()], "its end", 60)
        assert (found, frames.failure) == ([7], why)
        frames.leave()


def test_a_ring_that_is_not_there_is_a_failure() -> None:
    gone = LiveFrames("sfam_1_nowhere")
    gone.start()
    until(lambda: gone.failure != "", "word of a ring that is not there", 60)
    assert "sfam_1_nowhere" in gone.failure
