from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from sfam.capture.frame import Calibration, ClockDomain, Distortion, Extrinsics, Intrinsics, RGBDFrame
from sfam.stream import ring_segment
from sfam.stream.ring import Ring
from sfam.stream.ring_reader import OVERWRITTEN, RingReader, StreamEnd
from sfam.stream.ring_segment import RingError, Segment, process_alive, sweep
from sfam.stream.ring_writer import RingShapeError, RingWriter

COLOR, DEPTH = (12, 16), (10, 14)
CALIBRATION = Calibration(
    color=Intrinsics(16, 12, 615.1 / 3, 0.1 + 0.2, 8.0, 6.0, Distortion.RATIONAL, tuple(1 / n for n in range(1, 9))),
    depth=Intrinsics(14, 10, 1e-300, 421.0, 7.0, 5.0, Distortion.INVERSE_BROWN_CONRADY),
    depth_to_color=Extrinsics(tuple(n / 7 for n in range(9)), (0.015, -1e-9, 1 / 3)),
    depth_aligned=False,
)


def frame(sequence: int, calibration: Calibration = CALIBRATION) -> RGBDFrame:
    random = np.random.default_rng(sequence)
    return RGBDFrame(
        sequence=sequence,
        color=random.integers(0, 256, (*COLOR, 3), dtype=np.uint8),
        depth=random.integers(0, 65536, DEPTH, dtype=np.uint16),
        calibration=calibration,
        depth_scale_m=0.1 * 3,
        t_capture_ns=2**62 + sequence,
        t_device_ns=-5,
        clock_domain=ClockDomain.GLOBAL,
        t_host_ns=11,
        t_utc_ns=12,
        t_depth_device_ns=13,
        t_sensor_ns=0,
        t_global_ns=None,
        color_number=77,
        depth_number=-1,
        segment=3,
        dropped_before=4,
        depth_missing=True,
    )


@contextmanager
def open_ring(slots: int = 16) -> Iterator[tuple[RingWriter, RingReader]]:
    with (
        Ring(COLOR, DEPTH, policy="latest", slots=slots) as ring,
        RingWriter(ring.name) as writer,
        RingReader(ring.name) as reader,
    ):
        yield writer, reader


def assert_equal(read: RGBDFrame | None, written: RGBDFrame) -> None:
    assert read is not None
    for field in fields(RGBDFrame):
        ours, theirs = getattr(read, field.name), getattr(written, field.name)
        if isinstance(theirs, np.ndarray):
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs)
        else:
            assert ours == theirs, field.name
            assert type(ours) is type(theirs), field.name


def test_every_field_survives_the_trip() -> None:
    with open_ring(4) as (writer, reader):
        for sequence, sensor_ns, global_ns in ((0, None, None), (5, 0, -1), (6, 2**60, None)):
            sent = replace(frame(sequence), t_sensor_ns=sensor_ns, t_global_ns=global_ns)
            for domain in ClockDomain:
                sent = replace(sent, clock_domain=domain)
                assert writer.write(sent, {"decode": sequence + 1})
                assert_equal(reader.read(0), sent)
                assert reader.stage_ns == {"decode": sequence + 1}


def test_frames_stay_valid_after_their_slot_was_overwritten_and_the_ring_closed() -> None:
    kept = []
    with open_ring(2) as (writer, reader):
        for sequence in range(7):
            writer.write(frame(sequence))
            kept.append(reader.read(0))
    for sequence, read in enumerate(kept):
        assert_equal(read, frame(sequence))


def test_images_that_are_not_contiguous_are_written_as_they_look() -> None:
    with open_ring() as (writer, reader):
        sent = replace(frame(1), color=frame(1).color[:, ::-1, ::-1], depth=frame(1).depth[::-1])
        writer.write(sent)
        assert_equal(reader.read(0), sent)


def test_a_changed_calibration_travels_with_its_frames_and_reaches_a_late_joiner() -> None:
    moved = replace(CALIBRATION, depth_aligned=True)
    with Ring(COLOR, DEPTH, policy="latest", slots=4) as ring, RingWriter(ring.name) as writer:
        for sequence in range(9):
            writer.write(frame(sequence, CALIBRATION if sequence < 7 else moved))
        with RingReader(ring.name, reader=3) as late:
            assert late.first == 6
            for sequence in (6, 7, 8):
                assert_equal(late.read(0), frame(sequence, CALIBRATION if sequence < 7 else moved))
            assert late.lost == 0


def test_an_overtaken_reader_counts_what_it_lost_and_where() -> None:
    with open_ring(4) as (writer, reader):
        for sequence in range(3):
            writer.write(frame(sequence))
        assert_equal(reader.read(0), frame(0))
        for sequence in range(3, 20):
            writer.write(frame(sequence))
        read = [reader.read(0) for _ in range(2)]
        assert [each.sequence for each in read if each] == [18, 19]
        assert reader.lost == 17
        assert reader.drops == {OVERWRITTEN: 17}
        assert reader.lost_before == 0
        assert reader.read_count + reader.lost == writer.written == 20


def test_the_end_comes_after_the_last_frame_with_its_reason() -> None:
    for error, expected in (
        (None, StreamEnd("ended", warnings=("unindexed", "slow"))),
        ("USB unplugged ü", StreamEnd("failed", "USB unplugged ü")),
    ):
        with open_ring() as (writer, reader):
            writer.write(frame(0))
            writer.report_drops({"unpaired": 2, "truncated": 1})
            writer.end(["unindexed", "slow"]) if error is None else writer.fail(error)
            assert [each.sequence for each in reader.frames()] == [0]
            assert reader.end == expected
            assert reader.drops == {"unpaired": 2, "truncated": 1}


def test_a_very_long_error_text_is_cut_at_a_whole_character() -> None:
    with Ring(COLOR, DEPTH, policy="latest") as ring, RingWriter(ring.name) as writer:
        writer.fail("x" + "ü" * 3000)
        with RingReader(ring.name) as reader:
            assert reader.read(1) is None
            assert reader.end is not None
            assert reader.end.reason == "x" + "ü" * 1023


def test_a_frame_of_another_size_is_refused_by_name_and_the_ring_goes_on() -> None:
    with Ring(COLOR, DEPTH, policy="latest") as ring, RingWriter(ring.name) as writer:
        with pytest.raises(RingShapeError, match="new ring"):
            writer.write(replace(frame(0), color=np.zeros((20, 20, 3), np.uint8)))
        with pytest.raises(RingShapeError, match="float32 color"):
            writer.write(replace(frame(0), color=np.zeros((*COLOR, 3), np.float32)))
        with RingReader(ring.name) as reader:
            writer.write(frame(0))
            assert_equal(reader.read(0), frame(0))


def test_a_lossless_writer_waits_for_the_reserved_reader_until_cancelled() -> None:
    with Ring(COLOR, DEPTH, policy="lossless", slots=2) as ring, RingWriter(ring.name) as writer:
        assert writer.write(frame(0))
        assert writer.write(frame(1))
        assert not writer.write(frame(2), cancelled=lambda: True)
        with RingReader(ring.name) as reader:
            assert_equal(reader.read(0), frame(0))
            assert writer.write(frame(2), cancelled=lambda: True)


def test_a_silent_reader_is_given_up_after_its_time() -> None:
    with (
        Ring(COLOR, DEPTH, policy="lossless", slots=2) as ring,
        RingWriter(ring.name, reader_timeout_s=0.1) as writer,
        RingReader(ring.name) as reader,
    ):
        for sequence in range(5):
            assert writer.write(frame(sequence))
        assert writer.readers_lost == 1
        writer.end()
        assert [each.sequence for each in reader.frames()] == [4]
        assert reader.lost == 4


def test_a_taken_row_and_a_second_writer_are_refused() -> None:
    with Ring(COLOR, DEPTH, policy="latest") as ring, RingWriter(ring.name), RingReader(ring.name):
        with pytest.raises(RingError, match="another reader number"):
            RingReader(ring.name)
        with pytest.raises(RingError, match="already has a writer"):
            RingWriter(ring.name)
        RingReader(ring.name, reader=None).close()


def test_a_ring_that_is_gone_or_not_ours_is_named() -> None:
    ring = Ring(COLOR, DEPTH, policy="latest")
    ring.close()
    ring.close()
    with pytest.raises(RingError, match="does not exist"):
        RingReader(ring.name)
    with pytest.raises(RingError, match="no ring's name"):
        RingReader("../../etc/passwd")
    segment = Segment.create(1 << 16)
    with pytest.raises(RingError, match="one version"):
        RingReader(segment.name)
    segment.unlink()
    segment.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes the pages at once")
def test_a_ring_beyond_the_shared_memory_is_an_error_not_a_crash() -> None:
    with pytest.raises(RingError, match="no room for a ring"):
        Ring((100_000, 100_000), (100_000, 100_000), policy="latest", slots=1024)
    assert not list(Path("/dev/shm").glob(f"sfam_{os.getpid()}_*"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows frees shared memory with its last handle")
def test_sweep_takes_what_killed_owners_left_and_nothing_else() -> None:
    program = (
        "import os, signal; from sfam.stream.ring import Ring; ring = Ring((4, 4), (4, 4), policy='latest');"
        "print(ring.name, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert child.stderr == ""
    orphan = child.stdout.strip()
    with Ring(COLOR, DEPTH, policy="latest") as ring:
        assert ring.name not in sweep()
        RingReader(ring.name).close()
    with pytest.raises(RingError, match="does not exist"):
        RingReader(orphan)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows frees shared memory with its last handle")
def test_a_dying_owners_lock_is_waited_for_and_anothers_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    segment = Segment.create(1 << 12)
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir()) / segment.name
    monkeypatch.setattr(ring_segment, "_DYING_S", 0.05)
    # a living owner, as one in another container with our process id would be
    assert segment.name not in sweep(dead_owner=os.getpid())
    assert path.exists()
    monkeypatch.setattr(ring_segment, "_DYING_S", 60.0)
    release = threading.Timer(0.1, segment.close)
    release.start()
    sweep(dead_owner=os.getpid())
    release.join()
    assert not path.exists()


def test_a_killed_process_that_nobody_has_waited_for_counts_as_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert process_alive(child.pid)
    child.kill()
    deadline_s = time.monotonic() + 60
    while process_alive(child.pid) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not process_alive(child.pid)
    child.wait(5)
    assert not process_alive(child.pid)
