"""Where a head is and where it looks, from landmarks: for people and programs, never for the measurement of motion.

Ten landmarks and a head of average size, as a color camera alone would give it (perspective-n-point after Terzakis and
Lourakis, ECCV 2020): angles to a few degrees, the distance as wrong as the head's size is off the average.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import Intrinsics

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

LEAST_SPREAD_PX = 8.0
"""Landmarks closer together than this, in either direction, are no face."""


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Place and turn of a head in the color camera's frame."""

    translation_mm: tuple[float, float, float]
    """Tip of the nose: right, down, away from the camera."""
    rotation_rad: tuple[float, float, float]
    """Angles about the camera's x, y and z: R = Rx Ry Rz; zeros = facing along the optical axis."""


def head_pose(landmarks_px: NDArray[np.floating], camera: Intrinsics) -> HeadPose | None:
    """Pose of a head of average size; None where none fits.

    Args:
        landmarks_px: (68, 2) in iBUG order, color pixels.
        camera: the color camera; its distortion is left out.
    """
    matrix = np.array([[camera.fx, 0, camera.ppx], [0, camera.fy, camera.ppy], [0, 0, 1]], dtype=np.float64)
    seen = landmarks_px[list(AVERAGE_HEAD_MM)].astype(np.float64)
    if not np.isfinite(seen).all() or np.ptp(seen, axis=0).min() < LEAST_SPREAD_PX:
        return None
    fits, turn, place = cv2.solvePnP(
        np.array(list(AVERAGE_HEAD_MM.values())), seen, matrix, None, flags=cv2.SOLVEPNP_SQPNP
    )
    if not fits:
        return None
    rotation = np.asarray(cv2.Rodrigues(turn)[0])
    x, y, z = (float(value) for value in np.ravel(place))
    angles = (
        math.atan2(-rotation[1, 2], rotation[2, 2]),
        math.asin(max(-1.0, min(1.0, float(rotation[0, 2])))),
        math.atan2(-rotation[0, 1], rotation[0, 0]),
    )
    return HeadPose((x, y, z), angles)
