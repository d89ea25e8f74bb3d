"""CAS(ME)^3 clips: both layouts, missing and unreadable images, what has to be given."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.recording import open_recording
from sfam.capture.recording_source import RecordingSource
from sfam.capture.source import SourceError


def clip(folder: Path, *, nested: bool, numbers: range = range(497, 505), size: tuple[int, int] = (8, 6)) -> Path:
    """A clip of the data set's layout, numbered as its annotation does."""
    width, height = size
    (folder / "color").mkdir(parents=True)
    if nested:
        (folder / "depth").mkdir()
    for number in numbers:
        cv2.imwrite(str(folder / "color" / f"{number}.jpg"), np.full((6, 8, 3), 100, np.uint8))
        cv2.imwrite(
            str(folder / ("depth" if nested else "") / f"{number}.png"), np.full((height, width), number, np.uint16)
        )
    return folder


@pytest.mark.parametrize("nested", [True, False])
def test_both_layouts_are_read_in_the_order_of_numbers(tmp_path: Path, nested: bool) -> None:
    path = clip(tmp_path / "spNO.3" / "J", nested=nested, numbers=range(98, 103))
    with RecordingSource(CaptureConfig(camera=str(path), depth_unit_m=0.001)) as source:
        frames = list(source.frames())
        assert any("no calibration" in warning for warning in source.info.warnings)
    assert [one.color_number for one in frames] == list(range(98, 103))
    assert [int(one.depth[0, 0]) for one in frames] == list(range(98, 103))
    assert frames[1].t_device_ns - frames[0].t_device_ns == pytest.approx(1e9 / 30, abs=2)
    assert frames[0].calibration.depth_aligned


def test_unreadable_jpegs_and_missing_frames_are_counted(tmp_path: Path) -> None:
    path = clip(tmp_path / "J", nested=True)
    for number in (498, 499):
        (path / "color" / f"{number}.jpg").write_bytes(b"no jpeg")
    (path / "color" / "502.jpg").unlink()
    with RecordingSource(CaptureConfig(camera=str(path), depth_unit_m=0.001)) as source:
        assert [one.color_number for one in source.frames()] == [497, 500, 501, 503, 504]
        assert source.drops == {"lost": 3, "unpaired_depth": 3, "unreadable_color": 2}


def test_the_depth_unit_has_to_be_given(tmp_path: Path) -> None:
    path = clip(tmp_path / "J", nested=True)
    with pytest.raises(SourceError, match=r"--set capture\.depth_unit_m=0\.001"):
        open_recording(path)


def test_depth_of_another_size_cannot_be_used(tmp_path: Path) -> None:
    path = clip(tmp_path / "J", nested=True, size=(4, 3))
    with pytest.raises(SourceError, match="only aligned clips"):
        open_recording(path, CaptureConfig(camera=str(path), depth_unit_m=0.001))


def test_a_clip_without_depth_is_refused(tmp_path: Path) -> None:
    path = clip(tmp_path / "J", nested=False)
    for file in path.glob("*.png"):
        file.unlink()
    with pytest.raises(SourceError, match="no depth stream"):
        RecordingSource(CaptureConfig(camera=str(path)))
