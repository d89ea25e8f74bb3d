"""MediaPipe's face landmarker and where its model file comes from. The only door to mediapipe, which is an extra.

Its wheels hold no models. The file is the user's own, or it is fetched once and kept, and then it must be the one that
is known here: a model that changes behind its address would change results without a word.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfam.capture.user_folders import cache_folder

from .face import FaceError

MODEL_FILE = "face_landmarker.task"
MODEL_URL = f"https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/{MODEL_FILE}"
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
MOST_BYTES = 16 << 20
"""Read of what the address gives (the file has 3.8 MB)."""
TIMEOUT_S = 30.0
MESH_POINTS = 468
"""Points of the face mesh; the ten that may follow are the irises."""


@dataclass(frozen=True, slots=True, eq=False)
class MeshFace:
    """One face as the landmarker sees it."""

    points_px: NDArray[np.float32]
    """(468 or 478, 2) float32, pixels of the image it was given."""
    blendshapes: Mapping[str, float]
    """Coefficients 0..1 by MediaPipe's names; empty where they were not asked for."""


class FaceLandmarker:
    """Face landmarks in image mode: each image on its own.

    Args:
        model: the file face_landmarker.task.
        most: faces at most.
        blendshapes: also give their coefficients.

    Raises:
        FaceError: mediapipe is not installed, or does not take the file.
    """

    def __init__(self, model: Path, most: int = 1, *, blendshapes: bool = False) -> None:
        try:
            mediapipe: Any = import_module("mediapipe")
            tasks: Any = import_module("mediapipe.tasks.python")
        except (ImportError, OSError) as error:
            raise FaceError(
                f"mediapipe cannot be loaded ({error}); pip install 'sfam-live[mediapipe]', or use another face backend"
            ) from error
        self._image: Any = mediapipe.Image
        self._srgb: Any = mediapipe.ImageFormat.SRGB
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(model)),
            num_faces=most,
            output_face_blendshapes=blendshapes,
        )
        try:
            self._landmarker: Any = tasks.vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise FaceError(
                f"mediapipe does not take {model} as a face landmarker's model ({error}); download it anew from "
                f"{MODEL_URL}"
            ) from error

    def find(self, rgb: NDArray[np.uint8]) -> list[MeshFace]:
        """Faces in an (H, W, 3) uint8 RGB image, surest first."""
        image = self._image(image_format=self._srgb, data=np.ascontiguousarray(rgb))
        return mesh_faces(self._landmarker.detect(image), rgb.shape[1], rgb.shape[0])

    def close(self) -> None:
        """End MediaPipe's threads; safe to call twice."""
        self._landmarker.close()


def mesh_faces(result: Any, width: int, height: int) -> list[MeshFace]:
    """A `FaceLandmarkerResult`, whose points are shares of the image's size, in our own words."""
    scale = np.array((width, height), dtype=np.float32)
    shapes = result.face_blendshapes or [[]] * len(result.face_landmarks)
    return [
        MeshFace(
            np.array([(point.x, point.y) for point in points], dtype=np.float32) * scale,
            {shape.category_name: float(shape.score) for shape in face},
        )
        for points, face in zip(result.face_landmarks, shapes, strict=True)
    ]


def model_file(given: str | Path | None, setting: str) -> Path:
    """The model file: the one that was given, else the one that was fetched before, else fetched now.

    Args:
        given: path, None = not given.
        setting: what the user sets to give one, for the error's text.

    Raises:
        FaceError: no such file, or it cannot be fetched.
    """
    if given is None:
        return fetched_model(cache_folder() / "models", setting)
    path = Path(given).expanduser()
    if not path.is_file():
        raise FaceError(
            f"mediapipe's face model was looked for at {path}, where there is no file; download it from {MODEL_URL}, "
            f"or leave {setting} out to have it fetched"
        )
    return path


def fetched_model(folder: Path, setting: str, url: str | None = None, sha256: str | None = None) -> Path:
    """The model file in the user's cache, fetched there where it is missing or damaged.

    Raises:
        FaceError: the network does not give it, or gives another file.
    """
    url, sha256, path = url or MODEL_URL, sha256 or MODEL_SHA256, folder / MODEL_FILE
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
        return path
    instead = f"download {url} on a machine with a network and name the file as {setting}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            data: bytes = answer.read(MOST_BYTES)
    except (OSError, HTTPException) as error:
        raise FaceError(
            f"mediapipe's face model is not in {folder} and could not be fetched ({error}); {instead}"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise FaceError(
            f"{url} gave {len(data)} bytes with sha256 {found} instead of the known {sha256}; nothing was kept; "
            f"{instead}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{MODEL_FILE}.{os.getpid()}")
        beside.write_bytes(data)
        os.replace(beside, path)
    except OSError as error:
        raise FaceError(f"mediapipe's face model cannot be kept in {folder} ({error}); {instead}") from error
    return path
