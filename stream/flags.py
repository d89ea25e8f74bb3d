"""Blink and speech, told from how eyes and mouth move in a window's scene flow.

Both are told by motion alone: eyes held shut and a mouth held open move nothing and have no flag. That is a choice:
landmarks in every frame would tell how far they are open, at the cost of a detection each. Between two detections they
move with the head as one piece (`FollowedFace`); and one every two seconds may just meet a blink of 0.2 s, so that a
state held from one to the next would be wrong for windows without any, which the return check then leaves out.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import cv2

from .roi import CropBox, Regions
from .scene_flow import FloatMap, SceneFlow

BLINK_SHARE = 0.045
"""Mean vertical motion inside both eyes, in eye widths, from which it is a blink (a full one moves lids by 0.2)."""
SPEECH_SHARE = 0.003
"""Motion of the jaw against the upper lip within a window, in mouth widths, that counts (0.13 px of a usual crop)."""
SPEECH_TURNS = 3
"""Changes between opening and closing within `SPEECH_NS` from which it is speech; an expression has one."""
SPEECH_NS = 1_500_000_000


class MotionFlags:
    """Flags of one face. Holds the mouth's last moves; everything else is in the window itself."""

    def __init__(self) -> None:
        self._moves: deque[tuple[int, int]] = deque(maxlen=256)

    def reset(self) -> None:
        """Forget the mouth's past."""
        self._moves.clear()

    def push(self, flow: SceneFlow, regions: Regions) -> tuple[str, ...]:
        """Flags of one window.

        Args:
            flow: head motion removed.
            regions: of the face at the window's begin.
        """
        flags = []
        if _blinks(flow.v, regions):
            flags.append("blink")
        if self._speaks(flow, regions):
            flags.append("speech")
        return tuple(flags)

    def _speaks(self, flow: SceneFlow, regions: Regions) -> bool:
        """Whether the jaw has turned round often enough lately."""
        opening = (_mean(flow.v, regions.jaw) - _mean(flow.v, regions.upper_lip)) / regions.jaw[2]
        if abs(opening) > SPEECH_SHARE:
            self._moves.append((flow.t_to_ns, 1 if opening > 0 else -1))
        while self._moves and flow.t_to_ns - self._moves[0][0] > SPEECH_NS:
            self._moves.popleft()
        signs = [sign for _, sign in self._moves]
        return sum(a != b for a, b in pairwise(signs)) >= SPEECH_TURNS


def _blinks(v: FloatMap, regions: Regions) -> bool:
    """Whether the lids of both eyes move the same way, and far."""
    left, right = (_mean(v, eye) / eye[2] for eye in regions.eyes)
    return min(left, right) > BLINK_SHARE or max(left, right) < -BLINK_SHARE


def _mean(field: FloatMap, box: CropBox) -> float:
    """Mean of a map over a box."""
    x, y, width, height = box
    return cv2.mean(field[y : y + height, x : x + width])[0]
