"""The contract of face detectors, the lazy registry, and detections that take effect after a fixed number of frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import cast

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Landmarks = NDArray[np.float32]
GreyImage = NDArray[np.uint8]


class FaceError(RuntimeError):
    """A face backend cannot be opened; the text says what to install or set."""


@dataclass(frozen=True, slots=True)
class FaceSettings:
    """What a detector is opened by. Plain, so that another process has it without loading what checks settings."""

    backend: str = "dlib"
    """A name in `BACKENDS`."""
    model: str | None = None
    """mediapipe: path of its model; None = fetched once and kept."""
    box: tuple[int, int, int, int] | None = None
    """manual: x, y, width, height of the face, color pixels."""
    most: int = 1
    """Faces followed at once."""
    opencv_threads: int = 1
    """In a process of the detector's own."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face as a detector saw it."""

    landmarks_px: Landmarks
    """(68, 2) float32, color pixels, iBUG order."""
    score: float
    """Detector's own score, larger is surer."""

    @property
    def box(self) -> Box:
        """x, y, width, height of the landmarks in color pixels."""
        return landmark_box(self.landmarks_px)


class FaceDetector(ABC):
    """Finds faces and their 68 landmarks in one grey image. Called from one worker thread at a time."""

    @abstractmethod
    def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
        """Faces in `grey`, surest first.

        Args:
            grey: (H, W) uint8.
            near: boxes of faces that are followed now and are to be checked; empty = search the whole image.
            attempt: searches of the whole image since a face was last seen, from 0; a detector may look harder from
                time to time, at a bounded cost.
        """

    def load(self) -> None:  # noqa: B027 - most have loaded all once they exist
        """Wait until it can detect.

        Raises:
            FaceError: it never will.
        """

    def close(self) -> None:  # noqa: B027 - most hold nothing that has to be ended
        """End what it runs; safe to call twice."""


BACKENDS: dict[str, str] = {
    "dlib": "face_dlib:DlibDetector",
    "mediapipe": "face_mediapipe:MediapipeDetector",
    "manual": "face_manual:ManualDetector",
}
"""Detectors by name as 'module:class' in this room."""


def open_detector(settings: FaceSettings) -> FaceDetector:
    """Open the backend that `settings.backend` names.

    Raises:
        FaceError: the library or its model is missing, or a setting it needs.
    """
    module, _, attribute = BACKENDS[settings.backend].partition(":")
    return cast(FaceDetector, getattr(import_module(f".{module}", __package__), attribute)(settings))


def landmark_box(landmarks: Landmarks) -> Box:
    """x, y, width, height of a set of landmarks."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (first[2] * first[3] + second[2] * second[3] - shared + 1e-9)


@dataclass(frozen=True, slots=True, eq=False)
class DueDetection:
    """A detection that takes effect now."""

    position: int
    """Position (count of frames seen) of the frame it was made on."""
    checked: bool
    """True when only the surroundings of followed faces were searched."""
    faces: tuple[Detection, ...]


class DetectionQueue:
    """At most one detection under way; it takes effect exactly `delay` frames after its frame, whatever the load.

    One worker thread waits for the detector. dlib holds the interpreter's lock while it detects, so that the frames in
    between go on only where it is asked in another process (`RemoteDetector`).
    """

    def __init__(self, detector: FaceDetector, delay: int) -> None:
        self._detector = detector
        self._delay = delay
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="face")
        self._pending: tuple[int, bool, Future[list[Detection]]] | None = None

    @property
    def busy(self) -> bool:
        """Whether a detection is under way."""
        return self._pending is not None

    def submit(self, position: int, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> None:
        """Start a detection; `grey` must stay as it is for `delay` more frames."""
        if self._pending is None:
            future = self._worker.submit(self._detector.detect, grey, near, attempt)
            self._pending = (position, bool(near), future)

    def take(self, position: int) -> DueDetection | None:
        """The detection that takes effect at this position; waits for the worker when it is late."""
        if self._pending is None or position < self._pending[0] + self._delay:
            return None
        submitted, checked, future = self._pending
        self._pending = None
        return DueDetection(submitted, checked, tuple(future.result()))

    def clear(self) -> None:
        """Forget what is under way (waits for the worker, which may still read the frame)."""
        if self._pending is not None:
            self._pending[2].exception()
            self._pending = None

    def close(self) -> None:
        """End the worker thread; safe to call twice."""
        self._pending = None
        self._worker.shutdown(wait=True)
