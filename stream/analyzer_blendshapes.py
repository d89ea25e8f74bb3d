"""Example analyzer: MediaPipe's 52 face blendshapes (browInnerUp, mouthSmileLeft ...), 0..1 each.

Needs the extra `mediapipe`. Each frame is looked at on its own, the surest face only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfam.capture.frame import RGBDFrame

from .analyzer import Analyzer, AnalyzerError
from .face import FaceError
from .face_landmarker import FaceLandmarker, model_file


class Blendshapes(Analyzer):
    """The coefficients of the surest face.

    Args:
        landmarker: opened with `blendshapes`.
    """

    def __init__(self, landmarker: FaceLandmarker) -> None:
        self._landmarker = landmarker

    def analyze(self, frame: RGBDFrame) -> Mapping[str, float] | None:
        """Blendshape coefficients by MediaPipe's names; None without a face."""
        faces = self._landmarker.find(frame.color)
        return faces[0].blendshapes if faces else None

    def close(self) -> None:
        """End MediaPipe's threads."""
        self._landmarker.close()


def open_blendshapes(options: Mapping[str, Any]) -> Blendshapes:
    """Open the example; `options` may hold `model`, the path of face_landmarker.task, which is fetched otherwise.

    Raises:
        AnalyzerError: there is no model file, or mediapipe is not installed.
    """
    try:
        return Blendshapes(FaceLandmarker(model_file(options.get("model"), "the option model"), blendshapes=True))
    except FaceError as error:
        raise AnalyzerError(f"analyzer blendshapes: {error}") from error
