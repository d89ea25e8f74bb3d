"""Blink and speech, told from how eyes and mouth move in a window's scene flow."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .scene_flow import CROP_PX, FloatMap, SceneFlow

BLINK_SHARE = 0.045
"""Mean vertical motion inside both eyes, in eye widths, from which it is a blink (a full one moves lids by 0.2)."""
SPEECH_SHARE = 0.003
"""Motion of the jaw against the upper lip within a window, in mouth widths, that counts (0.13 px of a usual crop)."""
SPEECH_TURNS = 3
"""Changes between opening and closing within `SPEECH_NS` from which it is speech; an expression has one."""
SPEECH_NS = 1_500_000_000

EYES = (slice(36, 42), slice(42, 48))
UPPER_LIP = slice(49, 54)
MOUTH = slice(48, 60)
LOWER_LIP, CHIN = 57, 8

Points = NDArray[np.float32]


class MotionFlags:
    """Flags of one face. Holds the mouth's last moves; everything else is in the window itself."""

    def __init__(self) -> None:
        self._moves: deque[tuple[int, int]] = deque(maxlen=256)

    def reset(self) -> None:
        """Forget the mouth's past."""
        self._moves.clear()

    def push(self, flow: SceneFlow, landmarks_crop: Points) -> tuple[str, ...]:
        """Flags of one window.

        Args:
            flow: head motion removed.
            landmarks_crop: (68, 2) landmarks at the window's begin, crop pixels.
        """
        flags = []
        if _blinks(flow.v, landmarks_crop):
            flags.append("blink")
        if self._speaks(flow, landmarks_crop):
            flags.append("speech")
        return tuple(flags)

    def _speaks(self, flow: SceneFlow, landmarks: Points) -> bool:
        """Whether the jaw has turned round often enough lately."""
        mouth, lip, chin = landmarks[MOUTH], landmarks[LOWER_LIP], landmarks[CHIN]
        jaw = np.array(((mouth[:, 0].min(), lip[1]), (mouth[:, 0].max(), (lip[1] + chin[1]) / 2)), dtype=np.float32)
        width = max(float(np.ptp(mouth[:, 0])), 1.0)
        opening = (_inside(flow.v, jaw) - _inside(flow.v, landmarks[UPPER_LIP])) / width
        if abs(opening) > SPEECH_SHARE:
            self._moves.append((flow.t_to_ns, 1 if opening > 0 else -1))
        while self._moves and flow.t_to_ns - self._moves[0][0] > SPEECH_NS:
            self._moves.popleft()
        signs = [sign for _, sign in self._moves]
        return sum(a != b for a, b in pairwise(signs)) >= SPEECH_TURNS


def _blinks(v: FloatMap, landmarks: Points) -> bool:
    """Whether the lids of both eyes move the same way, and far."""
    moves = [_inside(v, landmarks[eye]) / max(float(np.ptp(landmarks[eye, 0])), 1.0) for eye in EYES]
    return min(moves) > BLINK_SHARE or max(moves) < -BLINK_SHARE


def _inside(field: FloatMap, points: Points) -> float:
    """Mean of a map over the box of some landmarks."""
    low = np.clip(np.floor(points.min(axis=0)).astype(int), 0, CROP_PX - 2)
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + 1, 1, CROP_PX)
    part = field[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)]
    return float(part.mean())
