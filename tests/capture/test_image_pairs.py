"""Image-pair folders: the sidecar says everything or the folder is refused with what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.frame import Distortion
from sfam.capture.recording import open_recording
from sfam.capture.recording_source import RecordingSource
from sfam.capture.source import SourceError

CAMERA = {"width": 8, "height": 6, "fx": 8.0, "fy": 8.0, "ppx": 4.0, "ppy": 3.0}
SIDECAR: dict[str, Any] = {"depth_unit_m": 0.001, "fps": 30, "depth_aligned": True, "color": CAMERA}


def pairs(folder: Path, sidecar: dict[str, Any] | None, count: int = 4, skip: tuple[int, ...] = ()) -> Path:
    """A folder with images numbered from 7."""
    for name in ("color", "depth"):
        (folder / name).mkdir()
    for k in range(count):
        if k not in skip:
            cv2.imwrite(
                str(folder / "color" / f"frame_{7 + k:05d}.png"), np.full((6, 8, 3), (10, 20, 30 + k), np.uint8)
            )
        cv2.imwrite(str(folder / "depth" / f"frame_{7 + k:05d}.png"), np.full((6, 8), 700 + k, np.uint16))
    if sidecar is not None:
        (folder / "recording.json").write_text(json.dumps(sidecar))
    return folder


def test_pairs_come_with_the_sidecars_rate_unit_and_camera(tmp_path: Path) -> None:
    path = pairs(tmp_path, SIDECAR, skip=(2,))
    with RecordingSource(CaptureConfig(camera=str(path))) as source:
        frames = list(source.frames())
        assert source.drops == {"lost": 1, "unpaired_depth": 1}
    assert [one.color_number for one in frames] == [7, 8, 10]
    assert [one.dropped_before for one in frames] == [0, 0, 1]
    assert frames[1].t_device_ns - frames[0].t_device_ns == pytest.approx(1e9 / 30, abs=2)
    assert frames[0].color[0, 0].tolist() == [30, 20, 10]
    assert frames[0].depth[0, 0] == 700
    assert frames[0].calibration.depth_aligned


def test_listed_stamps_and_two_cameras_are_taken(tmp_path: Path) -> None:
    stamps = [5, 33_000_005, 70_000_005, 100_000_005]
    sidecar = {
        "depth_unit_m": 0.00025,
        "stamps_ns": {"color": stamps, "depth": stamps},
        "color": {**CAMERA, "distortion": "modified_brown_conrady", "coeffs": [0.1, 0, 0, 0, 0]},
        "depth": CAMERA,
        "depth_to_color": {"rotation": [1, 0, 0, 0, 1, 0, 0, 0, 1], "translation_m": [0.015, 0, 0]},
        "writer": "the lab",
    }
    with RecordingSource(CaptureConfig(camera=str(pairs(tmp_path, sidecar)))) as source:
        frames = list(source.frames())
        assert source.info.details["writer"] == "the lab"
    assert [one.t_device_ns for one in frames] == stamps
    assert frames[0].calibration.color.distortion is Distortion.MODIFIED_BROWN_CONRADY
    assert frames[0].calibration.depth_to_color.translation_m == (0.015, 0, 0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"depth_unit_m": None}, "lacks depth_unit_m"),
        ({"fps": None}, "lacks both fps and stamps_ns"),
        ({"color": None}, "no usable calibration"),
        ({"depth_aligned": None}, "no usable calibration"),
        ({"stamps_ns": {"color": [1]}}, "1 stamps for 4 color images"),
        ({"stamps_ns": [1, 2, 3, 4]}, "stamps_ns: Input should be an object"),
        ({"stamps_ns": {"color": [1e30] * 4}}, r"stamps_ns.color.0: "),
        ({"fps": {}}, "fps: Input should be a valid number"),
        ({"fps": 0}, "fps: Input should be greater than or equal to 0.001"),
        ({"fps": float("nan")}, "fps: "),
        ({"depth_unit_m": -0.001}, "depth_unit_m: Input should be greater than 0"),
        ({"color": {**CAMERA, "width": 0}}, "color.width: "),
        ({"color": {**CAMERA, "fx": float("inf")}}, "color.fx: Input should be a finite number"),
        ({"color": [CAMERA]}, "color: "),
        (
            {"depth_aligned": False, "depth": CAMERA, "depth_to_color": {"rotation": [1], "translation_m": [0, 0, 0]}},
            "depth_to_color.rotation: ",
        ),
    ],
)
def test_what_the_sidecar_lacks_is_named(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    sidecar = {key: value for key, value in {**SIDECAR, **change}.items() if value is not None}
    with pytest.raises(SourceError, match=complaint):
        open_recording(pairs(tmp_path, sidecar))


def test_the_unit_may_come_from_the_settings(tmp_path: Path) -> None:
    path = pairs(tmp_path, {key: value for key, value in SIDECAR.items() if key != "depth_unit_m"})
    assert open_recording(path, CaptureConfig(camera=str(path), depth_unit_m=0.0001)).depth_unit_m == 0.0001


def test_a_sidecar_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = pairs(tmp_path, None)
    (path / "recording.json").write_text("{")
    with pytest.raises(SourceError, match="as a whole: Invalid JSON"):
        open_recording(path)


def test_eight_bit_depth_is_refused(tmp_path: Path) -> None:
    path = pairs(tmp_path, SIDECAR)
    for file in (path / "depth").iterdir():
        cv2.imwrite(str(file), np.zeros((6, 8), np.uint8))
    with pytest.raises(SourceError, match="nothing readable among its 4 depth files"):
        open_recording(path)
