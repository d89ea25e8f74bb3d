"""Face backend of the extra `mediapipe`: its face mesh, of which 68 points stand for the iBUG landmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .face import Box, Detection, FaceDetector, FaceSettings, GreyImage, Landmarks, overlap
from .face_landmarker import FaceLandmarker, MeshFace, model_file

AROUND = 2.0
"""A followed face is checked in a square of this many times its larger side."""
JAW = (127, 234, 93, 132, 58, 172, 150, 148, 152, 377, 379, 397, 288, 361, 323, 454, 356)
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
NOSE = (168, 197, 195, 4, 98, 97, 2, 326, 327)
EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
LIPS = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402, 14, 178)
MESH_OF_LANDMARK = JAW + BROWS + NOSE + EYES + LIPS
"""Number in the face mesh of each of the 68 landmarks, in iBUG order: the mesh point that lies nearest by its place on
the outline, brow, nose, eye or lip it belongs to. Good enough to choose regions, which is all landmarks do."""


class MediapipeDetector(FaceDetector):
    """The whole image while a face is missing, and only the surroundings of faces that are followed."""

    def __init__(self, settings: FaceSettings) -> None:
        model = model_file(settings.model, "stream.face_model")
        self._landmarker = FaceLandmarker(model, settings.most)

    def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
        """See `FaceDetector.detect`."""
        if not near:
            return [detection(face) for face in self._landmarker.find(_as_rgb(grey))]
        checked = (self._check(grey, box) for box in near)
        return [face for face in checked if face is not None]

    def close(self) -> None:
        """End MediaPipe's threads, which complain where the program ends before them."""
        self._landmarker.close()

    def _check(self, grey: GreyImage, box: Box) -> Detection | None:
        """The face that lies best on a known box, among those around it."""
        x, y, width, height = box
        side = int(AROUND * max(width, height))
        left, top = max(int(x + (width - side) / 2), 0), max(int(y + (height - side) / 2), 0)
        patch = grey[top : top + side, left : left + side]
        if min(patch.shape) < 16:
            return None
        faces = [detection(face, (left, top)) for face in self._landmarker.find(_as_rgb(patch))]
        return max(faces, key=lambda face: overlap(box, face.box), default=None)


def detection(face: MeshFace, origin: tuple[int, int] = (0, 0)) -> Detection:
    """The 68 landmarks of a mesh that was found in a patch with this corner."""
    return Detection(landmarks_of(face.points_px) + np.array(origin, dtype=np.float32), 1.0)


def landmarks_of(mesh_px: NDArray[np.float32]) -> Landmarks:
    """(68, 2) landmarks in iBUG order of a mesh, (468 or more, 2)."""
    return np.ascontiguousarray(mesh_px[list(MESH_OF_LANDMARK)])


def _as_rgb(grey: GreyImage) -> NDArray[np.uint8]:
    """Three equal channels; the mesh takes color, but finds faces by shape."""
    return np.repeat(grey[:, :, None], 3, axis=2)
