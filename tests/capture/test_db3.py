"""RealSense .db3 files: odd payloads, missing metadata, damage."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zstandard

from sfam.capture.config import CaptureConfig
from sfam.capture.db3 import Db3Recording
from sfam.capture.frame import ClockDomain
from sfam.capture.inspection import inspect
from sfam.capture.recording import StreamFrame, open_recording
from sfam.capture.recording_source import RecordingSource
from sfam.capture.source import SourceError
from tests.capture.cdr_writer import Message, compressed, image, string, write_db3
from tests.shared_data import shared

DEPTH = "/device_0/sensor_0/Depth_0"
COLOR = "/device_0/sensor_1/Color_0"
SIZE = (8, 6)
TEXT = "std_msgs/msg/String"


def head(color: str = "RGB8") -> list[Message]:
    """What the SDK writes before the first image."""
    camera = "width=8;height=6;fx=8;ppx=4;fy=8;ppy=3;model=Brown Conrady;coeffs=0,0,0,0,0"
    pose = "rotation=1,0,0,0,1,0,0,0,1;translation={},0,0"
    return [
        (f"{DEPTH}/info", TEXT, 0, string("encoding=Z16;fps=30")),
        (f"{DEPTH}/camera_info", TEXT, 0, string(camera)),
        (f"{DEPTH}/tf/ref_1", TEXT, 0, string(pose.format(0))),
        (f"{COLOR}/info", TEXT, 0, string(f"encoding={color};fps=30")),
        (f"{COLOR}/camera_info", TEXT, 0, string(camera)),
        (f"{COLOR}/tf/ref_1", TEXT, 0, string(pose.format(0.015))),
    ]


def shot(k: int, color: tuple[str, str, bytes] | None = None, unit: str = "0.001000") -> list[Message]:
    """One pair with metadata, `k` frames after the first."""
    when, stamp = k * 33_000_000, f"{1_000_000 + 33 * k}.000250"
    depth = np.full((6, 8), 500 + k, np.uint16)
    rgb = np.full((6, 8, 3), k, np.uint8)
    topic, datatype, data = color or (
        f"{COLOR}/image/data",
        "sensor_msgs/msg/Image",
        image(when, "Color", SIZE, "rgb8", rgb.tobytes()),
    )
    common = f"Frame number={100 + k};timestamp_domain=Hardware Clock;timestamp={stamp}"
    return [
        (f"{DEPTH}/image/data", "sensor_msgs/msg/Image", when, image(when, "Depth", SIZE, "mono16", depth.tobytes())),
        (f"{DEPTH}/image/metadata", TEXT, when, string(f"{common};depth_units={unit};Sensor Timestamp=77")),
        (topic, datatype, when + 1, data),
        (f"{COLOR}/image/metadata", TEXT, when + 1, string(common)),
    ]


def frames_of(path: Path, role: str) -> list[StreamFrame]:
    return [frame for frame in open_recording(path).frames() if frame.role == role]


def test_stamps_are_the_texts_digits_as_integers(tmp_path: Path) -> None:
    path = write_db3(tmp_path / "a.db3", head() + shot(0) + shot(1))
    depth = frames_of(path, "depth")
    assert [one.t_device_ns for one in depth] == [1_000_000_000_250, 1_000_033_000_250]
    assert [one.number for one in depth] == [100, 101]
    assert depth[0].t_sensor_ns == 77_000
    assert depth[0].clock_domain is ClockDomain.HARDWARE


def test_every_frame_brings_its_own_depth_unit(tmp_path: Path) -> None:
    path = write_db3(tmp_path / "a.db3", head() + shot(0) + shot(1, unit="0.000100"))
    with RecordingSource(CaptureConfig(camera=str(path))) as source:
        assert [frame.depth_scale_m for frame in source.frames()] == [0.001, 0.0001]


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "bgra8", "mono8"])
def test_png_images_become_rgb_whatever_was_recorded(tmp_path: Path, encoding: str) -> None:
    rgb = np.zeros((6, 8, 3), np.uint8)
    rgb[:] = (200, 90, 40) if encoding != "mono8" else (66, 66, 66)
    stored: Any = {"bgra8": cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA), "mono8": rgb[..., 0]}.get(encoding, rgb[..., ::-1])
    png = cv2.imencode(".png", np.ascontiguousarray(stored))[1].tobytes()
    message = compressed(0, "Color", f"{encoding}; png compressed bgr8", png)
    topic = (f"{COLOR}/image/data/compressed", "sensor_msgs/msg/CompressedImage", message)
    path = write_db3(tmp_path / "a.db3", head() + shot(0, topic))
    (color,) = frames_of(path, "color")
    assert np.array_equal(color.image, rgb)


def test_yuyv_under_zstd_becomes_rgb(tmp_path: Path) -> None:
    rgb = np.full((6, 8, 3), 120, np.uint8)
    yuyv = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_YUYV))
    data = zstandard.ZstdCompressor().compress(yuyv.tobytes())
    message = compressed(0, "Color", "YUYV; zstd; 8x6 step=16", data)
    topic = (f"{COLOR}/image/data/compressed", "sensor_msgs/msg/CompressedImage", message)
    (color,) = frames_of(write_db3(tmp_path / "a.db3", head("YUYV") + shot(0, topic)), "color")
    assert np.abs(color.image.astype(int) - rgb).max() <= 3


def test_an_image_that_does_not_decode_is_counted(tmp_path: Path) -> None:
    bad = (f"{COLOR}/image/data", "sensor_msgs/msg/Image", image(0, "Color", SIZE, "rgb8", b"short!"))
    path = write_db3(tmp_path / "a.db3", head() + shot(0, bad) + shot(1))
    with RecordingSource(CaptureConfig(camera=str(path))) as source:
        assert [frame.color_number for frame in source.frames()] == [101]
        assert source.drops == {"unpaired_depth": 1, "unreadable_color": 1}
    assert any("1 color images do not decode" in warning for warning in inspect(path, deep=True).warnings)


def test_an_image_without_metadata_keeps_file_time(tmp_path: Path) -> None:
    path = write_db3(tmp_path / "a.db3", head() + shot(0) + shot(1)[:1])
    last = frames_of(path, "depth")[-1]
    assert (last.t_device_ns, last.number, last.clock_domain) == (33_000_000, -1, ClockDomain.FILE)


def test_metadata_that_does_not_parse_counts_as_missing(tmp_path: Path) -> None:
    messages = head() + shot(0) + shot(1, unit="K.001") + shot(2)
    messages[-3] = (*messages[-3][:3], b"junk")
    path = write_db3(tmp_path / "a.db3", messages)
    depth = frames_of(path, "depth")
    assert [one.depth_unit_m for one in depth] == [0.001, None, None]
    assert depth[2].clock_domain is ClockDomain.FILE
    assert [one.t_device_ns for one in open_recording(path).stamps() if one.role == "depth"] == [
        one.t_device_ns for one in depth
    ]


def test_a_recording_opened_in_one_thread_is_read_in_another() -> None:
    recording = open_recording(shared("recordings/face_b_2.59.1_png.db3"))
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(sum(1 for _ in recording.frames())))
    thread.start()
    thread.join()
    recording.close()
    assert counts == [48]


def test_stopping_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    recording = open_recording(shared("recordings/face_b_2.59.1_png.db3"))
    frames = recording.frames()
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    recording.close()
    assert threading.active_count() == before


def test_the_containers_form_is_named() -> None:
    forms = {"2.58.4_zstd": "zstd messages", "2.59.1_png": "PNG images"}
    for name, form in forms.items():
        recording = open_recording(shared(f"recordings/face_b_{name}.db3"))
        assert isinstance(recording, Db3Recording)
        assert form in recording.container


def test_another_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db3"
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE people(name TEXT)")
    base.commit()
    base.close()
    with pytest.raises(SourceError, match=r"damaged database \(no such table: topics\)"):
        open_recording(path)


def test_a_database_with_a_broken_page_ends_with_one_sentence(tmp_path: Path) -> None:
    content = bytearray(shared("recordings/small_2.59.1_raw.db3").read_bytes())
    page = int.from_bytes(content[16:18], "big")
    for at in range(page, len(content), page):
        if content[at] in (0x0D, 0x05, 0x0A, 0x02):
            content[at] = 0xEE
    path = tmp_path / "broken.db3"
    path.write_bytes(bytes(content))
    report = inspect(path)
    assert report.error is not None
    assert "damaged database" in report.error
