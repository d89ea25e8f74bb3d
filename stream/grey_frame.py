"""One frame in grey, converted where somebody looks: a followed face needs a fifth of the image, a search all of it."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from .face import GreyImage

Pixel = TypeVar("Pixel", np.uint8, np.uint16)

SLACK_PX = 8
"""Converted around what is asked for, because the next look falls a little beside it."""


def cut(image: NDArray[Pixel], x: int, y: int, width: int, height: int, border: int) -> NDArray[Pixel]:
    """A copy of a box that may reach over the image's edge; `border` is an OpenCV border type."""
    rows, columns = image.shape[:2]
    top, left = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
    bottom, right = max(min(y + height, rows), top + 1), max(min(x + width, columns), left + 1)
    part = image[top:bottom, left:right]
    if part.shape[:2] == (height, width):
        return part.copy()
    edges = (max(top - y, 0), max(y + height - bottom, 0), max(left - x, 0), max(x + width - right, 0))
    grown = cv2.copyMakeBorder(part, *edges, border)
    return np.ascontiguousarray(grown[:height, :width].astype(image.dtype, copy=False))


class GreyFrame:
    """Grey of one color frame; the buffer serves one frame after the other.

    Args:
        shape: (H, W) of the frames.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._grey: GreyImage = np.zeros(shape, dtype=np.uint8)
        self._color: NDArray[np.uint8] = np.zeros((*shape, 3), dtype=np.uint8)
        self._done = (0, 0, 0, 0)

    @classmethod
    def of(cls, grey: GreyImage) -> GreyFrame:
        """A frame that is grey already, (H, W) uint8."""
        frame = cls((0, 0))
        frame.shape, frame._grey, frame._done = grey.shape, grey, (0, 0, grey.shape[1], grey.shape[0])
        return frame

    def show(self, color: NDArray[np.uint8]) -> None:
        """Take the next frame, (H, W, 3) uint8 RGB; it must stay as it is while this shows it."""
        self._color, self._done = color, (0, 0, 0, 0)

    def whole(self) -> GreyImage:
        """(H, W) uint8, overwritten by the next frame."""
        self._convert(0, 0, self.shape[1], self.shape[0])
        return self._grey

    def region(self, x: int, y: int, width: int, height: int) -> GreyImage:
        """A copy of a box, (height, width) uint8; beyond the image's edge the edge is repeated."""
        rows, columns = self.shape
        left, top = min(max(x, 0), columns - 1), min(max(y, 0), rows - 1)
        right, bottom = max(min(x + width, columns), left + 1), max(min(y + height, rows), top + 1)
        self._convert(left, top, right, bottom)
        return cut(self._grey, x, y, width, height, cv2.BORDER_REPLICATE)

    def _convert(self, left: int, top: int, right: int, bottom: int) -> None:
        """See that these pixels are grey."""
        done_left, done_top, done_right, done_bottom = self._done
        if left >= done_left and top >= done_top and right <= done_right and bottom <= done_bottom:
            return
        if done_right:
            left, top = min(left, done_left), min(top, done_top)
            right, bottom = max(right, done_right), max(bottom, done_bottom)
        left, top = max(left - SLACK_PX, 0), max(top - SLACK_PX, 0)
        right, bottom = min(right + SLACK_PX, self.shape[1]), min(bottom + SLACK_PX, self.shape[0])
        part = (slice(top, bottom), slice(left, right))
        cv2.cvtColor(self._color[part], cv2.COLOR_RGB2GRAY, dst=self._grey[part])
        self._done = (left, top, right, bottom)
