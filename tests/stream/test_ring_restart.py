"""A ring whose writer breaks off and is started again: readers wait, numbers and counters go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from sfam.capture.source import SourceError
from sfam.stream.ring import Ring
from sfam.stream.ring_reader import RingReader, StreamEnd
from sfam.stream.ring_writer import RingWriter
from tests.stream.test_ring import CALIBRATION, COLOR, DEPTH, assert_equal, frame


def broken_off(name: str) -> None:
    """A writer that writes frames 0 to 2 and fails."""
    with suppress(SourceError), RingWriter(name) as writer:
        for sequence in range(3):
            writer.write(frame(sequence))
        writer.report_drops({"lost": 2})
        raise SourceError("unplugged")


def test_a_reader_waits_for_the_next_writer_and_sees_its_new_calibration() -> None:
    with Ring(COLOR, DEPTH, policy="latest", slots=4, restarts=True) as ring, RingReader(ring.name) as reader:
        broken_off(ring.name)
        for sequence in range(3):
            assert_equal(reader.read(1), frame(sequence))
        assert reader.read(0.2) is None
        assert reader.end is None
        moved = replace(CALIBRATION, color=replace(CALIBRATION.color, fx=99.0))
        with RingWriter(ring.name) as writer:
            assert writer.last == (2, 3)
            assert writer.earlier_drops == {"lost": 2}
            writer.write(frame(3, moved))
            assert_equal(reader.read(1), frame(3, moved))
            writer.end()
        assert reader.read(1) is None
        assert reader.end == StreamEnd("ended")
        assert reader.drops == {"lost": 2}


def test_the_owner_ends_a_stream_whose_writer_stays_away() -> None:
    with Ring(COLOR, DEPTH, policy="latest", restarts=True) as ring, RingReader(ring.name) as reader:
        broken_off(ring.name)
        ring.fail("camera 7 stayed away")
        ring.fail("and this comes too late")
        assert [reader.read(1) is None for _ in range(4)] == [False, False, False, True]
        assert reader.end == StreamEnd("failed", "camera 7 stayed away")


def test_without_restarts_an_error_is_the_end() -> None:
    with Ring(COLOR, DEPTH, policy="latest") as ring, RingReader(ring.name) as reader:
        broken_off(ring.name)
        assert [reader.read(1) is None for _ in range(4)] == [False, False, False, True]
        assert reader.end == StreamEnd("failed", "unplugged")


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a POSIX signal")
def test_a_killed_writer_is_followed_by_another() -> None:
    program = (
        "import sys, time\nfrom sfam.stream.ring_writer import RingWriter\nfrom tests.stream.test_ring import frame\n"
        "writer = RingWriter(sys.argv[1])\nfor n in range(3): writer.write(frame(n))\nprint('on', flush=True)\n"
        "time.sleep(60)"
    )
    with Ring(COLOR, DEPTH, policy="latest", slots=4, restarts=True) as ring, RingReader(ring.name) as reader:
        with subprocess.Popen([sys.executable, "-c", program, ring.name], stdout=subprocess.PIPE) as first:
            assert first.stdout is not None
            first.stdout.readline()
            assert ring.writer_silence_s < 30
            os.kill(first.pid, signal.SIGKILL)
        with RingWriter(ring.name) as writer:
            writer.write(frame(3))
            for sequence in range(4):
                assert_equal(reader.read(1), frame(sequence))
            writer.end()


def test_the_shapes_of_a_ring_can_be_asked_for() -> None:
    with Ring(COLOR, DEPTH, policy="latest") as ring:
        assert ring.shapes == (COLOR, DEPTH)
        assert ring.writer_silence_s == float("inf")


def test_a_reader_in_the_place_of_a_dead_one_may_begin_with_the_newest_frame() -> None:
    with Ring(COLOR, DEPTH, policy="latest", slots=4) as ring, RingWriter(ring.name) as writer:
        with RingReader(ring.name) as reader:
            writer.write(frame(0))
            assert_equal(reader.read(1), frame(0))
        for sequence in range(1, 20):
            writer.write(frame(sequence))
        with RingReader(ring.name) as reader:
            skipped = reader.skip_to_newest()
            assert_equal(reader.read(1), frame(19))
            assert (reader.lost, reader.first + skipped) == (0, 19)
            assert reader.skip_to_newest() == 0
            assert reader.read(0) is None


def test_the_owner_sees_that_a_reader_takes_nothing() -> None:
    with Ring(COLOR, DEPTH, policy="latest", readers=2) as ring:
        assert ring.reader_silence_s(0) == 0.0
        with RingReader(ring.name, 1) as reader:
            time.sleep(0.05)
            assert ring.reader_silence_s(0) == 0.0
            silent_s = ring.reader_silence_s(1)
            assert silent_s >= 0.05
            looked_ns = time.monotonic_ns()
            reader.read(0)
            assert ring.reader_silence_s(1) <= (time.monotonic_ns() - looked_ns) / 1e9
