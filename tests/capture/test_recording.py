"""Recordings as cameras: every file of the reference set gives exactly what its manifest lists."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfam.capture import rosbag1
from sfam.capture.config import CaptureConfig
from sfam.capture.file_time import FileTime
from sfam.capture.frame import ClockDomain, RGBDFrame
from sfam.capture.lz4_frames import unpack_lz4
from sfam.capture.recording import open_recording
from sfam.capture.recording_source import RecordingSource, camera_name
from sfam.capture.source import SourceError, open_source
from tests.capture.bag_writer import BagWriter
from tests.shared_data import SHARED, shared

SET = SHARED / "recordings"
ENTRIES: dict[str, Any] = json.loads((SET / "manifest.json").read_text())["files"] if SET.exists() else {}
READ = {name: entry for name, entry in ENTRIES.items() if entry["expect"]["result"] != "error"}
REFUSED = {name: entry for name, entry in ENTRIES.items() if entry["expect"]["result"] == "error"}


def pairs_of(path: Path, **settings: Any) -> tuple[list[RGBDFrame], RecordingSource]:
    source = RecordingSource(CaptureConfig(camera=str(path), **settings))
    with source:
        return list(source.frames()), source


def truth_of(name: str) -> dict[str, Any]:
    path = SET / f"{name.removesuffix(Path(name).suffix) if (SET / name).is_file() else name}.truth.json"
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_the_reference_set_is_there() -> None:
    shared("recordings/manifest.json")
    assert len(READ) >= 15


@pytest.mark.parametrize("name", READ)
def test_frames_are_byte_for_byte_those_that_were_fed(name: str) -> None:
    entry = READ[name]
    expected = {**entry["fed"]}
    for stream, digest in entry["expect"].get("sha256_of_these_frames", {}).items():
        expected[stream] = {"frames": entry["expect"]["frames"][stream], "sha256": digest}
    with_names: dict[str, Any] = {}
    counts: dict[str, int] = {}
    recording = open_recording(SET / name)
    for frame in recording.frames():
        key = f"{frame.stream}_jpeg" if frame.encoded is not None else frame.stream
        content = with_names.setdefault(key, hashlib.sha256())
        content.update(np.ascontiguousarray(frame.image).data if frame.encoded is None else frame.encoded)
        counts[key] = counts.get(key, 0) + 1
    recording.close()
    assert len(counts) == 2
    for key, count in counts.items():
        assert count == expected[key]["frames"]
        assert with_names[key].hexdigest() == expected[key]["sha256"], key


@pytest.mark.parametrize("name", READ)
def test_pairs_stamps_and_numbers_are_those_of_the_manifest(name: str) -> None:
    expect = READ[name]["expect"]
    frames, source = pairs_of(SET / name)
    assert len(frames) == expect.get("pairs", 0)
    assert [frame.sequence for frame in frames] == list(range(len(frames)))
    assert sum(frame.dropped_before for frame in frames) == expect.get("dropped_frames", 0)
    assert source.drops.get("duplicate", 0) == len(expect.get("duplicates", []))
    if "warning" in expect:
        assert any(expect["warning"] in warning for warning in source.info.warnings)
    else:
        assert source.info.warnings == ()
    if frames and "realsense_d435" not in name:
        skipped = set(expect.get("duplicates", []))
        truth = [one for one in truth_of(name)["frames"] if one["index"] not in skipped][: len(frames)]
        # an Azure Kinect counts from its own start: its stamps are compared from the first depth frame on
        own = name.endswith(".mkv")
        begun, fed = (frames[0].t_depth_device_ns, truth[0]["t_depth_ms"] * 1e6) if own else (0, 0)
        for frame, one in zip(frames, truth, strict=True):
            assert frame.t_device_ns - begun == pytest.approx(one["t_color_ms"] * 1e6 - fed, abs=1500)
            assert frame.t_depth_device_ns - begun == pytest.approx(one["t_depth_ms"] * 1e6 - fed, abs=1500)


@pytest.mark.parametrize("name", [name for name in READ if "realsense_d435" not in name])
def test_calibration_is_the_one_the_truth_was_made_with(name: str) -> None:
    truth = truth_of(name)
    calibration = open_recording(SET / name).calibration
    sides = [("color", calibration.color)] + ([] if calibration.depth_aligned else [("depth", calibration.depth)])
    for side, camera in sides:
        expected = truth["intrinsics"][side]
        assert (camera.width, camera.height) == (expected["width"], expected["height"])
        got = (camera.fx, camera.fy, camera.ppx, camera.ppy)
        assert got == pytest.approx([expected[key] for key in ("fx", "fy", "ppx", "ppy")], rel=1e-5)
    if not calibration.depth_aligned:
        moved = calibration.depth_to_color
        assert moved.rotation == pytest.approx(truth["extrinsics_depth_to_color"]["rotation_row_major"], abs=2e-6)
        assert moved.translation_m == pytest.approx(truth["extrinsics_depth_to_color"]["translation_m"], abs=2e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(SourceError, match=REFUSED[name]["expect"]["error"]) as caught:
        open_source(CaptureConfig(camera=str(SET / name)))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stamps_that_jump_back_begin_a_new_segment() -> None:
    frames, _ = pairs_of(shared("recordings/odd_time_backwards.bag"))
    assert [frame.segment for frame in frames] == [0] * 8 + [1] * 6


def test_a_change_of_clock_begins_a_new_segment(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head()
    for k in range(8):
        writer.pair(k, k * 33_000_000, domain="Hardware Clock" if k < 5 else "System Time")
    frames, _ = pairs_of(writer.save(tmp_path / "domain.bag"))
    assert [frame.segment for frame in frames] == [0] * 5 + [1] * 3
    assert frames[0].clock_domain is ClockDomain.HARDWARE
    assert frames[0].t_utc_ns == 0
    assert frames[5].t_utc_ns == frames[5].t_device_ns == frames[5].t_capture_ns


def test_seconds_from_and_to_cut_the_recording_in_its_own_time() -> None:
    path = shared("recordings/face_a.bag")
    whole, _ = pairs_of(path)
    cut, _ = pairs_of(path, from_s=1.0, to_s=2.0)
    start = whole[0].t_device_ns
    expected = [one.t_device_ns for one in whole if 1e9 <= one.t_device_ns - start <= 2e9]
    assert [one.t_device_ns for one in cut] == expected
    assert [one.sequence for one in cut] == list(range(len(expected)))


@pytest.mark.parametrize("name", [name for name in READ if READ[name]["expect"].get("pairs", 0) >= 6])
def test_a_later_start_gives_the_same_frames_as_reading_on(name: str) -> None:
    whole, _ = pairs_of(SET / name)
    for index in (1, len(whole) * 2 // 3, len(whole) - 1):
        times = FileTime()
        elapsed = [times.advance(frame) for frame in whole]
        cut, _ = pairs_of(SET / name, from_s=elapsed[index] / 1e9 - 1e-6)
        wanted = [frame for frame, at in zip(whole, elapsed, strict=True) if at >= elapsed[index] - 1000]
        assert [one.t_device_ns for one in cut] == [one.t_device_ns for one in wanted]
        assert [one.segment for one in cut] == [one.segment for one in wanted]
        assert np.array_equal(cut[0].depth, wanted[0].depth)
        assert np.array_equal(cut[-1].color, wanted[-1].color)


def test_a_late_start_of_a_long_recording_does_not_decode_what_is_before(monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared("recordings/face_a.bag")
    read: list[int] = []

    def counted(stored: memoryview, size: int, *, verify: bool) -> bytes:
        read.append(size)
        return unpack_lz4(stored, size, verify=verify)

    monkeypatch.setattr(rosbag1, "unpack_lz4", counted)
    frames, _ = pairs_of(path, from_s=5.5)
    assert 10 <= len(frames) <= 16
    assert len(read) < 90, "of 361 chunks only those of the end, and a few of the head"


def test_a_start_beyond_the_end_gives_nothing() -> None:
    assert pairs_of(shared("recordings/face_a.bag"), from_s=100)[0] == []


def test_a_jump_back_does_not_confuse_from_and_to() -> None:
    cut, _ = pairs_of(shared("recordings/odd_time_backwards.bag"), from_s=0.2)
    whole, _ = pairs_of(shared("recordings/odd_time_backwards.bag"))
    assert [one.color_number for one in cut] == [one.color_number for one in whole][-len(cut) :]
    assert 7 <= len(cut) <= 8  # 0.2 s lie at the seventh frame, give or take its jitter


def test_frames_stay_valid_after_the_source_is_closed() -> None:
    for name in ("small_2.56.5_uncompressed.bag", "face_a.bag"):
        source = open_source(CaptureConfig(camera=str(shared(f"recordings/{name}"))))
        frame = next(iter(source.frames()))
        before = (frame.color.copy(), frame.depth.copy())
        source.close()
        source.close()
        assert np.array_equal(frame.color, before[0])
        assert np.array_equal(frame.depth, before[1])
        assert frame.depth.flags.aligned


def test_two_runs_give_the_same_frames() -> None:
    runs = [pairs_of(shared("recordings/odd_gap_duplicates.bag"))[0] for _ in range(2)]
    keys = [[(one.t_capture_ns, one.sequence, one.segment, one.color.tobytes()) for one in run] for run in runs]
    assert keys[0] == keys[1]


def test_a_missing_file_is_said_to_be_neither_file_nor_camera(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file, and no camera of that name"):
        open_source(CaptureConfig(camera=str(tmp_path / "nothing.bag")))


def test_the_name_decides_nothing(tmp_path: Path) -> None:
    renamed = tmp_path / "odd name (1).mkv"
    renamed.write_bytes(shared("recordings/small_2.56.5_uncompressed.bag").read_bytes())
    frames, source = pairs_of(renamed)
    assert len(frames) == 10
    assert source.info.camera == "odd_name_1"


def test_topic_names_hold_no_odd_letters() -> None:
    assert camera_name(Path("/x/Frau Müller 2.57.bag")) == "Frau_M_ller_2_57"
    assert camera_name(Path("/x/日.bag")) == "recording"
