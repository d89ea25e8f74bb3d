"""Export in the columns of OpenFace 2.2: frames from 1, seconds, head pose, 68 landmarks in pixels.

The pose comes from ten landmarks and a head of average size, as a colour camera alone would give it; it is meant for
programs that read OpenFace tables, not as a measurement. OpenFace's angles: R = Rx(pose_Rx) Ry(pose_Ry) Rz(pose_Rz).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .session_reader import Row, SessionRecord
from .session_tables import LANDMARK_COUNT

LEADING = ("frame", "face_id", "timestamp", "confidence", "success")
POSE = ("pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz")
POINTS = (
    *(f"x_{place}" for place in range(LANDMARK_COUNT)),
    *(f"y_{place}" for place in range(LANDMARK_COUNT)),
)
AVERAGE_HEAD_MM = {
    8: (0.0, 68.0, 22.0),
    27: (0.0, -42.0, 14.0),
    30: (0.0, 0.0, 0.0),
    33: (0.0, 12.0, 9.0),
    36: (-45.0, -38.0, 33.0),
    39: (-16.0, -36.0, 25.0),
    42: (16.0, -36.0, 25.0),
    45: (45.0, -38.0, 33.0),
    48: (-26.0, 28.0, 19.0),
    54: (26.0, 28.0, 19.0),
}
"""Landmark number to its place on an adult head of average size that faces the camera, from the tip of the nose;
x to the right, y down, z away from the camera."""
Pose = tuple[float, float, float, float, float, float]


def export_openface(record: SessionRecord, out: Path) -> list[Path]:
    """Write openface.csv; as there, what is unknown in a frame without face is 0.

    Landmarks need a session that kept them, the pose also the color camera's calibration in session.json; columns
    that cannot be filled are left out.

    Args:
        record: the session.
        out: folder to write to; made when missing.
    """
    found = {(row["frame"], row["face_id"]): _points(row) for row in record.landmarks}
    camera = _camera_matrix(record.summary["devices"]) if found else None
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow((*LEADING, *(POSE if camera is not None else ()), *(POINTS if found else ())))
    for row in record.scores:
        points = found.get((row["frame"], row["face_id"]))
        cells = [str(int(row["frame"]) + 1), row["face_id"], row["timestamp"], row["confidence"], row["success"]]
        if camera is not None:
            cells += [f"{value:.4f}" for value in (head_pose(points, camera) if points is not None else (0.0,) * 6)]
        if found:
            places = np.zeros((2, LANDMARK_COUNT)) if points is None else points.T
            cells += [f"{value:.2f}" for value in places.ravel()]
        table.writerow(cells)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "openface.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="\n")
    return [path]


def head_pose(points_px: NDArray[np.float64], camera: NDArray[np.float64]) -> Pose:
    """Place (mm) and turn (rad) of a head of average size.

    Args:
        points_px: (68, 2) landmarks.
        camera: (3, 3) camera matrix.

    Returns:
        Tx, Ty, Tz of the tip of the nose, Rx, Ry, Rz; zeros where no pose fits.
    """
    head = np.array(list(AVERAGE_HEAD_MM.values()))
    seen = points_px[list(AVERAGE_HEAD_MM)]
    fits, turn, place = cv2.solvePnP(head, seen, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if not fits:
        return (0.0,) * 6
    matrix = np.asarray(cv2.Rodrigues(turn)[0])
    x, y, z = (float(value) for value in np.ravel(place))
    angles = (
        math.atan2(-matrix[1, 2], matrix[2, 2]),
        math.asin(max(-1.0, min(1.0, float(matrix[0, 2])))),
        math.atan2(-matrix[0, 1], matrix[0, 0]),
    )
    return (x, y, z, *angles)


def _points(row: Row) -> NDArray[np.float64]:
    return np.array([float(row[name]) for name in POINTS]).reshape(2, LANDMARK_COUNT).T


def _camera_matrix(devices: Mapping[str, object]) -> NDArray[np.float64] | None:
    color = devices.get("color")
    if not isinstance(color, Mapping) or not {"fx", "fy", "ppx", "ppy"} <= set(color):
        return None
    return np.array([[color["fx"], 0, color["ppx"]], [0, color["fy"], color["ppy"]], [0, 0, 1]], dtype=np.float64)
