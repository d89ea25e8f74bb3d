"""Azure Kinect files: geometry by mode, clocks, lenses, damage; the bytes are the manifest test's matter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from sfam.capture.align import align_depth
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import ClockDomain, Distortion
from sfam.capture.inspection import inspect
from sfam.capture.kinect_mkv import KinectMkvRecording, color_intrinsics
from sfam.capture.recording import RecordedStream, open_recording
from sfam.capture.recording_source import RecordingSource
from sfam.capture.source import SourceError
from tests.shared_data import shared


def truth() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(shared("recordings/kinect_azure.truth.json").read_text())
    return content


def patched(tmp_path: Path, old: bytes, new: bytes) -> Path:
    """The file with some bytes replaced by as many others."""
    assert len(old) == len(new)
    content = shared("recordings/kinect_azure.mkv").read_bytes()
    assert old in content
    path = tmp_path / "patched.mkv"
    path.write_bytes(content.replace(old, new))
    return path


def test_lenses_are_rational_with_coefficients_in_opencvs_order() -> None:
    calibration = open_recording(shared("recordings/kinect_azure.mkv")).calibration
    for camera, side in ((calibration.color, "color"), (calibration.depth, "depth")):
        assert camera.distortion is Distortion.RATIONAL
        assert camera.coeffs == pytest.approx(truth()["intrinsics"][side]["coeffs"])


def test_stamps_are_device_time_with_the_files_offset() -> None:
    with RecordingSource(CaptureConfig(camera=str(shared("recordings/kinect_azure.mkv")))) as source:
        frame = next(iter(source.frames()))
    assert (frame.t_device_ns, frame.t_depth_device_ns) == (1_000_200_000, 1_000_000_000)
    assert frame.clock_domain is ClockDomain.HARDWARE
    assert frame.t_utc_ns == 0
    assert frame.t_sensor_ns == frame.t_device_ns


def test_an_offset_with_a_damaged_digit_costs_the_offset_and_no_frame(tmp_path: Path) -> None:
    whole = shared("recordings/kinect_azure.mkv")
    with RecordingSource(CaptureConfig(camera=str(patched(tmp_path, b"1000000000", b"10000x0000")))) as source:
        frames = list(source.frames())
        assert "damaged: K4A_START_OFFSET_NS is '10000x0000'" in source.info.warnings[0]
    assert len(frames) == inspect(whole).pairs
    assert (frames[0].t_device_ns, frames[0].t_depth_device_ns) == (200_000, 0)


def test_a_reader_that_refuses_a_file_lets_go_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(shared("recordings/kinect_azure.mkv").read_bytes())
    with pytest.raises(SourceError, match="no stream named thermal"):
        open_recording(path, CaptureConfig(camera=str(path), color_stream="thermal"))
    assert str(path.resolve()) not in {opened.path for opened in psutil.Process().open_files()}


def test_the_face_lands_where_it_is_in_the_color_image() -> None:
    with RecordingSource(CaptureConfig(camera=str(shared("recordings/kinect_azure.mkv")))) as source:
        frame = next(iter(source.frames()))
    aligned = align_depth(frame.depth, frame.calibration, frame.depth_scale_m)
    points = np.array(truth()["landmarks68_frame0"], np.float32)
    hull = np.zeros(aligned.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    inside, near = hull.astype(bool), (aligned > 0) & (aligned < truth()["wall_mm"] - 200)
    assert np.mean(near[inside]) > 0.9
    rows, columns = np.nonzero(near)
    face_rows, face_columns = np.nonzero(inside)
    assert columns.min() <= face_columns.min()
    assert columns.max() >= face_columns.max()
    assert rows.mean() == pytest.approx(face_rows.mean(), abs=90)


def test_wide_and_full_color_modes_are_cut_from_the_sensor() -> None:
    camera = {"Intrinsics": {"ModelParameters": [0.5, 0.5, 0.5, 0.66, *[0.0] * 10]}}
    wide = color_intrinsics(camera, 1920, 1080)
    full = color_intrinsics(camera, 2048, 1536)
    assert (wide.ppx, wide.ppy, wide.fx) == pytest.approx((959.5, 539.5, 960.0))
    assert (full.ppx, full.ppy, full.fy) == pytest.approx((1023.5, 767.5, 0.66 * 1536))
    assert wide.fy == pytest.approx(0.66 * 1440)


@pytest.mark.parametrize("encoding", ["bgra8", "nv12", "yuyv"])
def test_uncompressed_color_modes_become_rgb(encoding: str) -> None:
    rgb = np.full((4, 8, 3), (180, 90, 60), np.uint8)
    if encoding == "bgra8":
        stored: Any = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)
    elif encoding == "yuyv":
        stored = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_YUYV)
    else:
        planar = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)).reshape(-1)
        stored = np.concatenate([planar[:32], np.stack([planar[32:40], planar[40:]], axis=1).reshape(-1)])
    stream = RecordedStream("color", "COLOR", "color", encoding, 8, 4)
    got = KinectMkvRecording.pixels(stream, np.ascontiguousarray(stored).tobytes())
    assert np.abs(got.astype(int) - rgb).max() <= 4


def test_without_its_calibration_a_file_is_refused(tmp_path: Path) -> None:
    path = patched(tmp_path, b"calibration.json", b"calibration.jsox")
    with pytest.raises(SourceError, match=r"no calibration\.json attached"):
        RecordingSource(CaptureConfig(camera=str(path)))


def test_ordinary_video_is_refused(tmp_path: Path) -> None:
    content = shared("recordings/kinect_azure.mkv").read_bytes()
    path = tmp_path / "film.mkv"
    path.write_bytes(
        content.replace(b"COLOR", b"VIDEO").replace(b"DEPTH", b"OTHER").replace(b"\x53\x6e\x82IR", b"\x53\x6e\x82XX")
    )
    with pytest.raises(SourceError, match="an ordinary video, without depth; --color-only"):
        open_recording(path)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_cut_file_gives_the_frames_before_the_cut(tmp_path: Path, part: float) -> None:
    whole = shared("recordings/kinect_azure.mkv").read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole[: int(part * len(whole))])
    report = inspect(path, deep=True)
    assert report.error is None
    assert 15 * part - 2.5 <= report.pairs <= 15 * part + 1
    assert report.recovered
    assert any("truncated" in warning for warning in report.warnings)
    assert inspect(path).pairs == report.pairs


def test_a_head_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.mkv"
    path.write_bytes(shared("recordings/kinect_azure.mkv").read_bytes()[:40])
    with pytest.raises(SourceError, match="nothing readable"):
        open_recording(path)
