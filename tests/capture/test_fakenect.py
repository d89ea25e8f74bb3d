"""Kinect v1 dumps: byte order, clocks, what is no distance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.recording import open_recording
from sfam.capture.recording_source import RecordingSource
from sfam.capture.source import SourceError
from tests.shared_data import shared


def dump(folder: Path, depth: np.ndarray[tuple[int, ...], np.dtype[np.uint16]], *, count: int = 3) -> Path:
    """A small dump with an accelerometer line between the images."""
    names = []
    for k in range(count):
        seconds = f"{100 + k / 30:.6f}"
        names += [f"d-{seconds}-{6_000_000 + k}.pgm", f"a-{seconds}-{k}.dump", f"r-{seconds}-{6_000_000 + k}.ppm"]
        height, width = depth.shape
        (folder / names[-3]).write_bytes(f"P5 {width} {height} 65535\n".encode() + depth.astype("<u2").tobytes())
        (folder / names[-1]).write_bytes(f"P6 {width} {height} 255\n".encode() + bytes(width * height * 3))
    (folder / "INDEX.txt").write_text("\n".join(names))
    return folder


def test_the_body_is_little_endian_and_both_clocks_are_kept() -> None:
    with RecordingSource(CaptureConfig(camera=str(shared("recordings/fakenect_dump")))) as source:
        frame = next(iter(source.frames()))
    assert int(np.median(frame.depth)) == 1400
    assert frame.t_device_ns == 1_763_202_100_000_086_000
    assert frame.t_sensor_ns == 6_012_000 * 1000 // 60
    assert frame.depth_scale_m == 0.001
    assert frame.calibration.depth_aligned


def test_a_size_in_several_lines_and_other_entries_are_fine(tmp_path: Path) -> None:
    path = dump(tmp_path, np.full((6, 8), 900, np.uint16))
    first = next(path.glob("d-*"))
    first.write_bytes(first.read_bytes().replace(b"P5 8 6 65535\n", b"P5\n8 6\n65535\n"))
    assert [one.role for one in open_recording(path).frames()] == ["depth", "color"] * 3


def test_raw_disparity_is_refused(tmp_path: Path) -> None:
    depth = np.full((6, 8), 700, np.uint16)
    depth[0, 0] = 2047
    with pytest.raises(SourceError, match="11-bit disparity"):
        open_recording(dump(tmp_path, depth))


def test_a_cut_image_is_counted(tmp_path: Path) -> None:
    path = dump(tmp_path, np.full((6, 8), 900, np.uint16))
    last = sorted(path.glob("r-*"))[-1]
    last.write_bytes(last.read_bytes()[:-5])
    recording = open_recording(path)
    assert len(list(recording.frames())) == 5
    assert recording.unreadable == {"color": 1}


def test_a_dump_whose_first_depth_is_damaged_is_still_read(tmp_path: Path) -> None:
    path = dump(tmp_path, np.full((6, 8), 900, np.uint16))
    sorted(path.glob("d-*"))[0].write_bytes(b"P5 8 6 65535\n")
    (path / "INDEX.txt").write_bytes((path / "INDEX.txt").read_bytes() + b"\n\xff\xfe\n")
    recording = open_recording(path)
    assert len(list(recording.frames())) == 5
    assert recording.unreadable == {"depth": 1}


@pytest.mark.parametrize("header", [b"P5 0 6 65535\n", b"P5 99999 99999 65535\n", b"P6 8 6 255\n"])
def test_a_senseless_header_is_an_unreadable_image(tmp_path: Path, header: bytes) -> None:
    path = dump(tmp_path, np.full((6, 8), 900, np.uint16))
    sorted(path.glob("d-*"))[1].write_bytes(header + bytes(96))
    recording = open_recording(path)
    assert len(list(recording.frames())) == 5
    assert recording.unreadable == {"depth": 1}
