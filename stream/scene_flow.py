"""The nouns of motion: crop, head motion and the scene flow between two frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CROP_PX = 128
"""Side of the crop that flow is computed on."""

FloatMap = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Crop:
    """A frozen square of the color image, scaled to `CROP_PX`; integer pixels so that no jitter enters the flow."""

    x: int
    """Left edge in color pixels; may lie outside the image."""
    y: int
    """Top edge in color pixels."""
    size: int
    """Side in color pixels."""

    @property
    def scale(self) -> float:
        """Crop pixels per color pixel."""
        return CROP_PX / self.size


@dataclass(frozen=True, slots=True)
class HeadMotion:
    """Rigid head motion between two frames; x right, y down, z away from the camera.

    A point X of the head (mm, camera coordinates) goes to R (X - pivot) + pivot + translation, R being the rotation by
    the vector `rotation_rad` (axis times angle) about the pivot, the centre of the face's fitted points.
    """

    rotation_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)
    translation_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pivot_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    residual_px: float = float("nan")
    """Median distance between measured and rigid flow over the fitted points; NaN where nothing was fitted."""


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """Robust spread of u, v (px of the crop) and w (mm) over quiet windows; NaN until measured."""

    u_px: float = float("nan")
    v_px: float = float("nan")
    w_mm: float = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class SceneFlow:
    """Motion of the face's skin from one frame to a later one, head motion removed."""

    track_id: int
    from_frame: int
    to_frame: int
    t_from_ns: int
    t_to_ns: int
    u: FloatMap
    """(128, 128) float32, px of the crop, positive to the right."""
    v: FloatMap
    """(128, 128) float32, px of the crop, positive downwards."""
    w: FloatMap
    """(128, 128) float32, mm, positive away from the camera; 0 where depth is missing."""
    valid: Mask
    """(128, 128) bool: flow and depth both usable."""
    crop: Crop
    head_motion: HeadMotion = field(default_factory=HeadMotion)
    residual_grey: float = float("nan")
    """Root mean square photometric residual after warping, grey levels."""
    depth_valid_share: float = float("nan")
    """Share of the steady parts of the face with depth at both ends, 0..1."""
    noise: NoiseFloor = field(default_factory=NoiseFloor)
