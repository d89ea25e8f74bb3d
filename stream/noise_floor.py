"""The running noise floor: how much flow a face at rest shows under this camera, light and distance."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from .scene_flow import NoiseFloor

KEPT = 300
"""Windows remembered: ten seconds at 30 fps."""
FEWEST = 15
"""Windows before anything is said."""
QUIET_SHARE = 0.2
"""Share of the remembered windows taken to be quiet: a face rests for at least a fifth of ten seconds."""
SIGNAL_RATIO = 2.0
"""Motion below this multiple of the floor is not told from noise."""


class NoiseMeter:
    """Robust spread of u, v, w over the quietest windows of the last seconds.

    Each window gives one spread per channel: the root mean square of its two network regions (head motion removed).
    The floor is the median over the quietest fifth of the windows kept, which a micro-expression every other second
    does not reach.
    """

    def __init__(self) -> None:
        self._spreads: deque[tuple[float, float, float]] = deque(maxlen=KEPT)
        self._floor = NoiseFloor()

    @property
    def floor(self) -> NoiseFloor:
        """The floor over all windows so far; NaN until enough were seen."""
        return self._floor

    def push(self, maps: NDArray[np.float32], depth: bool) -> bool:
        """Add a window's maps (3, 42, 42); tells whether its u, v motion is below the noise floor.

        Args:
            maps: the network's input.
            depth: whether w means anything in this window.
        """
        u, v, w = (float(value) for value in np.sqrt((maps * maps).mean(axis=(1, 2))))
        self._spreads.append((u, v, w if depth else float("nan")))
        if len(self._spreads) < FEWEST:
            return False
        spreads = np.array(self._spreads)
        quiet = spreads[np.argsort(spreads[:, 0] ** 2 + spreads[:, 1] ** 2, kind="stable")]
        quiet = quiet[: max(round(QUIET_SHARE * len(quiet)), 3)]
        known = quiet[:, 2][~np.isnan(quiet[:, 2])]
        w_mm = float(np.median(known)) if len(known) else float("nan")
        self._floor = NoiseFloor(float(np.median(quiet[:, 0])), float(np.median(quiet[:, 1])), w_mm)
        return float(np.hypot(u, v)) < SIGNAL_RATIO * float(np.hypot(self._floor.u_px, self._floor.v_px))
