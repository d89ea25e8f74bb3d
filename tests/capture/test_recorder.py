from __future__ import annotations

import io
import threading
import time
import tracemalloc
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfam.app.recording_role import keep_clip
from sfam.capture.clip_memory import ClipSettings
from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import Calibration, ClockDomain, Intrinsics, RGBDFrame
from sfam.capture.mcap_chunk import PackedMessage, pack_chunk
from sfam.capture.mcap_file import GrowingFile, RecordingError, Summary
from sfam.capture.own_mcap import OwnMcapRecording
from sfam.capture.recorder import CLIP_MEMORY, OUTSIDE_CLIPS, QUEUE_FULL, Recorder, RecorderSettings
from sfam.capture.source import open_source
from tests.capture.recorded_frames import CALIBRATION, FPS, INFO, assert_equal, seeded_frame


def record(path: Path, frames: Iterable[RGBDFrame], **settings: Any) -> Recorder:
    recorder = Recorder(RecorderSettings(path, lossless=True, **settings))
    recorder.begin(INFO, SessionClock.start())
    for frame in frames:
        assert recorder.push(frame, {"lost": frame.dropped_before})
    recorder.finish()
    return recorder


def played(path: Path, **config: object) -> list[RGBDFrame]:
    with open_source(CaptureConfig(camera=str(path), **config)) as source:
        return list(source.frames())


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_replayed_frame_equals_the_recorded_one_in_every_field_and_byte(tmp_path: Path, compression: str) -> None:
    frames = [seeded_frame(number) for number in range(45)]
    record(tmp_path / "a.mcap", frames, compression=compression)
    again = played(tmp_path / "a.mcap")
    assert len(again) == 45
    for frame, other in zip(frames, again, strict=True):
        assert_equal(frame, other)


def test_the_demo_camera_comes_back_exactly(tmp_path: Path) -> None:
    with open_source(CaptureConfig(camera="demo")) as source:
        frames = [frame for frame, _ in zip(source.frames(), range(6), strict=False)]
        recorder = Recorder(RecorderSettings(tmp_path / "demo.mcap", lossless=True))
        recorder.begin(source.info)
        for frame in frames:
            recorder.push(frame)
        recorder.finish()
    for frame, other in zip(frames, played(tmp_path / "demo.mcap"), strict=True):
        assert_equal(frame, other)


def test_views_and_foreign_byte_order_are_stored_as_what_they_mean(tmp_path: Path) -> None:
    frame = seeded_frame(0)
    odd = replace(frame, color=frame.color[:, ::-1][:, ::-1], depth=frame.depth.astype(">u2"))
    record(tmp_path / "a.mcap", [odd])
    [again] = played(tmp_path / "a.mcap")
    assert_equal(frame, again)


def test_a_changed_calibration_travels_with_its_frames(tmp_path: Path) -> None:
    camera = Intrinsics(80, 60, 42.0, 42.0, 40.0, 30.0)
    aligned = Calibration(color=camera, depth=camera, depth_aligned=True)
    frames = [seeded_frame(0), seeded_frame(1, aligned), seeded_frame(2), seeded_frame(3, aligned)]
    record(tmp_path / "a.mcap", frames)
    for frame, other in zip(frames, played(tmp_path / "a.mcap"), strict=True):
        assert_equal(frame, other)


def test_jpeg_color_is_near_and_everything_else_exact(tmp_path: Path) -> None:
    frame = seeded_frame(4)
    rows, columns = np.mgrid[0:48, 0:64]
    smooth = np.dstack((rows * 4, columns * 3, rows + columns)).astype(np.uint8)
    record(tmp_path / "a.mcap", [replace(frame, color=smooth)], color="jpeg")
    [again] = played(tmp_path / "a.mcap")
    assert np.abs(again.color.astype(int) - smooth).mean() < 2.0
    assert_equal(replace(frame, color=again.color), again)
    recording = OwnMcapRecording(tmp_path / "a.mcap", CaptureConfig(camera="x"))
    assert [stream.encoding for stream in recording.streams] == ["jpeg", "16UC1"]
    stored = next(recording.frames()).encoded
    assert stored is not None
    assert stored[:2] == b"\xff\xd8"
    recording.close()


def test_missing_numbers_stay_missing_and_are_counted(tmp_path: Path) -> None:
    record(tmp_path / "a.mcap", [seeded_frame(number) for number in (0, 1, 4, 5, 9)])
    with open_source(CaptureConfig(camera=str(tmp_path / "a.mcap"))) as source:
        assert [frame.sequence for frame in source.frames()] == [0, 1, 4, 5, 9]
        assert source.drops == {"not_recorded": 5}


def test_a_part_of_a_recording_counts_from_its_own_first_frame(tmp_path: Path) -> None:
    record(tmp_path / "a.mcap", [replace(seeded_frame(number), segment=0) for number in range(30)])
    part = played(tmp_path / "a.mcap", from_s=0.2, to_s=0.3)
    assert [frame.sequence for frame in part] == list(range(7))
    assert [frame.color_number for frame in part] == list(range(512, 519))


def test_frames_the_analysis_skipped_are_kept_but_not_replayed(tmp_path: Path) -> None:
    recorder = Recorder(RecorderSettings(tmp_path / "a.mcap", lossless=True))
    recorder.begin(INFO)
    for number in range(12):
        recorder.push(seeded_frame(number))
    recorder.note_skipped(3, 4, "ring_overwritten")
    recorder.note_skipped(9, 9, "paused")
    recorder.finish()
    assert [frame.sequence for frame in played(tmp_path / "a.mcap")] == [0, 1, 2, 5, 6, 7, 8, 10, 11]
    with open_source(CaptureConfig(camera=str(tmp_path / "a.mcap"))) as source:
        assert source.info.skipped == {3: "ring_overwritten", 4: "ring_overwritten", 9: "paused"}
    recording = OwnMcapRecording(tmp_path / "a.mcap", CaptureConfig(camera="x"))
    assert sum(1 for frame in recording.frames() if frame.role == "color") == 12
    recording.close()


def test_what_was_recorded_and_lost_stands_in_the_file(tmp_path: Path) -> None:
    recorder = Recorder(RecorderSettings(tmp_path / "a.mcap", lossless=True))
    recorder.begin(INFO, SessionClock.start())
    recorder.push(seeded_frame(0), {"unpaired_depth": 3})
    totals = recorder.finish("failed", "the cable was pulled")
    assert totals.frames == 1
    assert totals.drops == {"unpaired_depth": 3}
    assert totals.size_bytes == (tmp_path / "a.mcap").stat().st_size
    recording = OwnMcapRecording(tmp_path / "a.mcap", CaptureConfig(camera="x"))
    assert recording.details()["recorded_serial_number"] == "000123"
    assert recording.details()["recorder_lost_unpaired_depth"] == 3
    assert "the recording broke off: the cable was pulled" in recording.warnings
    assert "not recorded: 3 unpaired_depth" in recording.warnings
    assert recording.depth_unit_m == seeded_frame(0).depth_scale_m
    assert not recording.recovered
    recording.close()


class StalledFile(io.FileIO):
    """A file on a disk that stops taking anything after its first bytes, until told to go on."""

    def __init__(self, path: Path, go_on: threading.Event, free_bytes: int) -> None:
        super().__init__(path, "xb")
        self._go_on = go_on
        self._free_bytes = free_bytes

    def write(self, data: object) -> int:
        if self.tell() > self._free_bytes:
            assert self._go_on.wait(60)
        return super().write(data)  # type: ignore[arg-type]


def test_a_stalled_disk_costs_frames_that_are_counted_and_never_the_capture(tmp_path: Path) -> None:
    go_on = threading.Event()
    recorder = Recorder(
        RecorderSettings(tmp_path / "a.mcap", queue_frames=8), lambda path: StalledFile(path, go_on, 10_000)
    )
    recorder.begin(INFO)
    taken = [recorder.push(seeded_frame(number)) for number in range(400)]
    # with the disk standing still nothing of the 400 pushes waited for it
    assert not all(taken)
    assert recorder.drops[QUEUE_FULL] == taken.count(False)
    go_on.set()
    totals = recorder.finish()
    assert totals.frames == taken.count(True)
    assert totals.drops == {QUEUE_FULL: taken.count(False)}
    with open_source(CaptureConfig(camera=str(tmp_path / "a.mcap"))) as source:
        numbers = [frame.sequence for frame in source.frames()]
        assert numbers == [number for number, ok in enumerate(taken) if ok]
        assert source.info.details["recorder_lost_recorder_queue"] == taken.count(False)


def test_capture_at_30_fps_loses_nothing_to_the_recorder(tmp_path: Path) -> None:
    camera = Intrinsics(640, 480, 600.0, 600.0, 320.0, 240.0)
    calibration = Calibration(color=camera, depth=camera, depth_aligned=True)
    recorder = Recorder(RecorderSettings(tmp_path / "a.mcap"))
    recorder.begin(replace(INFO, calibration=calibration))
    pause = threading.Event()
    for number in range(60):
        assert recorder.push(seeded_frame(number % 4, calibration))
        pause.wait(1 / 30)
    assert recorder.finish().frames == 60


class FullDisk(io.FileIO):
    """A file on a disk that has room for so many bytes."""

    def __init__(self, path: Path, room: int) -> None:
        super().__init__(path, "xb")
        self._room = room

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        fits = min(len(view), self._room - self.tell())
        if not fits:
            raise OSError(28, "No space left on device")
        return super().write(view[:fits])


@pytest.mark.parametrize("room", [40_000, 150_000, 150_777, 333_333])
def test_a_full_disk_ends_the_recording_with_a_valid_file_and_a_clear_error(tmp_path: Path, room: int) -> None:
    path = tmp_path / "a.mcap"
    settings = RecorderSettings(path, lossless=True, clips=ClipSettings(before_s=60, after_s=60))
    recorder = Recorder(settings, lambda path: FullDisk(path, room))
    recorder.begin(INFO)
    recorder.keep(0, 2**62)  # clips are written frame by frame
    endless = (seeded_frame(number) for number in range(10_000))
    with pytest.raises(RecordingError, match="No space left on device") as refused:
        deque(map(recorder.push, endless), maxlen=0)
    assert str(path) in str(refused.value)
    with pytest.raises(RecordingError, match="No space left on device"):
        recorder.finish()
    assert path.stat().st_size <= room
    with open_source(CaptureConfig(camera=str(path))) as source:
        frames = list(source.frames())
        details = source.info.details
        assert any("broke off" in warning for warning in source.info.warnings)
        assert not any("cut off" in warning for warning in source.info.warnings)
    assert frames
    assert len(frames) == recorder.frames
    assert details["recorder_lost_write_error"] == recorder.drops["write_error"]
    for number, frame in enumerate(frames):
        assert_equal(seeded_frame(number), frame)


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_text("dear diary")
    with pytest.raises(RecordingError, match="exists already"):
        Recorder(RecorderSettings(path))
    assert path.read_text() == "dear diary"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="nowhere"):
        Recorder(RecorderSettings(tmp_path / "nowhere" / "a.mcap"))


def test_a_finished_recording_takes_no_more_frames(tmp_path: Path) -> None:
    recorder = record(tmp_path / "a.mcap", [seeded_frame(0)])
    with pytest.raises(RecordingError, match="was finished"):
        recorder.push(seeded_frame(1))


def test_a_recorder_without_a_frame_leaves_a_valid_file(tmp_path: Path) -> None:
    recorder = Recorder(RecorderSettings(tmp_path / "a.mcap"))
    recorder.begin(INFO, SessionClock.start())
    assert recorder.finish().frames == 0


def test_an_image_that_cannot_be_encoded_ends_the_recording_in_words(tmp_path: Path) -> None:
    recorder = Recorder(RecorderSettings(tmp_path / "a.mcap", color="jpeg"))
    recorder.begin(INFO)
    recorder.push(seeded_frame(0))
    recorder.push(replace(seeded_frame(1), color=np.zeros((0, 0, 3), np.uint8)))
    with pytest.raises(RecordingError, match=r"a\.mcap"):
        recorder.finish()


def clip(tmp_path: Path, *events: tuple[int, int, int], too_late: int = 0, **settings: float) -> list[int]:
    """Numbers stored of 900 frames, where (at, first, last) tells at frame `at` of an event; all others are counted."""
    path = tmp_path / "clips.mcap"
    clips = ClipSettings(**settings)  # type: ignore[arg-type]
    recorder = Recorder(RecorderSettings(path, lossless=True, queue_frames=1, clips=clips))
    recorder.begin(INFO)
    for number in range(900):
        frame = replace(seeded_frame(number), segment=0)
        recorder.push(frame)
        for at, first, last in events:
            if at == number:
                recorder.keep(seeded_frame(first).t_capture_ns, seeded_frame(last).t_capture_ns)
    totals = recorder.finish()
    numbers = [frame.sequence for frame in played(path)]
    assert totals.drops.get(CLIP_MEMORY, 0) == too_late
    assert totals.drops.get(OUTSIDE_CLIPS, 0) == 900 - len(numbers) - too_late
    return numbers


def test_clips_hold_events_and_the_seconds_around_them(tmp_path: Path) -> None:
    second = int(FPS)
    numbers = clip(tmp_path, (200, 120, 150), (500, 400, 430), before_s=0.5, after_s=0.25)
    before, after = second // 2, second // 4
    assert numbers == [*range(120 - before, 150 + after + 1), *range(400 - before, 430 + after + 1)]


def test_clips_that_overlap_store_a_frame_once_and_in_order(tmp_path: Path) -> None:
    # the macro movement around the micro one is decided later and began earlier
    assert clip(tmp_path, (200, 150, 160), (260, 100, 220), before_s=0, after_s=0) == list(range(100, 221))


def test_no_event_stores_no_frame(tmp_path: Path) -> None:
    recorder = Recorder(RecorderSettings(tmp_path / "a.mcap", lossless=True, clips=ClipSettings()))
    recorder.begin(INFO)
    for number in range(20):
        recorder.push(seeded_frame(number))
    totals = recorder.finish()
    assert totals.frames == 0
    assert totals.drops == {OUTSIDE_CLIPS: 20}
    assert totals.size_bytes < 10_000


def test_the_longest_event_that_is_decided_late_keeps_the_seconds_before_it(tmp_path: Path) -> None:
    second = int(FPS)
    # it lasts eight seconds and is decided three seconds later
    numbers = clip(tmp_path, (13 * second, 2 * second, 10 * second), before_s=1, after_s=1)
    assert numbers == list(range(second, 11 * second + 1))


def test_frames_of_an_event_that_memory_could_not_hold_are_counted_and_told_once(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    clips = ClipSettings(before_s=60, after_s=0, memory_bytes=200_000)
    recorder = Recorder(RecorderSettings(path, lossless=True, queue_frames=1, clips=clips))
    recorder.begin(INFO)
    told: list[str] = []
    for number in range(300):
        recorder.push(replace(seeded_frame(number), segment=0))
        if number in (150, 250):
            t_ns = seeded_frame(number).t_capture_ns
            keep_clip(recorder, (t_ns, t_ns), lambda _, text: told.append(text))
    drops = dict(recorder.finish().drops)
    with open_source(CaptureConfig(camera=str(path))) as source:
        stored = [frame.sequence for frame in source.frames()]
        assert f"not recorded: {drops[CLIP_MEMORY]} clip_memory" in source.info.warnings
    assert {150, 250} <= set(stored)
    assert 0 < len(stored) < 100
    # those after the last event lie around none, and no frame that an event asked for is among them
    assert drops == {CLIP_MEMORY: 251 - len(stored), OUTSIDE_CLIPS: 49}
    assert len(told) == 1
    assert "raise capture.record_memory_mb or lower capture.record_before_s" in told[0]


def test_a_file_that_is_whole_to_the_last_block_needs_no_end(tmp_path: Path) -> None:
    from mcap.records import Header

    GrowingFile(tmp_path / "a.mcap", Header("sfam", "test"), [], []).close()
    assert (tmp_path / "a.mcap").read_bytes().startswith(b"\x89MCAP0\r\n")


def test_while_no_frame_comes_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfam.capture.recorder.CLOCK_EVERY_S", 0.0)
    recorder = Recorder(RecorderSettings(tmp_path / "a.mcap"))
    recorder.begin(INFO, SessionClock.start())
    for number in range(3):
        recorder.push(seeded_frame(number))
    deadline_s = time.monotonic() + 30
    while recorder.frames < 3 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    size = recorder.size_bytes
    time.sleep(0.5)
    assert (recorder.frames, recorder.size_bytes) == (3, size)
    recorder.finish()


def test_hours_of_chunks_are_remembered_in_little_memory() -> None:
    chunk = pack_chunk([PackedMessage(channel, 5, 0, (b"data",)) for channel in range(1, 6)], "")
    summary = Summary()
    tracemalloc.start()
    for number in range(7200):
        summary.add(chunk, number * 1000)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 400 * 7200
    assert (summary.chunk_count, summary.counts) == (7200, dict.fromkeys(range(1, 6), 7200))
    summary.pop()
    assert (summary.chunk_count, summary.counts) == (7199, dict.fromkeys(range(1, 6), 7199))


def test_stamps_that_run_back_are_recorded_as_they_came(tmp_path: Path) -> None:
    early = replace(seeded_frame(1), t_utc_ns=0, t_capture_ns=5, t_device_ns=5, clock_domain=ClockDomain.FILE)
    frames = [seeded_frame(0), early, seeded_frame(2)]
    record(tmp_path / "a.mcap", frames)
    for frame, other in zip(frames, played(tmp_path / "a.mcap"), strict=True):
        assert_equal(frame, other)
    assert frames[0].calibration == CALIBRATION
