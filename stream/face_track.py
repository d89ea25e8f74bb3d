"""The noun of a followed face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .scene_flow import Crop

TrackState = Literal["found", "tracked", "lost"]


@dataclass(frozen=True, slots=True, eq=False)
class FaceTrack:
    """One face in one frame."""

    track_id: int
    state: TrackState
    landmarks_px: NDArray[np.float32]
    """(68, 2) float32, color pixels, iBUG order; they choose regions and never define motion. Moved as one piece since
    they were detected: how far eyes and mouth are open is as it was then."""
    box: tuple[float, float, float, float]
    """x, y, width, height in color pixels."""
    crop: Crop
    confidence: float
    """0..1: share of tracked points that survived the forward-backward check."""
    flags: tuple[str, ...] = ()
    """Of birth (found, or found again), death, swap (two faces met; the id may be the other's), blink, speech."""
