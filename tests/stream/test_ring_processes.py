"""The ring between real processes, killed ones included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sfam.stream.ring import Ring
from sfam.stream.ring_reader import RingReader
from sfam.stream.ring_writer import RingWriter
from tests.stream.ring_programs import plain_frame

PROGRAMS = Path(__file__).with_name("ring_programs.py")
SMALL = (24, 32, 20, 28)
VGA = (480, 640, 480, 848)
MANY = 10**7


class Program:
    """One of `ring_programs` at work."""

    def __init__(self, name: str, ring: Ring, **options: float | tuple[int, ...]) -> None:
        words = [sys.executable, str(PROGRAMS), name, ring.name]
        for option, value in options.items():
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{option.replace('_', '-')}", *(str(each) for each in values)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert ready == "ready\n", self.process.communicate(timeout=10)[1]

    def result(self, timeout_s: float = 30) -> dict[str, Any]:
        out, err = self.process.communicate(timeout=timeout_s)
        assert err == ""
        assert self.process.returncode == 0
        return dict(json.loads(out))

    def kill(self) -> None:
        """As the kernel does it when memory runs out."""
        self.process.kill()


@pytest.fixture
def make_ring() -> Iterator[Callable[..., Ring]]:
    rings: list[Ring] = []

    def make(shape: tuple[int, ...], **options: Any) -> Ring:
        rings.append(Ring((shape[0], shape[1]), (shape[2], shape[3]), **options))
        return rings[-1]

    yield make
    for ring in rings:
        ring.close()
    if sys.platform == "linux":
        assert not list(Path("/dev/shm").glob(f"sfam_{os.getpid()}_*"))


def test_lossless_brings_every_frame_once_and_in_order(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(SMALL, policy="lossless", slots=3, readers=2)
    readers = [Program("read", ring, row=0), Program("read", ring, row=1, delay_ms=0.1)]
    writer = Program("write", ring, shape=SMALL, count=4000)
    assert writer.result() == {"written": 4000, "readers_lost": 0}
    for reader in readers:
        read = reader.result()
        assert read["sequences"] == list(range(4000))
        assert (read["broken"], read["lost"], read["torn"], read["end"]) == (0, 0, 0, "ended")


def test_a_lossless_writer_waits_for_a_reader_that_comes_late(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(SMALL, policy="lossless", slots=4)
    writer = Program("write", ring, shape=SMALL, count=500)
    time.sleep(0.3)
    assert Program("read", ring).result()["sequences"] == list(range(500))
    assert writer.result()["readers_lost"] == 0


def test_torn_frames_are_seen_and_every_lost_frame_is_counted(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(VGA, policy="latest", slots=2, readers=0)
    reader = Program("read", ring)
    writer = Program("write", ring, shape=VGA, count=2500)
    written, read = writer.result(), reader.result()
    assert read["broken"] == 0
    assert read["torn"] > 0, "the writer never overtook a copy: this run has shown nothing"
    assert read["sequences"] == sorted(set(read["sequences"]))
    assert len(read["sequences"]) + read["lost"] == written["written"] == 2500


def test_a_slow_reader_of_latest_counts_every_gap(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(SMALL, policy="latest", slots=8)
    reader = Program("read", ring, delay_ms=5)
    writer = Program("write", ring, shape=SMALL, count=1000, period_ms=1)
    written, read = writer.result(), reader.result()
    gaps = sum(later - earlier - 1 for earlier, later in zip(read["sequences"], read["sequences"][1:], strict=False))
    assert read["lost"] > 100
    assert read["lost"] == gaps + read["sequences"][0] == read["jumps"]
    assert len(read["sequences"]) + read["lost"] == written["written"]
    assert read["sequences"][-1] == 999


def test_a_late_joiner_starts_at_what_is_there(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(SMALL, policy="latest", slots=8)
    writer = Program("write", ring, shape=SMALL, count=1000, period_ms=1)
    time.sleep(0.2)
    read = Program("read", ring, row=5).result()
    assert read["first"] > 50
    assert len(read["sequences"]) + read["lost"] + read["first"] == writer.result()["written"]


def test_a_reader_killed_amid_its_work_does_not_hold_a_lossless_writer(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(SMALL, policy="lossless", slots=4, readers=2)
    victim, other = Program("read", ring, row=0, delay_ms=1), Program("read", ring, row=1)
    writer = Program("write", ring, shape=SMALL, count=3000)
    time.sleep(0.3)
    victim.kill()  # nobody waits for it: it stays a zombie, which must count as dead
    assert writer.result(timeout_s=10) == {"written": 3000, "readers_lost": 1}
    assert other.result()["sequences"] == list(range(3000))
    victim.process.communicate(timeout=5)


def test_a_reader_that_takes_over_a_killed_ones_row_declares_the_gap(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(SMALL, policy="latest", slots=4)
    victim = Program("read", ring)
    writer = Program("write", ring, shape=SMALL, count=1500, period_ms=1)
    time.sleep(0.2)
    victim.kill()
    victim.process.communicate(timeout=5)
    time.sleep(0.2)
    read = Program("read", ring).result()
    assert read["first"] > 0
    assert read["lost"] > 50
    assert read["first"] + len(read["sequences"]) + read["lost"] == writer.result()["written"]


def test_a_reader_learns_that_its_writer_was_killed(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(VGA, policy="latest", slots=4)
    reader = Program("read", ring)
    writer = Program("write", ring, shape=VGA, count=MANY)
    time.sleep(0.3)
    writer.kill()
    read = reader.result(timeout_s=60)
    assert (read["end"], read["broken"]) == ("failed", 0)
    assert read["reason"] == f"the writing process {writer.process.pid} was killed"
    writer.process.communicate(timeout=5)
    with RingWriter(ring.name) as successor:
        assert successor.written >= len(read["sequences"]) + read["lost"]


def test_who_leaves_without_a_farewell_takes_nothing_along(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(SMALL, policy="latest")
    stayer = Program("stay", ring)
    assert stayer.process.communicate(timeout=10)[1] == ""
    with RingWriter(ring.name) as writer, RingReader(ring.name) as reader:
        writer.write(plain_frame(3, (24, 32), (20, 28)))
        frame = reader.read(1)
        assert frame is not None
        assert frame.sequence == 3


def test_ninety_frames_a_second_reach_a_reader_that_takes_three_milliseconds(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(VGA, policy="latest")
    reader = Program("read", ring, delay_ms=3)
    writer = Program("write", ring, shape=VGA, count=270, period_ms=1000 / 90)
    assert writer.result()["written"] == 270
    read = reader.result()
    assert (read["lost"], read["broken"], len(read["sequences"])) == (0, 0, 270)


def test_a_waiting_reader_leaves_the_processor_alone(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(SMALL, policy="latest")
    with RingReader(ring.name) as reader:
        assert reader.read(0.1) is None
        used_s = time.process_time()
        assert reader.read(1.0) is None
        assert time.process_time() - used_s < 0.1
