"""RealSense bags: encodings, depth units, several streams, what is missing, what is broken."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sfam.capture.bag import BagRecording
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import ClockDomain
from sfam.capture.recording import open_recording
from sfam.capture.recording_source import RecordingSource
from sfam.capture.source import SourceError
from tests.capture.bag_writer import COLOR, BagWriter, camera_info, image, text
from tests.shared_data import shared


def recorded(path: Path, **settings: Any) -> BagRecording:
    recording = open_recording(path, CaptureConfig(camera=str(path), **settings))
    assert isinstance(recording, BagRecording)
    return recording


def picture(encoding: str, rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, Any]:
    """The same image in another encoding."""
    codes = {"bgr8": cv2.COLOR_RGB2BGR, "rgba8": cv2.COLOR_RGB2RGBA, "bgra8": cv2.COLOR_RGB2BGRA}
    if encoding in codes:
        return np.asarray(cv2.cvtColor(rgb, codes[encoding]))
    if encoding in ("YUYV", "yuv422"):
        code = cv2.COLOR_RGB2YUV_YUYV if encoding == "YUYV" else cv2.COLOR_RGB2YUV_UYVY
        return np.asarray(cv2.cvtColor(rgb, code))
    return rgb if encoding == "rgb8" else rgb[..., :1]


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "8UC1", "mono8", "YUYV", "yuv422"])
def test_every_color_encoding_becomes_rgb(tmp_path: Path, encoding: str) -> None:
    rgb = np.empty((6, 8, 3), np.uint8)
    rgb[:] = (200, 90, 40) if encoding not in ("8UC1", "mono8") else (77, 77, 77)
    writer = BagWriter("lz4")
    writer.head(color=encoding)
    writer.pair(1, 1_000_000_000, picture(encoding, rgb), encoding)
    frames = [one for one in recorded(writer.save(tmp_path / "a.bag")).frames() if one.role == "color"]
    assert frames[0].image.shape == (6, 8, 3)
    assert np.abs(frames[0].image.astype(int) - rgb).max() <= (4 if encoding in ("YUYV", "yuv422") else 0)


def test_an_unknown_encoding_is_counted_not_guessed(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head(color="W10")
    writer.pair(1, 1_000_000_000, np.zeros((6, 8, 1), np.uint8), "W10")
    recording = recorded(writer.save(tmp_path / "a.bag"))
    assert [one.role for one in recording.frames()] == ["depth"]
    assert recording.unreadable == {"color": 1}


def test_rows_with_padding_are_cut_to_the_image(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head()
    padded = np.zeros((6, 40), np.uint8)
    padded[:, :24] = np.arange(24)
    writer.add(f"{COLOR}/image/data", "sensor_msgs/Image", image(1, 10**9, padded.tobytes(), 8, 6, "rgb8", 40))
    (frame,) = recorded(writer.save(tmp_path / "a.bag")).frames()
    assert np.array_equal(frame.image.reshape(6, 24), padded[:, :24])


def test_the_depth_unit_of_the_frame_beats_the_option(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head()
    for k, unit in enumerate((None, 0.001, 0.00025)):
        writer.pair(k, k * 33_000_000, unit_m=unit)
    path = writer.save(tmp_path / "a.bag")
    with RecordingSource(CaptureConfig(camera=str(path))) as source:
        assert [one.depth_scale_m for one in source.frames()] == [0.0001, 0.001, 0.00025]


def test_a_missing_depth_unit_is_the_cameras_default_and_said(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head(unit=False)
    writer.pair(1, 10**9)
    path = writer.save(tmp_path / "a.bag")
    assert recorded(path).depth_unit_m == 0.001
    assert any("depth unit" in warning for warning in recorded(path).warnings)
    told = recorded(path, depth_unit_m=0.0005)
    assert (told.depth_unit_m, told.warnings) == (0.0005, [])


def test_the_old_spelling_of_the_unit_option_is_read() -> None:
    recording = recorded(shared("recordings/realsense_d435_real.bag"))
    assert recording.depth_unit_m == 0.001
    assert recording.warnings == []


def test_the_real_camera_bag_gives_the_sdks_extrinsics_and_metadata() -> None:
    recording = recorded(shared("recordings/realsense_d435_real.bag"))
    rotation = recording.calibration.depth_to_color.matrix()
    sdk_columns = [0.999863, 0.010309, -0.012927, -0.010310]
    assert rotation.T.ravel()[:4] == pytest.approx(sdk_columns, abs=1e-6)
    assert recording.details()["serial_number"] == "728612070259"
    depth = next(frame for frame in recording.frames() if frame.role == "depth")
    assert (depth.number, depth.t_device_ns, depth.t_sensor_ns) == (169, 360_815_089_000, 360_811_863_000)
    assert depth.clock_domain is ClockDomain.HARDWARE
    assert depth.t_arrival_ms == 1534232519732


def test_of_two_color_streams_the_first_is_taken_and_the_choice_said(tmp_path: Path) -> None:
    second = "/device_0/sensor_2/Color_1"
    writer = BagWriter()
    writer.head()
    writer.add(f"{second}/info", "realsense_msgs/StreamInfo", struct.pack("<I", 30) + text("rgb8") + b"\0")
    writer.add(f"{second}/info/camera_info", "sensor_msgs/CameraInfo", camera_info(8, 6))
    writer.add(f"{second}/tf/0", "geometry_msgs/Transform", struct.pack("<7d", 0.5, 0, 0, 0, 0, 0, 1))
    writer.pair(1, 10**9)
    writer.pair(2, 2 * 10**9, base=second)
    path = writer.save(tmp_path / "two.bag")
    assert recorded(path).color is not None
    assert any("2 color streams (color, color_1); using color" in warning for warning in recorded(path).warnings)
    for name in ("color_1", second):
        chosen = recorded(path, color_stream=name)
        assert [one.stream for one in chosen.frames()] == ["depth", "depth", "color_1"]
        assert chosen.calibration.depth_to_color.translation_m == (0.5, 0.0, 0.0)
    with pytest.raises(SourceError, match=r"no stream named front; it has depth, color, color_1"):
        recorded(path, color_stream="front")


def test_without_extrinsics_depth_and_color_count_as_one_camera_and_it_is_said(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head(poses=False)
    writer.pair(1, 10**9)
    recording = recorded(writer.save(tmp_path / "a.bag", indexed=False))
    assert recording.calibration.depth_to_color.translation_m == (0.0, 0.0, 0.0)
    assert any("no extrinsics" in warning for warning in recording.warnings)


def test_an_unknown_lens_is_refused_when_the_geometry_is_needed(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head()
    writer.add(f"{COLOR}/info/camera_info", "sensor_msgs/CameraInfo", camera_info(8, 6, "Fisheye 360"))
    writer.pair(1, 10**9)
    with pytest.raises(SourceError, match="camera_info"):
        RecordingSource(CaptureConfig(camera=str(writer.save(tmp_path / "a.bag"))))


def test_a_bag_without_images_is_refused(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.add("/file_version", "std_msgs/UInt32", struct.pack("<I", 4))
    with pytest.raises(SourceError, match="nothing readable"):
        RecordingSource(CaptureConfig(camera=str(writer.save(tmp_path / "a.bag"))))


def test_a_broken_message_in_the_head_is_left_out_and_said(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head()
    writer.add("/device_0/sensor_0/option/Gain/value", "std_msgs/Float32", b"")
    writer.add(f"{COLOR}/image/data", "sensor_msgs/Image", b"short")
    writer.pair(1, 10**9)
    recording = recorded(writer.save(tmp_path / "a.bag"))
    assert any("Gain" in warning for warning in recording.warnings)
    assert len(list(recording.frames())) == 2
    assert recording.unreadable == {"color": 1}


def test_stamps_without_images_are_those_of_the_frames() -> None:
    for name in ("face_a.bag", "small_2.56.5_uncompressed.bag", "damaged_unindexed.bag", "realsense_d435_real.bag"):
        recording = recorded(shared(f"recordings/{name}"))
        peeked = [(one.stream, one.number, one.t_device_ns, one.clock_domain) for one in recording.stamps()]
        assert peeked == [(one.stream, one.number, one.t_device_ns, one.clock_domain) for one in recording.frames()]


def test_stamps_of_an_unindexed_bag_decode_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared("recordings/damaged_unindexed.bag")
    frames = [(one.stream, one.number, one.t_device_ns) for one in recorded(path).frames()]
    decoded: list[object] = []
    monkeypatch.setattr("sfam.capture.bag.color_image", lambda *one: decoded.append(one))
    monkeypatch.setattr("sfam.capture.bag.depth_image", lambda *one, big: decoded.append(one))
    recording = recorded(path)
    assert [(one.stream, one.number, one.t_device_ns) for one in recording.stamps()] == frames
    assert decoded == []
    assert any("all of the file is read" in warning for warning in recording.warnings)


def test_depth_at_an_odd_byte_of_the_file_is_copied_only_into_frames() -> None:
    path = shared("recordings/small_2.56.5_uncompressed.bag")
    stored = [one.image for one in recorded(path).frames() if one.role == "depth"]
    assert not all(one.flags.aligned for one in stored)
    assert not any(one.flags.owndata for one in stored)
    with RecordingSource(CaptureConfig(camera=str(path))) as source:
        frames = list(source.frames())
    assert len(frames) == len(stored)
    for frame, one in zip(frames, stored, strict=True):
        assert frame.depth.flags.aligned
        assert not frame.depth.flags.writeable
        assert np.array_equal(frame.depth, one)


def test_an_image_of_another_form_than_the_one_before_is_read_as_it_says(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head()
    for k, (width, encoding) in enumerate([(8, "rgb8"), (8, "rgb8"), (8, "bgr8"), (4, "bgr8"), (8, "rgb8")]):
        pixels = np.full((6, width, 3), (10 * k, 100, 200), np.uint8)
        data = image(k, k * 33_000_000, pixels.tobytes(), width, 6, encoding, 3 * width)
        writer.add(f"{COLOR}/image/data", "sensor_msgs/Image", data, time_ns=k)
    frames = list(recorded(writer.save(tmp_path / "a.bag")).frames())
    assert [one.image.shape for one in frames] == [(6, width, 3) for width in (8, 8, 8, 4, 8)]
    assert [tuple(one.image[0, 0].tolist()) for one in frames] == [
        (0, 100, 200),
        (10, 100, 200),
        (200, 100, 20),
        (200, 100, 30),
        (40, 100, 200),
    ]
    assert [one.number for one in frames] == list(range(5))


def test_cut_metadata_is_left_out_and_said(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head()
    for k in range(4):
        writer.pair(k, k * 33_000_000)
    path = writer.save(tmp_path / "a.bag")
    content = path.read_bytes()
    key = struct.pack("<I", 16) + b"Sensor Timestamp"
    at = content.rindex(key)
    path.write_bytes(content[:at] + struct.pack("<I", 1 << 30) + content[at + 4 :])
    with RecordingSource(CaptureConfig(camera=str(path))) as source:
        assert len(list(source.frames())) == 4
        assert any("metadata of" in warning for warning in source.info.warnings)
