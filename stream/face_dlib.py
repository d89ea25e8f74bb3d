"""Default face backend: dlib's HOG detector and its 68 landmarks. The only door to dlib.

The landmark model was trained on the iBUG 300-W set, whose terms exclude commercial use; the file itself is CC0.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sfam.capture.user_folders import cache_folder

from .face import Box, Detection, FaceDetector, FaceError, FaceSettings, GreyImage, overlap

MODEL_FILE = "shape_predictor_68_face_landmarks.dat"
COARSE_WIDTH = 320
"""First search: finds faces from about a quarter of the image's width in 6 ms."""
FULL_WIDTH = 640
"""Second search, when the first found nothing: from 70 px of 640, 20 ms."""
FINE_WIDTH = 960
"""Every `FINE_EVERY`th fruitless attempt: from 50 px of 640, 45 ms."""
FINE_EVERY = 4
CHECK_FACE_PX = 100
"""A followed face is checked at this size in a window around it: a few milliseconds at any distance."""


def landmark_model() -> Path:
    """Path of the landmark model, without importing its package (which needs the removed pkg_resources).

    Raises:
        FaceError: when the package or its file is missing.
    """
    spec = find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise FaceError(
            "face backend dlib needs the package face_recognition_models (landmark model), which is not installed; "
            "pip install face_recognition_models, or use face_backend: manual"
        )
    path = Path(spec.origin).parent / "models" / MODEL_FILE
    if not path.is_file():
        raise FaceError(f"face backend dlib looked for {path} and found no file; reinstall face_recognition_models")
    return path


def frontal_detector(dlib: Any, folder: Callable[[], Path]) -> Any:
    """dlib's frontal face detector: unpacking it takes dlib half a second, a copy that is kept loads in 2 ms.

    Args:
        dlib: the module.
        folder: gives where the copy is, or is put where that can be done. Its name holds the sum of its bytes: a
            damaged one is not used, and replaced. Without a copy nothing is lost but time.
    """
    with suppress(OSError, RuntimeError):  # no such folder, not ours to read, or a copy that dlib does not take
        for path in folder().glob(f"frontal-{dlib.__version__}-*.svm"):
            if path.name.endswith(f"-{_sum_of(path)}.svm"):
                return dlib.fhog_object_detector(str(path))
    detector = dlib.get_frontal_face_detector()
    with suppress(OSError, RuntimeError):
        _keep(dlib, detector, folder())
    return detector


def _keep(dlib: Any, detector: Any, folder: Path) -> None:
    """Put a copy into a folder; one that dlib cannot load again (it does not tell of a full disk) is not kept."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{os.getpid()}.new"
    try:
        detector.save(str(beside))
        dlib.fhog_object_detector(str(beside))
        beside.replace(folder / f"frontal-{dlib.__version__}-{_sum_of(beside)}.svm")
    finally:
        beside.unlink(missing_ok=True)


def _sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


class DlibDetector(FaceDetector):
    """HOG detection on a small image first, larger ones only when nothing is found; landmarks at full size."""

    def __init__(self, settings: FaceSettings) -> None:
        try:
            import dlib
        except ImportError as error:
            raise FaceError(
                f"face backend dlib cannot be loaded ({error}); pip install dlib-bin, or use face_backend: manual"
            ) from error
        self._dlib: Any = dlib
        self._find: Any = frontal_detector(dlib, lambda: cache_folder() / "dlib")
        self._landmarks: Any = dlib.shape_predictor(str(landmark_model()))
        self._most = settings.most

    def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
        """See `FaceDetector.detect`."""
        if near:
            return [face for box in near for face in self._check(grey, box)]
        widths = [COARSE_WIDTH, FULL_WIDTH]
        if attempt % FINE_EVERY == FINE_EVERY - 1:
            widths.append(max(FINE_WIDTH, min(int(1.5 * grey.shape[1]), 2 * FINE_WIDTH)))
        for width in widths:
            faces = self._search(grey, grey, (0, 0), width / grey.shape[1])
            if len(faces) >= self._most:
                break
        return faces[: self._most]

    def _check(self, grey: GreyImage, box: Box) -> list[Detection]:
        """The face in a known box: of those around it the one that lies on it best."""
        x, y, width, height = box
        side = 2.0 * max(width, height)
        left, top = max(int(x + width / 2 - side / 2), 0), max(int(y + height / 2 - side / 2), 0)
        patch = grey[top : top + int(side), left : left + int(side)]
        if min(patch.shape) < 16:
            return []
        faces = self._search(grey, patch, (left, top), CHECK_FACE_PX / max(width, 1.0))
        return sorted(faces, key=lambda face: -overlap(box, face.box))[:1]

    def _search(self, grey: GreyImage, patch: GreyImage, origin: tuple[int, int], scale: float) -> list[Detection]:
        """Faces of a patch of `grey` looked at in another scale."""
        size = (max(round(patch.shape[1] * scale), 1), max(round(patch.shape[0] * scale), 1))
        method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
        small = (
            np.ascontiguousarray(patch) if size == patch.shape[::-1] else cv2.resize(patch, size, interpolation=method)
        )
        boxes, scores, _ = self._find.run(small, 0, 0.0)
        found = []
        for box, score in sorted(zip(boxes, scores, strict=True), key=lambda pair: -pair[1]):
            edges = (box.left(), box.top(), box.right() + 1, box.bottom() + 1)
            left, top, right, bottom = (round(edge / scale + origin[i % 2]) for i, edge in enumerate(edges))
            shape = self._landmarks(grey, self._dlib.rectangle(left, top, right - 1, bottom - 1))
            points = np.array([(part.x, part.y) for part in shape.parts()], dtype=np.float32)
            found.append(Detection(points, float(score)))
        return found
