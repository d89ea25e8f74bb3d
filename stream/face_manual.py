"""Face backend without a model: the user says where the face is, a generic face says where brows and mouth are."""

from __future__ import annotations

import numpy as np

from .face import Box, Detection, FaceDetector, FaceError, FaceSettings, GreyImage, Landmarks


def _arc(left: float, right: float, ends: float, middle: float, count: int) -> list[tuple[float, float]]:
    """Points from left to right on a parabola that has height `ends` at both ends and `middle` half way."""
    steps = np.linspace(-1.0, 1.0, count)
    heights = middle + (ends - middle) * steps**2
    return list(zip(np.linspace(left, right, count).tolist(), heights.tolist(), strict=True))


def _lips(half_width: float, upper: float, lower: float, top: int, bottom: int) -> list[tuple[float, float]]:
    """A mouth ring about (0.5, 0.72), clockwise from its left corner: `top` points above, `bottom` below."""
    above = _arc(0.5 - half_width, 0.5 + half_width, 0.72, 0.72 - upper, top)
    below = _arc(0.5 - half_width, 0.5 + half_width, 0.72, 0.72 + lower, bottom + 2)
    return above + below[-2:0:-1]


def _eye(centre: float) -> list[tuple[float, float]]:
    """An eye about (centre, 0.17), clockwise from its left corner: six points."""
    offsets = ((-0.095, 0.0), (-0.035, -0.035), (0.035, -0.035), (0.095, 0.0), (0.035, 0.03), (-0.035, 0.03))
    return [(centre + x, 0.17 + y) for x, y in offsets]


def template_landmarks() -> Landmarks:
    """A generic frontal face: (68, 2) float32 in iBUG order, spanning 0..1 in x and in y (brows to chin).

    Drawn from plain arcs after common facial proportions; good enough to choose regions, which is all landmarks do.
    """
    angles = np.linspace(np.pi, 0.0, 17)
    jaw = [(0.5 + 0.5 * np.cos(angle), 0.18 + 0.82 * np.sin(angle) ** 0.8) for angle in angles]
    brows = _arc(0.1, 0.42, 0.07, 0.0, 5) + _arc(0.58, 0.9, 0.07, 0.0, 5)
    nose = [(0.5, y) for y in (0.16, 0.26, 0.36, 0.46)] + _arc(0.38, 0.62, 0.5, 0.54, 5)
    mouth = _lips(0.19, 0.06, 0.1, 7, 5) + _lips(0.15, 0.012, 0.02, 5, 3)
    points = np.array(jaw + brows + nose + _eye(0.28) + _eye(0.72) + mouth, dtype=np.float32)
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray((points - low) / (high - low), dtype=np.float32)


class ManualDetector(FaceDetector):
    """Answers every search with the box of the settings, and every check with what is followed already."""

    def __init__(self, settings: FaceSettings) -> None:
        if settings.box is None or min(settings.box[2:]) < 16:
            raise FaceError(
                f"face backend manual needs stream.face_box: [x, y, width, height] of the face (ear to ear, brows to "
                f"chin) in color pixels, at least 16 wide and high; found {settings.box}"
            )
        self._box = settings.box

    def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
        """See `FaceDetector.detect`; a box outside the image finds nothing."""
        if near:
            return [_placed(box) for box in near]
        x, y, width, height = self._box
        inside = x >= 0 and y >= 0 and x + width <= grey.shape[1] and y + height <= grey.shape[0]
        return [_placed((x, y, width, height))] if inside else []


def _placed(box: Box) -> Detection:
    """The generic face in a box."""
    scale = np.array(box[2:], dtype=np.float32)
    return Detection(template_landmarks() * scale + np.array(box[:2], dtype=np.float32), 1.0)
