"""What there was before, as a benchmark subject only: TV-L1 flow, optical strain and crop, one window at a time."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.stream.scene_flow import FloatMap

_UPPER = (slice(28, 58), slice(14, 114))
_LOWER = (slice(84, 114), slice(34, 94))
_PART_SIZE = (42, 21)


class Predecessor:
    """Dual TV-L1 with OpenCV's defaults on 128 x 128 grey crops, then three 42 x 42 maps of u, v and strain."""

    def __init__(self) -> None:
        create = getattr(cv2.optflow, "DualTVL1OpticalFlow_create")  # noqa: B009  (missing from OpenCV's type stubs)
        self._solver = create()

    def flow(self, reference: NDArray[np.uint8], moving: NDArray[np.uint8]) -> tuple[FloatMap, FloatMap]:
        """u, v px of two (128, 128) uint8 crops."""
        both = self._solver.calc(reference, moving, None)
        return cast(FloatMap, both[..., 0]), cast(FloatMap, both[..., 1])

    def window(self, reference: NDArray[np.uint8], moving: NDArray[np.uint8]) -> FloatMap:
        """(3, 42, 42) float32: the whole per-window function."""
        u, v = self.flow(reference, moving)
        return np.stack([_cut(image) for image in (u, v, _strain(u, v))])


def _strain(u: FloatMap, v: FloatMap) -> FloatMap:
    """Magnitude of the infinitesimal strain tensor."""
    along_y, along_x = np.gradient(u), np.gradient(v)
    shear = 0.5 * (along_y[0] + along_x[1])
    return cast(FloatMap, np.sqrt(along_y[1] ** 2 + along_x[0] ** 2 + 2 * shear**2))


def _cut(image: FloatMap) -> FloatMap:
    """Brows and eyes above the mouth, each 21 x 42."""
    parts = [cv2.resize(image[rows], _PART_SIZE, interpolation=cv2.INTER_AREA) for rows in (_UPPER, _LOWER)]
    return cast(FloatMap, np.concatenate(parts))
