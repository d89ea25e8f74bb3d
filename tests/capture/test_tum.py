"""TUM folders: exact stamps, unit, geometry, broken lists, missing images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.inspection import inspect
from sfam.capture.recording import open_recording
from sfam.capture.recording_source import RecordingSource
from sfam.capture.source import SourceError
from tests.shared_data import shared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "tum"
    shutil.copytree(shared("recordings/tum_face"), copy)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def test_stamps_are_exact_and_depth_is_five_thousand_per_metre() -> None:
    path = shared("recordings/tum_face")
    with RecordingSource(CaptureConfig(camera=str(path))) as source:
        frame = next(iter(source.frames()))
    assert frame.t_device_ns == 1_763_202_000_000_216_000
    assert frame.t_utc_ns == frame.t_device_ns
    assert frame.depth_scale_m == 0.0002
    assert frame.calibration.depth_aligned
    assert frame.calibration.color.fx == 525.0
    assert source.info.camera == "tum_face"
    assert source.info.fps == pytest.approx(30, abs=0.5)


def test_a_missing_image_is_counted_and_leaves_a_gap(folder: Path) -> None:
    (folder / "rgb" / "1763202000.066975.png").unlink()
    with RecordingSource(CaptureConfig(camera=str(folder))) as source:
        assert len(list(source.frames())) == 5
        assert source.drops == {"unpaired_depth": 1, "unreadable_color": 1}
    report = inspect(folder, deep=True)
    assert [gap.after_index for gap in report.gaps] == [1]


def test_a_broken_line_is_named(folder: Path) -> None:
    (folder / "depth.txt").write_text("# depth\nnot-a-stamp depth/x.png\n")
    with pytest.raises(SourceError, match=r"depth\.txt: line 2"):
        open_recording(folder)


def test_a_folder_with_neither_list_nor_images_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a recording; a folder must hold"):
        open_recording(tmp_path)


@pytest.mark.parametrize("stamp", ["1E+999999999", "NaN", "-1.5", "\xff", "1" * 40])
def test_a_stamp_that_is_no_plain_number_is_named(folder: Path, stamp: str) -> None:
    (folder / "depth.txt").write_bytes(f"{stamp} depth/x.png\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"depth\.txt: line 1"):
        open_recording(folder)


def test_an_image_of_another_size_counts_as_unreadable(folder: Path) -> None:
    import cv2

    first = sorted((folder / "rgb").glob("*.png"))[2]
    image = cv2.imread(str(first))
    assert image is not None
    cv2.imwrite(str(first), image[:-2])
    with RecordingSource(CaptureConfig(camera=str(folder))) as source:
        assert len(list(source.frames())) == 5
        assert source.drops == {"unpaired_depth": 1, "unreadable_color": 1}
