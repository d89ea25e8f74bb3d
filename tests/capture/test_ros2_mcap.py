"""Recordings of realsense-ros, in mcap and in SQLite: names, encodings, compressed forms, geometry, damage."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mcap.writer import CompressionType

from sfam.capture.config import CaptureConfig
from sfam.capture.inspection import inspect
from sfam.capture.recording import Recording, open_recording
from sfam.capture.recording_source import RecordingSource
from sfam.capture.source import SourceError
from tests.capture.cdr_writer import Cdr, Message, camera_info, compressed, image, tree, write_db3, write_mcap
from tests.shared_data import shared

SIZE = (8, 6)
IMAGE = "sensor_msgs/msg/Image"
INFO = "sensor_msgs/msg/CameraInfo"
PACKED = "sensor_msgs/msg/CompressedImage"
RGB = np.arange(144, dtype=np.uint8).reshape(6, 8, 3)
DEPTH = np.arange(500, 548, dtype=np.uint16).reshape(6, 8)


def extrinsics() -> bytes:
    return Cdr().add("d", 1, 0, 0, 0, 1, 0, 0, 0, 1).add("d", 0.015, 0, 0).done()


def session(
    space: str = "/camera/camera",
    count: int = 3,
    *,
    depth: tuple[str, str, Any] = ("depth/image_rect_raw", IMAGE, None),
    color: tuple[str, str, Any] = ("color/image_raw", IMAGE, None),
    geometry: tuple[Message, ...] | None = None,
) -> list[Message]:
    """A node's topics; an image is given as a function of its stamp, or raw when None."""
    stream = depth[0].partition("/")[0]
    found = [(f"{space}/extrinsics/depth_to_color", "x", 0, extrinsics())] if geometry is None else list(geometry)
    for k in range(count):
        stamp = 10**9 + k * 33_000_000
        raw_depth = image(stamp, "depth_frame", SIZE, "16UC1", DEPTH.tobytes())
        raw_color = image(stamp, "color_frame", SIZE, "rgb8", RGB.tobytes())
        found += [
            (f"{space}/{depth[0]}", depth[1], stamp, depth[2](stamp) if depth[2] else raw_depth),
            (f"{space}/{stream}/camera_info", INFO, stamp, camera_info(SIZE, "depth_frame")),
            (f"{space}/{color[0]}", color[1], stamp, color[2](stamp) if color[2] else raw_color),
            (f"{space}/color/camera_info", INFO, stamp, camera_info(SIZE, "color_frame")),
        ]
    return found


def opened(path: Path, **settings: Any) -> Recording:
    return open_recording(path, CaptureConfig(camera=str(path), **settings))


@pytest.mark.parametrize("space", ["", "/camera", "/camera/camera", "/lab/left/d455"])
@pytest.mark.parametrize("write", [write_mcap, write_db3])
def test_any_namespace_is_found_in_either_container(tmp_path: Path, space: str, write: Any) -> None:
    recording = opened(write(tmp_path / "a.bin", session(space)))
    assert [(one.role, one.t_device_ns) for one in recording.frames()] == [
        (role, 10**9 + k * 33_000_000) for k in range(3) for role in ("depth", "color")
    ]
    assert recording.calibration.depth_to_color.translation_m == (0.015, 0, 0)
    assert {one.name: one.frames for one in recording.streams} == {"depth": 3, "color": 3}
    assert recording.warnings == []


@pytest.mark.parametrize("compression", [CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD])
def test_every_chunk_compression_is_read(tmp_path: Path, compression: CompressionType) -> None:
    recording = opened(write_mcap(tmp_path / "a.mcap", session(), compression))
    for frame in recording.frames():
        assert np.array_equal(frame.image, DEPTH if frame.role == "depth" else RGB)


def test_float_metres_become_tenths_of_millimetres(tmp_path: Path) -> None:
    metres = np.linspace(0.3, 0.9, 48, dtype=np.float32).reshape(6, 8)
    metres[0, :3] = (np.nan, -1, 7.0)

    def of(stamp: int) -> bytes:
        return image(stamp, "d", SIZE, "32FC1", metres.tobytes())

    path = write_mcap(tmp_path / "a.mcap", session(depth=("depth/image_rect_raw", IMAGE, of)))
    with RecordingSource(CaptureConfig(camera=str(path))) as source:
        frame = next(iter(source.frames()))
    assert frame.depth_scale_m == 0.0001
    assert (frame.depth[0, :3] == 0).all()
    assert np.abs(frame.depth[1:] * frame.depth_scale_m - metres[1:]).max() <= 0.00006


def test_compressed_forms_are_read(tmp_path: Path) -> None:
    png = cv2.imencode(".png", DEPTH)[1].tobytes()
    jpeg = cv2.imencode(".jpg", np.full((6, 8, 3), 90, np.uint8))[1].tobytes()
    path = write_mcap(
        tmp_path / "a.mcap",
        session(
            depth=(
                "depth/image_rect_raw/compressedDepth",
                PACKED,
                lambda stamp: compressed(stamp, "d", "16UC1; compressedDepth png", bytes(12) + png),
            ),
            color=(
                "color/image_raw/compressed",
                PACKED,
                lambda stamp: compressed(stamp, "c", "rgb8; jpeg compressed bgr8", jpeg),
            ),
        ),
    )
    frames = list(opened(path).frames())
    assert np.array_equal(frames[0].image, DEPTH)
    assert np.abs(frames[1].image.astype(int) - 90).max() <= 2
    assert frames[1].encoded == jpeg


def test_quantised_float_depth_is_undone(tmp_path: Path) -> None:
    a, b = 100.0, 0.5
    metres = np.linspace(0.3, 0.9, 48).reshape(6, 8)
    stored = np.rint(a / metres + b).astype(np.uint16)
    data = struct.pack("<iff", 0, a, b) + cv2.imencode(".png", stored)[1].tobytes()
    topic = ("depth/image_rect_raw/compressedDepth", PACKED)
    path = write_mcap(
        tmp_path / "a.mcap",
        session(depth=(*topic, lambda stamp: compressed(stamp, "d", "32FC1; compressedDepth", data))),
    )
    frame = next(opened(path).frames())
    assert np.abs(frame.image * 0.0001 - metres).max() < 0.005


def test_raw_images_are_preferred_to_compressed_copies(tmp_path: Path) -> None:
    extra = session(color=("color/image_raw/compressed", PACKED, lambda stamp: compressed(stamp, "c", "jpeg", b"junk")))
    recording = opened(write_mcap(tmp_path / "a.mcap", session() + extra))
    assert recording.color is not None
    assert recording.color.source.endswith("/color/image_raw")


def test_aligned_depth_is_taken_and_raw_depth_on_demand() -> None:
    path = shared("recordings/ros2_realsense.mcap")
    recording = opened(path)
    assert recording.depth is not None
    assert recording.depth.name == "aligned_depth_to_color"
    assert recording.calibration.depth_aligned
    raw = opened(path, depth_stream="depth")
    assert not raw.calibration.depth_aligned
    assert raw.calibration.depth_to_color.translation_m == pytest.approx((0.015, 0.0002, -0.0003), abs=1e-6)
    assert [one.image.shape for one in raw.frames() if one.role == "depth"] == [(480, 848)] * 10


def test_extrinsics_come_from_the_tree_where_they_have_no_topic(tmp_path: Path) -> None:
    edges = tree(
        ("base", "link", (5, 5, 5)),
        ("link", "depth_frame", (0.1, 0, 0)),
        ("link", "color_link", (0.05, 0, 0)),
        ("color_link", "color_frame", (0.02, 0, 0)),
    )
    path = write_mcap(tmp_path / "a.mcap", session(geometry=(("/tf_static", "tf2_msgs/msg/TFMessage", 0, edges),)))
    assert opened(path).calibration.depth_to_color.translation_m == pytest.approx((0.03, 0, 0))


def test_without_any_extrinsics_it_is_said(tmp_path: Path) -> None:
    recording = opened(write_mcap(tmp_path / "a.mcap", session(geometry=())))
    assert recording.calibration.depth_to_color.translation_m == (0, 0, 0)
    assert any("no extrinsics" in warning for warning in recording.warnings)


def test_two_cameras_are_told_apart_by_their_namespace(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", session("/left") + session("/right"))
    recording = opened(path)
    assert [one.name for one in recording.streams] == ["left/depth", "left/color", "right/depth", "right/color"]
    assert any("2 color streams" in warning for warning in recording.warnings)
    right = opened(path, color_stream="right/color", depth_stream="right/depth")
    assert {one.stream for one in right.frames()} == {"right/color", "right/depth"}


def test_a_recording_without_depth_is_refused(tmp_path: Path) -> None:
    only = [one for one in session() if "depth" not in one[0]]
    with pytest.raises(SourceError, match="no depth stream"):
        RecordingSource(CaptureConfig(camera=str(write_mcap(tmp_path / "a.mcap", only))))


@pytest.mark.parametrize("part", [0.2, 0.4, 0.6, 0.8, 0.95])
def test_a_cut_file_gives_the_frames_before_the_cut(tmp_path: Path, part: float) -> None:
    whole = shared("recordings/ros2_realsense.mcap").read_bytes()
    path = tmp_path / "cut.mcap"
    path.write_bytes(whole[: int(part * len(whole))])
    report = inspect(path, deep=True)
    assert report.recovered
    assert report.error is None
    assert 10 * part - 2 <= report.pairs <= 10 * part + 1
    assert any("truncated" in warning for warning in report.warnings)
    assert inspect(path).pairs == report.pairs


def test_a_file_cut_in_its_head_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.mcap"
    path.write_bytes(shared("recordings/ros2_realsense.mcap").read_bytes()[:60])
    with pytest.raises(SourceError, match="nothing readable"):
        open_recording(path)


def test_one_damaged_chunk_costs_only_its_own_images(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", session(count=40), CompressionType.NONE)
    content = bytearray(path.read_bytes())
    at = content.index(DEPTH.tobytes(), len(content) // 2)
    content[at] ^= 1
    path.write_bytes(content)
    recording = opened(path)
    given = len(list(recording.frames()))
    assert 60 <= given < 80
    assert recording.recovered
    assert any("the chunk at byte" in warning and f"{given} frames" in warning for warning in recording.warnings)


@pytest.mark.parametrize("compression", [CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD])
def test_stamps_read_from_the_heads_are_those_of_the_frames(tmp_path: Path, compression: CompressionType) -> None:
    path = write_mcap(tmp_path / "a.mcap", session(count=40), compression)
    recording = opened(path)
    stamps = [(one.role, one.t_device_ns) for one in recording.stamps()]
    assert stamps == [(one.role, one.t_device_ns) for one in recording.frames()]
    assert len(stamps) == 80


def test_a_file_without_index_is_read_whole_and_says_so(tmp_path: Path) -> None:
    from mcap.writer import IndexType, Writer

    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        writer = Writer(file, index_types=IndexType.NONE)
        writer.start("ros2", "test")
        channels: dict[str, int] = {}
        for topic, datatype, time_ns, data in session(count=5):
            if topic not in channels:
                channels[topic] = writer.register_channel(
                    topic, "cdr", writer.register_schema(datatype, "ros2msg", b"")
                )
            writer.add_message(channels[topic], time_ns, data, time_ns)
        writer.finish()  # type: ignore[no-untyped-call]
    report = inspect(path)
    assert (report.pairs, report.error) == (5, None)
    assert any("no index" in warning for warning in report.warnings)


def test_only_one_chunk_is_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mcap.stream_reader

    opened_chunks: list[int] = []
    breakup = mcap.stream_reader.breakup_chunk

    def counted(chunk: Any, validate_crc: bool = False) -> Any:
        opened_chunks.append(len(chunk.data))
        return breakup(chunk, validate_crc)

    recording = opened(write_mcap(tmp_path / "a.mcap", session(count=40)))
    monkeypatch.setattr(mcap.stream_reader, "breakup_chunk", counted)
    frames = recording.frames()
    next(frames)
    assert len(opened_chunks) == 1
    assert len(list(frames)) == 79
    assert len(opened_chunks) > 5
