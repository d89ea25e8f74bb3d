"""Example analyzer: MediaPipe's 52 face blendshapes (browInnerUp, mouthSmileLeft ...), 0..1 each.

The only door to mediapipe, which the extra `mediapipe` installs. Its model file is not part of that package.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from sfam.capture.frame import RGBDFrame

from .analyzer import Analyzer, AnalyzerError

MODEL_PAGE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"


class Blendshapes(Analyzer):
    """Face landmarker of MediaPipe in image mode: each frame on its own, the surest face only.

    Args:
        model: the file face_landmarker.task.
    """

    def __init__(self, model: Path) -> None:
        try:
            mediapipe: Any = import_module("mediapipe")
            tasks: Any = import_module("mediapipe.tasks.python")
        except ImportError as error:
            raise AnalyzerError(
                f"analyzer blendshapes needs mediapipe, which cannot be loaded ({error}); pip install "
                "'sfam-live[mediapipe]' in an environment of its own, as it holds numpy below 2"
            ) from error
        self._image: Any = mediapipe.Image
        self._srgb: Any = mediapipe.ImageFormat.SRGB
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(model)), output_face_blendshapes=True, num_faces=1
        )
        self._landmarker: Any = tasks.vision.FaceLandmarker.create_from_options(options)

    def analyze(self, frame: RGBDFrame) -> Mapping[str, float] | None:
        """Blendshape coefficients by MediaPipe's names; None without a face."""
        image = self._image(image_format=self._srgb, data=np.ascontiguousarray(frame.color))
        faces = self._landmarker.detect(image).face_blendshapes
        return {shape.category_name: float(shape.score) for shape in faces[0]} if faces else None

    def close(self) -> None:
        """End MediaPipe's threads."""
        self._landmarker.close()


def open_blendshapes(options: Mapping[str, Any]) -> Blendshapes:
    """Open the example; `options` holds `model`, the path of face_landmarker.task.

    Raises:
        AnalyzerError: no model file is given or there, or mediapipe is not installed.
    """
    given = options.get("model")
    if not given:
        raise AnalyzerError(
            f"analyzer blendshapes needs its model file: download face_landmarker.task from {MODEL_PAGE} and name it "
            "as the option model"
        )
    model = Path(str(given)).expanduser()
    if not model.is_file():
        raise AnalyzerError(
            f"analyzer blendshapes looked for its model at {model} and found no file; download face_landmarker.task "
            f"from {MODEL_PAGE} to there"
        )
    return Blendshapes(model)
