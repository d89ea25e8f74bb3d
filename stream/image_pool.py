"""Image memory used again once nobody holds it: fresh megabytes per frame cost more in page faults than the copy."""

from __future__ import annotations

import sys

import numpy as np

from sfam.capture.frame import ColorImage, DepthImage

_KEPT = 16


def _references(pair: tuple[ColorImage, DepthImage]) -> int:
    return max(sys.getrefcount(pair[0]), sys.getrefcount(pair[1]))


_UNHELD = _references((np.empty((1, 1, 3), np.uint8), np.empty((1, 1), np.uint16)))
"""References to an image that only its pair holds, as this interpreter counts them."""


class ImagePool:
    """Color and depth images of one shape. A view or a buffer of an image counts as holding it.

    Args:
        color_shape: (H, W).
        depth_shape: (Hd, Wd).
    """

    def __init__(self, color_shape: tuple[int, int], depth_shape: tuple[int, int]) -> None:
        self._color_shape = (*color_shape, 3)
        self._depth_shape = depth_shape
        self._pairs: list[tuple[ColorImage, DepthImage]] = []

    def take(self) -> tuple[ColorImage, DepthImage]:
        """A pair with undefined content that nobody else holds; fresh where all kept ones are in use."""
        for pair in self._pairs:
            if _references(pair) == _UNHELD:
                return pair[0], pair[1]  # not the pair itself: who holds only that holds no image
        pair = np.empty(self._color_shape, np.uint8), np.empty(self._depth_shape, np.uint16)
        if len(self._pairs) < _KEPT:
            self._pairs.append(pair)
        return pair[0], pair[1]
