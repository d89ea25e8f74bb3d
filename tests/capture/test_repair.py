from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.writer import Writer

from sfam.capture.config import CaptureConfig
from sfam.capture.inspection import inspect
from sfam.capture.mcap_file import RecordingError
from sfam.capture.mcap_scan import Scan
from sfam.capture.recorder import Recorder, RecorderSettings
from sfam.capture.repair import repair
from sfam.capture.source import open_source
from tests.capture.recorded_frames import INFO, assert_equal, seeded_frame
from tests.shared_data import shared


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("repair") / "whole.mcap"
    recorder = Recorder(RecorderSettings(path, lossless=True, queue_frames=2))
    recorder.begin(INFO)
    for number in range(500):
        recorder.push(seeded_frame(number))
    recorder.finish()
    return path.read_bytes()


def index_of(path: Path) -> tuple[int, int, int]:
    """Chunks, messages by statistics, messages found through the index with all checksums checked."""
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        found = sum(1 for _ in reader.iter_messages())
        return len(summary.chunk_indexes), summary.statistics.message_count, found


def test_a_whole_file_is_left_alone(tmp_path: Path, recorded: bytes) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(recorded)
    report = repair(path)
    assert report.was_whole
    assert path.read_bytes() == recorded
    assert index_of(path) == (report.chunks, report.messages, report.messages)


@pytest.mark.parametrize("seed", range(25))
def test_a_cut_file_gets_an_index_of_everything_before_the_cut(tmp_path: Path, recorded: bytes, seed: int) -> None:
    # half of the cuts go through the index at the end
    size, draw = len(recorded), random.Random(seed)
    cut = draw.randrange(size // 8, size - 1) if seed % 2 else size - 1 - draw.randrange(4000)
    path = tmp_path / "a.mcap"
    path.write_bytes(recorded[:cut])
    before = inspect(path).pairs
    report = repair(path)
    assert not report.was_whole
    assert report.damaged_chunks == 0
    assert recorded.startswith(path.read_bytes()[: cut - report.removed_bytes])
    assert index_of(path) == (report.chunks, report.messages, report.messages)
    after = inspect(path, deep=True)
    assert not after.recovered
    assert after.pairs == before
    assert repair(path).was_whole


def test_a_repair_that_is_killed_is_mended_by_the_next(tmp_path: Path, recorded: bytes) -> None:
    torn, mended = tmp_path / "torn.mcap", tmp_path / "mended.mcap"
    torn.write_bytes(recorded[: len(recorded) // 2])
    repair(torn, mended)
    whole = mended.read_bytes()
    appended = next(at for at in range(len(whole)) if recorded[at] != whole[at])
    for kept in (appended + 3, appended + 40, len(whole) - 20, len(whole) - 1):
        torn.write_bytes(whole[:kept])
        repair(torn)
        assert torn.read_bytes() == whole


def test_a_new_file_appears_only_when_it_is_complete(tmp_path: Path, recorded: bytes) -> None:
    torn, out = tmp_path / "torn.mcap", tmp_path / "out.mcap"
    content = recorded[: len(recorded) // 3]
    torn.write_bytes(content)
    report = repair(torn, out)
    assert report.path == out
    assert torn.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["out.mcap", "torn.mcap"]
    with pytest.raises(RecordingError, match="exists already"):
        repair(torn, out)


def test_a_chunk_that_does_not_open_is_set_aside(tmp_path: Path, recorded: bytes) -> None:
    path = tmp_path / "a.mcap"
    content = bytearray(recorded)
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)
    report = repair(path)
    assert report.damaged_chunks == 1
    assert not report.was_whole
    assert index_of(path) == (report.chunks, report.messages, report.messages)
    with open_source(CaptureConfig(camera=str(path))) as source:
        frames = list(source.frames())
    assert 0 < len(frames) < 500
    for frame in frames:
        assert_equal(seeded_frame(frame.sequence), frame)


def test_recordings_of_others_are_mended_alike(tmp_path: Path) -> None:
    whole = shared("recordings/ros2_realsense.mcap")
    path = tmp_path / "ros2.mcap"
    path.write_bytes(whole.read_bytes()[:700_000])
    report = repair(path)
    assert report.messages > 0
    assert index_of(path) == (report.chunks, report.messages, report.messages)
    again = inspect(path, deep=True)
    assert again.pairs > 0
    assert not again.recovered
    path.write_bytes(whole.read_bytes()[:-9])
    repair(path)
    hashes = [(stream.name, stream.frames, stream.sha256) for stream in inspect(whole, deep=True).streams]
    assert [(one.name, one.frames, one.sha256) for one in inspect(path, deep=True).streams] == hashes


@pytest.mark.parametrize("content", [b"", b"hello", b"#ROSBAG V2.0\n" * 20])
def test_what_is_no_mcap_file_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="no mcap file"):
        repair(path)
    assert path.read_bytes() == content


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"missing\.mcap: repair cannot read it: No such file or directory"):
        repair(tmp_path / "missing.mcap")
    with pytest.raises(RecordingError, match="repair cannot read it"):
        repair(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no lock that readers pass by")
def test_a_recording_that_is_still_written_is_left_alone(tmp_path: Path) -> None:
    path, out = tmp_path / "a.mcap", tmp_path / "b.mcap"
    recorder = Recorder(RecorderSettings(path, lossless=True))
    recorder.begin(INFO)
    for number in range(120):
        recorder.push(seeded_frame(number))
    deadline_s = time.monotonic() + 60
    while recorder.frames < 120 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    content = path.read_bytes()
    with pytest.raises(RecordingError, match="a program is still writing this file"):
        repair(path)
    assert path.read_bytes() == content
    repair(path, out)
    assert inspect(out).pairs == 120
    for number in range(120, 150):
        recorder.push(seeded_frame(number))
    assert recorder.finish().frames == 150
    assert repair(path).was_whole
    assert inspect(path, deep=True).pairs == 150


def test_damage_in_the_middle_never_costs_what_follows_it(tmp_path: Path, recorded: bytes) -> None:
    path, out = tmp_path / "a.mcap", tmp_path / "b.mcap"
    starts = chunk_starts(recorded)
    middle = starts[len(starts) // 2]
    # a flipped bit in its length: behind the end of the file, into another chunk, a little longer or shorter
    for bit in (47, 24, 17, 16, 8, 5, 0):
        content = bytearray(recorded)
        content[middle + 1 + bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(RecordingError, match="for a whole chunk follows at byte"):
            repair(path)
        assert path.read_bytes() == content
    content = bytearray(recorded)
    content[middle + 6] = 0xFF
    path.write_bytes(content)
    assert repair(path, out).removed_bytes == len(content) - middle
    assert index_of(out)[1] == index_of(out)[2]


def test_a_chunk_that_others_pack_otherwise_is_never_set_aside_in_place(
    tmp_path: Path, recorded: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(recorded.replace(b"\x04\0\0\0zstd", b"\x04\0\0\0brot", 1))
    content = path.read_bytes()
    assert content != recorded
    with pytest.raises(RecordingError, match="is compressed as 'brot'; lz4 and zstd are read; nothing was changed"):
        repair(path)
    assert path.read_bytes() == content
    assert repair(path, tmp_path / "b.mcap").damaged_chunks == 1
    path.write_bytes(recorded)
    monkeypatch.setattr("sfam.capture.mcap_scan.LARGEST_CHUNK_BYTES", 10_000)
    with pytest.raises(RecordingError, match="at most 10000 are read; nothing was changed"):
        repair(path)
    assert path.read_bytes() == recorded


def test_messages_without_chunks_are_not_cut_in_place(tmp_path: Path) -> None:
    path, out = tmp_path / "a.mcap", tmp_path / "b.mcap"
    with path.open("wb") as file:
        writer = Writer(file, use_chunking=False)
        writer.start()
        channel = writer.register_channel("/numbers", "json", 0)
        for number in range(100):
            writer.add_message(channel, number, b"%d" % number * 40, number)
        writer.finish()  # type: ignore[no-untyped-call]
    whole = path.read_bytes()
    assert repair(path).was_whole
    damaged = bytearray(whole)
    damaged[whole.index(b"50" * 40) - 27] = 0xFF  # of the length of one in the middle
    path.write_bytes(damaged)
    with pytest.raises(RecordingError, match="its messages are in no chunks"):
        repair(path)
    assert path.read_bytes() == damaged
    assert repair(path, out).messages == 50


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_scrambled_is_mended_or_refused(tmp_path: Path, recorded: bytes, seed: int) -> None:
    draw = random.Random(seed)
    content = bytearray(recorded[:200_000])
    for _ in range(draw.choice((1, 3, 9))):
        place = draw.randrange(8, 9000 if seed % 2 else len(content))
        content[place : place + draw.choice((0, 1, 20))] = draw.randbytes(draw.choice((1, 8)))
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    try:
        report = repair(path)
    except RecordingError as error:
        assert str(path) in str(error)  # noqa: PT017 either is right
        return
    assert repair(path).was_whole
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    assert len(summary.chunk_indexes) == report.chunks


def chunk_starts(content: bytes) -> list[int]:
    return [record.start for record in Scan(memoryview(content)).records() if record.opcode == Opcode.CHUNK]
