"""Privacy tier `blurred`: pictures in which nobody can be recognised, however the pixels are processed afterwards.

A mosaic keeps one average per block and throws the rest away, so unlike a blur it cannot be undone. Followed faces
become a handful of blocks each, on a grid that moves with the face, so that many frames together say no more than one.
The rest of the picture is a finer mosaic: people in the background, whom nobody follows, are not recognisable either.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sfam.capture.frame import ColorImage

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""

BLOCKS_ACROSS_FACE = 4
MARGIN = 0.5
"""Of a box's width and height added on every side: hair, ears, chin and a few frames of motion."""
BLOCKS_ACROSS_PICTURE = 40
BLOCKS_WITHOUT_FACE = 10
"""Across a picture in which no face is followed: there may be one all the same, of any size."""
_NEAREST = cv2.INTER_NEAREST


def pixelated(color: ColorImage, boxes: Sequence[Box]) -> ColorImage:
    """A copy of a picture, (H, W, 3) uint8, that shows where people are and not who.

    Args:
        color: the picture.
        boxes: of all followed faces in it, those just lost included; none = the whole picture becomes coarse.
    """
    height, width = color.shape[:2]
    across = BLOCKS_ACROSS_PICTURE if boxes else BLOCKS_WITHOUT_FACE
    shown = _mosaic(color, across, max(1, round(across * height / width)))
    for x, y, box_width, box_height in boxes:
        left, right = max(0, int(x - MARGIN * box_width)), min(width, int(x + (1 + MARGIN) * box_width))
        top, bottom = max(0, int(y - MARGIN * box_height)), min(height, int(y + (1 + MARGIN) * box_height))
        if left < right and top < bottom:
            blocks = round(BLOCKS_ACROSS_FACE * (1 + 2 * MARGIN))
            shown[top:bottom, left:right] = _mosaic(color[top:bottom, left:right], blocks, blocks)
    return shown


def _mosaic(image: ColorImage, across: int, down: int) -> ColorImage:
    height, width = image.shape[:2]
    blocks = cv2.resize(image, (min(across, width), min(down, height)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(blocks, (width, height), interpolation=_NEAREST), np.uint8)
