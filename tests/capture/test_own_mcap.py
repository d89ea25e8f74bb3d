from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from mcap.opcode import Opcode

from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.inspection import inspect
from sfam.capture.mcap_scan import Scan
from sfam.capture.own_mcap import OwnMcapRecording
from sfam.capture.recorder import Recorder, RecorderSettings
from sfam.capture.recording import open_recording
from sfam.capture.source import SourceError, open_source
from tests.capture.recorded_frames import INFO, assert_equal, seeded_frame
from tests.shared_data import shared

FRAMES = 24


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording of `FRAMES` frames in blocks of one."""
    from sfam.capture.clip_memory import ClipSettings

    path = tmp_path_factory.mktemp("own") / "whole.mcap"
    recorder = Recorder(RecorderSettings(path, lossless=True, clips=ClipSettings()))
    recorder.begin(INFO)
    recorder.keep(0, 2**62)
    for number in range(FRAMES):
        recorder.push(seeded_frame(number))
    recorder.finish()
    return path.read_bytes()


def chunk_starts(content: bytes) -> list[int]:
    """Where the compressed chunks of images stand, and the last words."""
    return [record.start for record in Scan(memoryview(content)).records() if record.opcode == Opcode.CHUNK][1::2]


def played(path: Path) -> list[RGBDFrame]:
    with open_source(CaptureConfig(camera=str(path))) as source:
        return list(source.frames())


def assert_first_frames(frames: list[RGBDFrame], count: int) -> None:
    assert [frame.sequence for frame in frames] == list(range(count))
    for frame in frames:
        assert_equal(seeded_frame(frame.sequence), frame)


@pytest.mark.parametrize("seed", range(30))
def test_a_file_cut_anywhere_gives_every_frame_before_the_cut(tmp_path: Path, recorded: bytes, seed: int) -> None:
    cut = random.Random(seed).randrange(len(recorded))
    path = tmp_path / "cut.mcap"
    path.write_bytes(recorded[:cut])
    starts = chunk_starts(recorded)
    before = sum(following <= cut for following in starts[1:])
    if not before:
        with suppress(SourceError):
            assert_first_frames(played(path), 1)
        return
    frames = played(path)
    # the block that the cut goes through may have been whole but for its index
    assert before <= len(frames) <= before + 1
    assert_first_frames(frames, len(frames))
    report = inspect(path)
    assert report.recovered
    assert report.pairs == len(frames)
    assert any(f"cut off: {len(frames)} frames" in warning for warning in report.warnings)


def test_a_damaged_block_costs_its_own_frames_only(tmp_path: Path, recorded: bytes) -> None:
    content = bytearray(recorded)
    content[chunk_starts(recorded)[5] + 500] ^= 0xFF
    path = tmp_path / "damaged.mcap"
    path.write_bytes(content)
    with open_source(CaptureConfig(camera=str(path))) as source:
        frames = list(source.frames())
        assert [frame.sequence for frame in frames] == [number for number in range(FRAMES) if number != 5]
        assert source.drops == {"unreadable_color": 1, "unreadable_depth": 1, "not_recorded": 1}
        assert any("damaged" in warning for warning in source.info.warnings)
    report = inspect(path, deep=True)
    assert report.recovered
    assert report.pairs == FRAMES - 1


def test_images_never_lend_themselves_to_other_frames(tmp_path: Path, recorded: bytes) -> None:
    content = bytearray(recorded)
    content[chunk_starts(recorded)[5]] = 0x80 | Opcode.CHUNK  # a record that readers pass over
    path = tmp_path / "hidden.mcap"
    path.write_bytes(content)
    frames = played(path)
    assert [frame.sequence for frame in frames] == [number for number in range(FRAMES) if number != 5]
    for frame in frames:
        assert_equal(seeded_frame(frame.sequence), frame)


@pytest.mark.parametrize("seed", range(60))
def test_no_flipped_byte_gives_a_wrong_pixel_or_another_error(tmp_path: Path, recorded: bytes, seed: int) -> None:
    draw = random.Random(seed)
    content = bytearray(recorded)
    for _ in range(draw.choice((1, 1, 4))):
        content[draw.randrange(8, len(content))] = draw.randrange(256)
    path = tmp_path / "flipped.mcap"
    path.write_bytes(content)
    with suppress(SourceError):
        for frame in played(path):
            assert_equal(seeded_frame(frame.sequence), frame)


def test_a_newer_format_is_refused_in_words(tmp_path: Path, recorded: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(recorded)
    monkeypatch.setattr("sfam.capture.own_mcap.FORMAT", 0)
    with pytest.raises(SourceError, match="recorded in format 1, this version reads 0; update it"):
        open_recording(path)


def test_a_file_with_a_ros_recording_goes_to_its_own_reader() -> None:
    recording = open_recording(shared("recordings/ros2_realsense.mcap"))
    assert not isinstance(recording, OwnMcapRecording)
    recording.close()


def test_opening_and_inspecting_reads_no_image(tmp_path: Path, recorded: bytes) -> None:
    content = bytearray(recorded)
    for start in chunk_starts(recorded)[:FRAMES]:
        content[start + 100 : start + 200] = bytes(100)
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    report = inspect(path)
    assert (report.pairs, report.recovered) == (FRAMES, False)
    assert [stream.frames for stream in report.streams] == [FRAMES, FRAMES]
    assert report.fps == pytest.approx(60, abs=0.1)


def test_a_recording_without_depth_stamps_has_its_pairs(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    recorder = Recorder(RecorderSettings(path, lossless=True))
    recorder.begin(INFO)
    for number in range(5):
        recorder.push(replace(seeded_frame(number), t_depth_device_ns=0))
    recorder.finish()
    assert inspect(path).pairs == inspect(path, deep=True).pairs == 5
    assert [frame.t_depth_device_ns for frame in played(path)] == [0] * 5


def test_frames_outlive_their_recording(tmp_path: Path, recorded: bytes) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(recorded)
    frames = played(path)
    path.unlink()
    assert_first_frames(frames, FRAMES)
