from __future__ import annotations

from pathlib import Path

import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.inspection import inspect
from sfam.capture.recorder import Recorder, RecorderSettings
from sfam.capture.source import SourceError, open_source
from tests.capture.recorded_frames import INFO, assert_equal, seeded_frame


def record(path: Path, numbers: range, skipped: tuple[int, int] | None = None) -> None:
    recorder = Recorder(RecorderSettings(path, lossless=True))
    recorder.begin(INFO)
    for number in numbers:
        recorder.push(seeded_frame(number))
    if skipped is not None:
        recorder.note_skipped(*skipped, "ring_overwritten")
    recorder.finish()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A session whose recorder was started again twice; the third file is named to be sorted wrongly as text."""
    (tmp_path / "session.json").write_text("{}")
    record(tmp_path / "recording.mcap", range(3))
    record(tmp_path / "recording_2.mcap", range(5, 8), skipped=(1, 1))
    record(tmp_path / "recording_10.mcap", range(9, 11))
    return tmp_path


def played(folder: Path) -> tuple[list[RGBDFrame], dict[str, int], tuple[str, ...]]:
    with open_source(CaptureConfig(camera=str(folder))) as source:
        return list(source.frames()), dict(source.drops), source.info.warnings


def test_all_parts_are_read_in_order_with_their_numbers(folder: Path) -> None:
    frames, drops, warnings = played(folder)
    assert [frame.sequence for frame in frames] == [0, 2, 5, 6, 7, 9, 10]
    for frame in frames:
        assert_equal(seeded_frame(frame.sequence), frame)
    assert drops["not_recorded"] == 4
    assert warnings == ()


def test_inspect_counts_all_parts(folder: Path) -> None:
    with open_source(CaptureConfig(camera=str(folder))) as source:
        assert source.info.details["recorded_parts"] == 3
        assert source.info.details["recorded_skipped"] == 1
        assert source.info.details["recorded_camera"] == INFO.camera
    report = inspect(folder)
    assert (report.pairs, [stream.frames for stream in report.streams]) == (8, [8, 8])


def test_a_part_without_a_frame_is_left_out_and_named(folder: Path) -> None:
    (folder / "recording_2.mcap").write_bytes((folder / "recording_2.mcap").read_bytes()[:60])
    (folder / "recording_3.mcap").touch()
    frames, _, warnings = played(folder)
    assert [frame.sequence for frame in frames] == [0, 1, 2, 9, 10]
    assert [f"recording_{number}.mcap" in warning for number, warning in zip((2, 3), warnings, strict=True)] == [
        True
    ] * 2


def test_a_cut_part_gives_what_is_whole_and_is_named(folder: Path) -> None:
    whole = (folder / "recording_2.mcap").read_bytes()
    (folder / "recording_2.mcap").write_bytes(whole[: len(whole) - 200])
    _, _, warnings = played(folder)
    assert any(warning.startswith("recording_2.mcap: cut off") for warning in warnings)
    assert inspect(folder).recovered


def test_files_of_two_recordings_are_not_joined(folder: Path) -> None:
    (folder / "recording_2.mcap").unlink()
    record(folder / "recording_2.mcap", range(2, 4))
    with pytest.raises(
        SourceError, match=r"recording_2\.mcap: begins with frame 2, but recording\.mcap ends with frame 2"
    ):
        played(folder)


def test_parts_without_one_readable_frame_are_refused(folder: Path) -> None:
    for file in folder.glob("*.mcap"):
        file.write_bytes(b"\x89MCAP0\r\n")
    with pytest.raises(SourceError, match="nothing readable in any of 3 parts"):
        played(folder)
