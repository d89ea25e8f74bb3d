"""The running noise floor: how much flow a face at rest shows under this camera, light and distance."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from .flow_window import MAP_PX
from .scene_flow import NoiseFloor

KEPT = 300
"""Windows remembered: ten seconds at 30 fps."""
FEWEST = 15
"""Windows before anything is said."""
QUIET_SHARE = 0.2
"""Share of the remembered windows taken to be quiet: a face rests for at least a fifth of ten seconds."""
SIGNAL_RATIO = 1.5
"""A window whose strongest block moves less than this multiple of what it does at rest is not told from noise; in the
picture's plane and in depth alike."""
RENEW_EVERY = 5
"""Windows between two evaluations of the floor."""
BLOCK_PX = 7
"""Side of the blocks whose mean motion is compared: about a lip corner on the network's 42 x 42 maps."""


BLOCKS = (MAP_PX // BLOCK_PX, MAP_PX // BLOCK_PX)
UNKNOWN = float("nan")

TRUST_AGAIN = 0.75
"""Depth that was too noisy is believed again below this share of the limit, so that it does not flicker."""


class DepthTrust:
    """Whether depth is quiet enough for w to mean something; says yes until the noise floor is known.

    Args:
        limit_mm: noise of w above which it says nothing.
    """

    def __init__(self, limit_mm: float) -> None:
        self._limit_mm = limit_mm
        self._noisy = False

    def noisy(self, floor: NoiseFloor) -> bool:
        """Whether w is lost in noise, from the floor of the windows so far; an unknown floor changes nothing."""
        if floor.w_mm > self._limit_mm:
            self._noisy = True
        elif floor.w_mm < TRUST_AGAIN * self._limit_mm:
            self._noisy = False
        return self._noisy


class NoiseMeter:
    """Robust spread of u, v, w over the quietest windows of the last seconds.

    Each window gives its root mean square of u, v and w over the two network regions (head motion removed) and the
    length of its strongest block-mean motion, in the picture's plane and in depth. The floor is the median of each over
    the fifth of the windows kept that is quietest in the plane, which a micro-expression every other second does not
    reach.
    """

    def __init__(self) -> None:
        self._windows: deque[tuple[float, float, float, float, float]] = deque(maxlen=KEPT)
        self._floor = NoiseFloor()
        self._rest_px, self._rest_mm = UNKNOWN, UNKNOWN
        self._pushed = 0

    @property
    def floor(self) -> NoiseFloor:
        """The floor so far; NaN until enough windows were seen."""
        return self._floor

    def push(self, maps: NDArray[np.float32], depth: bool) -> tuple[bool, bool]:
        """Add a window's maps (3, 42, 42).

        Args:
            maps: the network's input.
            depth: whether w means anything in this window.

        Returns:
            Whether its u, v motion, and whether its w motion, is below the noise floor; no while that is not known.
        """
        u, v, w = (cv2.norm(image, cv2.NORM_L2) / MAP_PX for image in maps)
        across, down, away = (cv2.resize(image, BLOCKS, interpolation=cv2.INTER_AREA) for image in maps)
        peak_px, peak_mm = float(cv2.magnitude(across, down).max()), cv2.norm(away, cv2.NORM_INF)
        if not depth:
            w = peak_mm = UNKNOWN
        self._windows.append((u, v, w, peak_px, peak_mm))
        self._pushed += 1
        if len(self._windows) >= FEWEST and self._pushed % RENEW_EVERY == 0:
            self._renew()
        return peak_px < SIGNAL_RATIO * self._rest_px, peak_mm < SIGNAL_RATIO * self._rest_mm

    def _renew(self) -> None:
        """Evaluate the quietest windows."""
        windows = np.array(self._windows)
        quiet = windows[np.argsort(windows[:, 3], kind="stable")[: max(round(QUIET_SHARE * len(windows)), 3)]]
        deep = quiet[~np.isnan(quiet[:, 2])]
        u_px, v_px, self._rest_px = (float(np.median(quiet[:, column])) for column in (0, 1, 3))
        w_mm, self._rest_mm = (float(np.median(deep[:, column])) if len(deep) else UNKNOWN for column in (2, 4))
        self._floor = NoiseFloor(u_px, v_px, w_mm)
