"""A face detector at the other end of a connection: dlib holds the interpreter's lock, so in a thread it stops all."""

from __future__ import annotations

import math
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import cv2
import numpy as np

from .face import Box, Detection, FaceDetector, FaceError, FaceSettings, GreyImage, Landmarks, open_detector

LOADED_S = 180.0
"""Its model is a large file: a slow disk on a busy machine may need this long."""
ANSWERED_S = 4.0
"""A search takes tens of milliseconds; what takes so much longer hangs. The frames wait for it meanwhile."""
TAKEN_S = 2
"""Whole seconds after which a write that finds no room fails; an image takes a few of them."""
LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class _Question:
    """Goes before the image's bytes."""

    shape: tuple[int, int]
    near: tuple[Box, ...]
    attempt: int


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was found, or why nothing could be."""

    faces: tuple[tuple[Landmarks, float], ...] = ()
    error: str = ""


class RemoteDetector(FaceDetector):
    """Asks the process that runs `answer`; where that is gone or hangs, detects in this one from then on.

    Either way a detection gives the same faces. Several threads may ask, one after the other.

    Args:
        connection: to that process.
        settings: what it was opened by.
        on_loss: told once, why it is not asked any more.
    """

    def __init__(self, connection: Connection, settings: FaceSettings, on_loss: Callable[[str], None]) -> None:
        self._connection = connection
        self._settings = settings
        self._on_loss = on_loss
        _bound_writes(connection)
        self._asking = threading.Lock()
        self._loaded = False
        self._refused: FaceError | None = None
        self._lost = False
        self._local: FaceDetector | None = None

    def load(self) -> None:
        """See `FaceDetector.load`."""
        with self._asking:
            if not self._loaded:
                self._loaded = True
                try:
                    _heard(self._connection, LOADED_S)
                except FaceError as error:
                    self._refused = error
                except (EOFError, OSError) as error:
                    self._go_on_alone(error)
            if self._refused is not None:
                raise self._refused

    def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
        """See `FaceDetector.detect`.

        Raises:
            FaceError: the detector failed on this image.
        """
        self.load()
        with self._asking:
            if not self._lost:
                try:
                    return self._ask(grey, near, attempt)
                except (EOFError, OSError) as error:
                    self._go_on_alone(error)
            self._local = self._local or open_detector(self._settings)
            return self._local.detect(grey, near, attempt)

    def _ask(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
        self._connection.send(_Question((grey.shape[0], grey.shape[1]), near, attempt))
        self._connection.send_bytes(np.ascontiguousarray(grey).data.cast("B"))
        return [Detection(landmarks, score) for landmarks, score in _heard(self._connection, ANSWERED_S).faces]

    def _go_on_alone(self, error: Exception) -> None:
        self._lost = True
        self._connection.close()
        how = "does not answer" if isinstance(error, (TimeoutError, BlockingIOError)) else "ended"
        self._on_loss(f"the face detector's process {how}; faces are found in the analysis process from now on")


def _bound_writes(connection: Connection) -> None:
    """An image is larger than what a connection holds: let writing to a process that does not read fail in time.

    Windows has no such bound: there a detector that hangs holds up the session until it is killed.
    """
    if sys.platform != "win32":
        with socket.socket(fileno=os.dup(connection.fileno())) as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", TAKEN_S, 0))


def _heard(connection: Connection, timeout_s: float) -> _Answer:
    """The next answer.

    Raises:
        FaceError: the answer is an error.
        TimeoutError: none came in time.
        EOFError, OSError: none will come.
    """
    # In short looks: a machine or a group of processes that was stopped meanwhile has not waited for all that time.
    if not any(connection.poll(LOOK_S) for _ in range(math.ceil(timeout_s / LOOK_S))):
        raise TimeoutError(f"no answer within {timeout_s:g} s")
    answer: _Answer = connection.recv()
    if answer.error:
        raise FaceError(answer.error)
    return answer


def answer(settings: FaceSettings, connection: Connection) -> None:
    """Detect for a `RemoteDetector` until its end of the connection is closed.

    Args:
        settings: of the detector, which is opened here.
        connection: to its owner.
    """
    cv2.setNumThreads(settings.opencv_threads)
    with suppress(EOFError, OSError):  # whoever asks is gone: the end
        try:
            detector = open_detector(settings)
        except Exception as error:  # goes to whoever asked
            text = str(error) if isinstance(error, FaceError) else f"{type(error).__name__}: {error}"
            connection.send(_Answer(error=text))
            return
        connection.send(_Answer())
        while True:
            question: _Question = connection.recv()
            grey = np.frombuffer(connection.recv_bytes(), dtype=np.uint8).reshape(question.shape)
            connection.send(_detected(detector, grey, question))


def _detected(detector: FaceDetector, grey: GreyImage, question: _Question) -> _Answer:
    try:
        found = detector.detect(grey, question.near, question.attempt)
    except Exception as error:  # goes to whoever asked
        return _Answer(error=f"face detection failed: {type(error).__name__}: {error}")
    return _Answer(tuple((face.landmarks_px, face.score) for face in found))
