"""Pictures for the operator's own screen, straight from the session's ring: they never touch bus, disk or analysis."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import ColorImage, RGBDFrame

from .ring_onlooker import RingOnlooker

LONGEST_SIDE_PX = 960
DEPTH_SIDE_PX = 320
KEPT = 4
NEAR_SHARE = 0.05
"""Of the depth pixels may be nearer than what the colors begin at: stray points before the face."""
DEPTH_SPAN_M = 0.5
NEAR_STEP_M = 0.05
Pixel = TypeVar("Pixel", np.uint8, np.uint16)


@dataclass(frozen=True, slots=True, eq=False)
class LiveFrame:
    """One captured frame, small enough to be shown."""

    frame: int
    t_capture_ns: int
    width: int
    height: int
    """Of the color image as captured; boxes and crops count in its pixels."""
    color: ColorImage
    """(h, w, 3) uint8 RGB, at most 960 px wide or high."""
    depth: ColorImage
    """(h, w, 3) uint8 RGB: near is red, far is blue, unknown is black; at most 320 px wide or high."""
    depth_m: tuple[float, float]
    """What the colors begin and end at."""

    @classmethod
    def of(cls, frame: RGBDFrame) -> LiveFrame:
        """A frame made small."""
        height, width = frame.color.shape[:2]
        near = _fit(frame.depth, DEPTH_SIDE_PX, cv2.INTER_NEAREST)
        depth, span_m = depth_picture(near, frame.depth_scale_m)
        color = _fit(frame.color, LONGEST_SIDE_PX, cv2.INTER_AREA)
        return cls(frame.sequence, frame.t_capture_ns, width, height, color, depth, span_m)


def depth_picture(depth: NDArray[np.uint16], scale_m: float) -> tuple[ColorImage, tuple[float, float]]:
    """Depth in colors, (H, W, 3) uint8 RGB, over half a metre from the nearest surface on, and that range in metres."""
    known = depth > 0
    near_m = float(np.quantile(depth[known], NEAR_SHARE)) * scale_m if known.any() else 0.0
    near_m = NEAR_STEP_M * int(near_m / NEAR_STEP_M + 1e-6)  # steps, so that the colors stand still
    share = np.clip((depth.astype(np.float32) * scale_m - near_m) / DEPTH_SPAN_M, 0.0, 1.0)
    colors = cv2.applyColorMap((255 * (1 - share)).astype(np.uint8), cv2.COLORMAP_TURBO)[:, :, ::-1]
    return np.asarray(np.where(known[:, :, None], colors, 0), np.uint8), (near_m, near_m + DEPTH_SPAN_M)


def _fit(image: NDArray[Pixel], longest_px: int, interpolation: int) -> NDArray[Pixel]:
    height, width = image.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), image.dtype)


class LiveFrames:
    """Frames of a ring, made small on a thread of their own.

    Args:
        ring: its name.
        rate_hz: frames a second at most.
    """

    def __init__(self, ring: str, rate_hz: float = 15.0) -> None:
        self._found: deque[LiveFrame] = deque(maxlen=KEPT)
        self._onlooker = RingOnlooker(ring, rate_hz, self._take, self._fail)
        self.failure = ""
        """Why no more frames come; the session's proper end is none."""

    def start(self) -> None:
        """Begin to follow."""
        self._onlooker.start()

    def news(self) -> list[LiveFrame]:
        """What has come since the last call, oldest first."""
        return [self._found.popleft() for _ in range(len(self._found))]

    def leave(self) -> None:
        """End; safe to call twice."""
        self._onlooker.leave()

    def _take(self, frame: RGBDFrame) -> None:
        self._found.append(LiveFrame.of(frame))

    def _fail(self, why: str) -> None:
        self.failure = why
