"""Text on a picture: OpenCV's own scalable font where this OpenCV has one, its stroke font elsewhere."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

STROKE_FONT = cv2.FONT_HERSHEY_SIMPLEX
STROKE_FONT_PX = 30.0
"""Height in px of the stroke font at scale 1."""
PLAIN_SIGNS = str.maketrans({"·": "-"})
"""What the stroke font does not have."""


@cache
def _scalable_font() -> Any:
    """The built-in font of OpenCV 5; None in OpenCV 4."""
    face = getattr(cv2, "FontFace", None)
    return None if face is None else face("sans")


def put_text(
    image: NDArray[np.uint8], text: str, left_base: tuple[int, int], color: Color, size_px: int, weight: int = 400
) -> None:
    """Write one line.

    Args:
        image: (H, W, 3) uint8, written in place.
        text: what to write.
        left_base: x of the first letter and y of the line the letters stand on, px.
        color: blue, green, red.
        size_px: height of the font.
        weight: 400 regular, 600 semibold, 700 bold.
    """
    font = _scalable_font()
    if font is None:
        bold = 2 if weight >= 600 else 1
        plain = text.translate(PLAIN_SIGNS)
        cv2.putText(image, plain, left_base, STROKE_FONT, size_px / STROKE_FONT_PX, color, bold, cv2.LINE_AA)
    else:
        cv2.putText(image, text, left_base, color, font, size_px, weight)


def text_width(text: str, size_px: int, weight: int = 400) -> int:
    """Width of a line in px."""
    font = _scalable_font()
    if font is None:
        bold = 2 if weight >= 600 else 1
        return cv2.getTextSize(text.translate(PLAIN_SIGNS), STROKE_FONT, size_px / STROKE_FONT_PX, bold)[0][0]
    left, _, width, _ = cv2.getTextSize((4096, 4096), text, (0, 0), font, size_px, weight)
    return int(left + width)
