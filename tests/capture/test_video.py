"""Input without depth: refused unless asked for; each image with empty depth then, and said to be so."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sfam.capture import webcam
from sfam.capture.camera_list import list_kind
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import ClockDomain, RGBDFrame
from sfam.capture.inspection import inspect
from sfam.capture.recording import open_recording
from sfam.capture.source import AbsentError, SourceError, SourceInfo, open_source
from tests.capture.bag_writer import BagWriter
from tests.capture.video_writer import SIZE, write_video
from tests.shared_data import shared

FORMS = [
    ("a.mp4", "mpeg4", 0),
    ("b.mp4", "libx264", 2),
    ("a.mov", "libx264", 0),
    ("a.mkv", "libx264", 2),
    ("a.webm", "libvpx", 0),
    ("a.avi", "mjpeg", 0),
    ("a.ts", "mpeg2video", 2),
]


def config(path: Path, **settings: Any) -> CaptureConfig:
    return CaptureConfig(camera=str(path), color_only=True, **settings)


def read(path: Path, **settings: Any) -> tuple[list[RGBDFrame], SourceInfo, dict[str, int]]:
    with open_source(config(path, **settings)) as source:
        return list(source.frames()), source.info, dict(source.drops)


@pytest.mark.parametrize(("name", "codec", "b_frames"), FORMS)
def test_every_frame_comes_in_order_with_empty_depth(tmp_path: Path, name: str, codec: str, b_frames: int) -> None:
    frames, info, drops = read(write_video(tmp_path / name, codec, b_frames=b_frames))
    assert len(frames) == 20
    assert drops == {}
    assert all(frame.depth_missing and not frame.depth.any() for frame in frames)
    assert {frame.depth.shape for frame in frames} == {(48, 64)}
    grey = [float(frame.color[:, 40:].mean()) for frame in frames]
    assert grey == pytest.approx([10 * k for k in range(20)], abs=8)
    steps = np.diff([frame.t_capture_ns for frame in frames])
    assert steps == pytest.approx(1e9 / 30, abs=1_000_000)
    assert [frame.sequence for frame in frames] == list(range(20))
    assert frames[0].calibration.depth_aligned
    assert frames[0].clock_domain is ClockDomain.FILE
    assert info.fps == pytest.approx(30, abs=0.1)
    assert any("w is zero" in warning for warning in info.warnings)
    assert any("nominal intrinsics" in warning for warning in info.warnings)


@pytest.mark.parametrize(("name", "codec", "b_frames"), FORMS)
def test_shallow_and_deep_reports_agree(tmp_path: Path, name: str, codec: str, b_frames: int) -> None:
    path = write_video(tmp_path / name, codec, b_frames=b_frames)
    shallow, deep = (inspect(path, one, config(path)).to_json() for one in (False, True))
    assert shallow["pairs"] == deep["pairs"] == 20
    assert shallow["duration_s"] == pytest.approx(deep["duration_s"], abs=1e-6)
    assert shallow["gaps"] == deep["gaps"] == []
    assert deep["streams"][0]["sha256"]
    unindexed = [warning for warning in shallow["warnings"] if "all of the file is read" in warning]
    assert bool(unindexed) == (name == "a.ts"), "only a transport stream has no index"


def test_an_uneven_rate_is_told_by_the_stamps(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", "libx264", 12, stamps=(0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14))
    for deep in (False, True):
        assert [(gap.after_index, gap.ms) for gap in inspect(path, deep, config(path)).gaps] == [(6, 133)]


def test_without_the_flag_the_error_names_it(tmp_path: Path) -> None:
    for path in (write_video(tmp_path / "a.mp4"), write_video(tmp_path / "a.webm", "libvpx")):
        with pytest.raises(SourceError, match="--color-only"):
            open_source(CaptureConfig(camera=str(path)))
    with pytest.raises(SourceError, match=r"no depth stream.*--color-only"):
        open_source(CaptureConfig(camera=str(shared("recordings/odd_no_depth.bag"))))


def test_a_bag_without_depth_keeps_its_own_calibration_and_stamps() -> None:
    path = shared("recordings/odd_no_depth.bag")
    frames, info, drops = read(path)
    assert len(frames) == 5
    assert drops == {}
    assert all(frame.depth_missing for frame in frames)
    assert not any("nominal" in warning for warning in info.warnings)
    color = open_recording(path).color_camera()
    assert color == frames[0].calibration.color
    report = inspect(path, config=config(path))
    assert (report.pairs, report.error) == (5, None)


def test_where_there_is_depth_it_is_used(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head()
    for k in range(6):
        writer.pair(k, k * 33_000_000)
    frames, info, _ = read(writer.save(tmp_path / "a.bag"))
    assert not any(frame.depth_missing for frame in frames)
    assert info.warnings == ()


def test_from_and_to_cut_a_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", "libx264", 90, b_frames=2)
    whole, _, _ = read(path)
    cut, _, _ = read(path, from_s=1.99, to_s=2.51)
    assert [one.t_device_ns for one in cut] == [
        one.t_device_ns for one in whole if 1.99e9 <= one.t_device_ns - whole[0].t_device_ns <= 2.51e9
    ]
    assert np.array_equal(cut[0].color, whole[60].color)


def test_a_phone_held_upright_gives_an_upright_image(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    content = path.read_bytes()
    plain = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # 90 degrees to the right
    track = content.index(plain, content.index(b"tkhd"))
    path.write_bytes(content[:track] + turned + content[track + 36 :])
    frames, info, _ = read(path)
    assert frames[19].color.shape == (SIZE[0], SIZE[1], 3)
    assert (info.calibration.color.width, info.calibration.color.height) == (48, 64)
    assert frames[19].color[:24].mean() < 5, "the black left half is on top after a turn to the right"


def test_a_cut_video_gives_what_is_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", "mpeg4", 60)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    assert 30 <= len(read(path)[0]) < 60


def test_an_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", "mpeg4", 60)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(SourceError, match="nothing readable"):
        open_source(config(path))


def test_a_video_of_sound_alone_is_refused(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        track: Any = file.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        for packet in [*track.encode(frame), *track.encode()]:
            file.mux(packet)
    with pytest.raises(SourceError, match="no video track"):
        open_source(config(tmp_path / "a.mkv"))


def test_a_webcam_gives_color_with_empty_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.avi", "mjpeg", 20)
    monkeypatch.setattr(webcam.WebcamSource, "open_device", staticmethod(lambda _: cv2.VideoCapture(str(path))))
    with open_source(CaptureConfig(camera="webcam:2", color_only=True, warmup_frames=4)) as source:
        assert (source.info.live, source.info.stamped) == (True, True)
        assert source.info.camera == "webcam_2"
        frames: list[RGBDFrame] = []
        with pytest.raises(AbsentError, match="no more images"):
            frames.extend(source.frames())  # extend keeps what came before the end
    assert len(frames) == 15, "one image told the size, four were the warm-up"
    assert all(frame.depth_missing and not frame.depth.any() for frame in frames)
    assert float(frames[0].color[:, 40:].mean()) == pytest.approx(50, abs=6)
    assert np.all(np.diff([frame.t_capture_ns for frame in frames]) > 0)
    assert all(frame.t_host_ns == frame.t_capture_ns for frame in frames)
    assert source.drops == {"unreadable_color": 5}


@pytest.mark.parametrize(
    ("camera", "asked", "message"),
    [
        ("webcam", False, "--color-only"),
        ("webcam:x", True, "N counting from 0"),
        ("webcam:97", True, "cannot be opened"),
    ],
)
def test_a_webcam_that_cannot_be_used_says_why(
    camera: str, asked: bool, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(CaptureConfig(camera=camera, color_only=asked))
    assert capfd.readouterr().err == "", "OpenCV's own complaints"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists cameras without opening them")
def test_webcams_are_listed_as_the_system_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (name, index) in {10: ("Lab cam", "0"), 2: ("Desk cam: Desk", "0"), 3: ("Desk cam: Desk", "1")}.items():
        port = tmp_path / "usb" / f"port{number}" / "interface"
        port.mkdir(parents=True)
        (port.parent / "speed").write_text("5000\n" if number == 10 else "480\n")
        node = tmp_path / "video4linux" / f"video{number}"
        node.mkdir(parents=True)
        (node / "name").write_text(f"{name}\n")
        (node / "index").write_text(f"{index}\n")
        (node / "device").symlink_to(port)
    monkeypatch.setattr(webcam, "DEVICES", tmp_path / "video4linux")
    listed = [(one.kind, one.serial, one.name, one.connection) for one in list_kind("webcam")]
    assert listed == [("webcam", "2", "Desk cam: Desk", "2.0"), ("webcam", "10", "Lab cam", "3.0")]
    monkeypatch.setattr(webcam, "DEVICES", tmp_path / "none")
    assert list_kind("webcam") == []
