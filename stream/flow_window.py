"""The noun a network eats: three small maps cut from a scene flow, with its time span."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .scene_flow import HeadMotion, NoiseFloor

MAP_PX = 42
"""Side of each network input map."""


@dataclass(frozen=True, slots=True, eq=False)
class FlowWindow:
    """Network input of one face at one frame: motion over the last `window_ms`."""

    track_id: int
    from_frame: int
    frame: int
    """The frame at which the window ends; its score belongs to this frame."""
    t_from_ns: int
    t_capture_ns: int
    """Capture time of `frame`."""
    maps: NDArray[np.float32]
    """(3, 42, 42) float32: u px, v px, w mm; rows 0-20 brows and eyes, rows 21-41 mouth."""
    missing_ns: int = 0
    """How much of the span between its two frames was lost by dropped frames."""
    segment: int = 0
    head_motion: HeadMotion = field(default_factory=HeadMotion)
    residual_grey: float = float("nan")
    depth_valid_share: float = float("nan")
    noise: NoiseFloor = field(default_factory=NoiseFloor)
    flags: tuple[str, ...] = ()
    """Of blink, speech, head_motion, light (it changed), occlusion (something moves over the face), gap; below_noise
    (neither u, v nor a w that counts stands out from a face at rest);
    no_depth (w is 0: most of a region has none) and noisy_depth (w is 0: it would be noise; `depth_noise_max_mm`)."""
