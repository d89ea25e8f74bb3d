"""Export in the columns of OpenFace 2.2: frames from 1, seconds, head pose, 68 landmarks in pixels.

The pose comes from ten landmarks and a head of average size, as a colour camera alone would give it; it is meant for
programs that read OpenFace tables, not as a measurement. OpenFace's angles: R = Rx(pose_Rx) Ry(pose_Ry) Rz(pose_Rz).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import Intrinsics
from sfam.stream.head_pose import head_pose

from .session_reader import Row, SessionRecord
from .session_tables import LANDMARK_COUNT

LEADING = ("frame", "face_id", "timestamp", "confidence", "success")
POSE = ("pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz")
POINTS = (
    *(f"x_{place}" for place in range(LANDMARK_COUNT)),
    *(f"y_{place}" for place in range(LANDMARK_COUNT)),
)


def export_openface(record: SessionRecord, out: Path) -> list[Path]:
    """Write openface.csv; as there, what is unknown in a frame without face is 0.

    Landmarks need a session that kept them, the pose also the color camera's calibration in session.json; columns
    that cannot be filled are left out.

    Args:
        record: the session.
        out: folder to write to; made when missing.
    """
    found = {(row["frame"], row["face_id"]): _points(row) for row in record.landmarks}
    camera = _camera(record.summary["devices"]) if found else None
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow((*LEADING, *(POSE if camera is not None else ()), *(POINTS if found else ())))
    for row in record.scores:
        points = found.get((row["frame"], row["face_id"]))
        cells = [str(int(row["frame"]) + 1), row["face_id"], row["timestamp"], row["confidence"], row["success"]]
        if camera is not None:
            cells += _pose_cells(points, camera) if points is not None else [f"{0.0:.4f}"] * 6
        if found:
            places = np.zeros((2, LANDMARK_COUNT)) if points is None else points.T
            cells += [f"{value:.2f}" for value in places.ravel()]
        table.writerow(cells)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "openface.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="\n")
    return [path]


def _pose_cells(points_px: NDArray[np.float64], camera: Intrinsics) -> list[str]:
    """Six cells, zeros where no pose fits."""
    pose = head_pose(points_px, camera)
    values = (0.0,) * 6 if pose is None else (*pose.translation_mm, *pose.rotation_rad)
    return [f"{value:.4f}" for value in values]


def _points(row: Row) -> NDArray[np.float64]:
    return np.array([float(row[name]) for name in POINTS]).reshape(2, LANDMARK_COUNT).T


def _camera(devices: Mapping[str, object]) -> Intrinsics | None:
    color = devices.get("color")
    if not isinstance(color, Mapping) or not {"fx", "fy", "ppx", "ppy"} <= set(color):
        return None
    return Intrinsics(0, 0, color["fx"], color["fy"], color["ppx"], color["ppy"])
