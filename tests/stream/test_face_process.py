from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess

import cv2
import numpy as np
import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.synthetic import SyntheticSource
from sfam.stream import face_process
from sfam.stream.face import Box, Detection, FaceError, FaceSettings, open_detector
from sfam.stream.face_process import RemoteDetector, answer

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@pytest.fixture(scope="module")
def greys() -> list[np.ndarray]:
    source = SyntheticSource(CaptureConfig())
    return [cv2.cvtColor(source.sequence.frame(index).color, cv2.COLOR_RGB2GRAY) for index in (0, 40)]


class Asked:
    """A detector in a process of its own, and what was said of its loss."""

    def __init__(self, settings: FaceSettings) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=answer, args=(settings, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.connection = ours
        self.losses: list[str] = []
        self.detector = RemoteDetector(ours, settings, self.losses.append)

    def end(self) -> int | None:
        self.connection.close()
        self.process.join(20.0)
        code = self.process.exitcode
        self.process.kill()
        return code


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    monkeypatch.setattr(face_process, "ANSWERED_S", 1.0)
    monkeypatch.setattr(face_process, "TAKEN_S", 1)
    remote = Asked(FaceSettings())
    remote.detector.load()
    yield remote
    remote.end()


def told(faces: list[Detection]) -> list[tuple[float, list[list[float]]]]:
    return [(face.score, face.landmarks_px.tolist()) for face in faces]


def test_another_process_finds_the_same_faces_and_ends_with_the_connection(
    asked: Asked, greys: list[np.ndarray]
) -> None:
    here = open_detector(FaceSettings())
    boxes: list[Box] = []
    for grey in greys:
        found = asked.detector.detect(grey, (), 0)
        assert told(found) == told(here.detect(grey, (), 0))
        boxes.append(found[0].box)
    near = (boxes[0],)
    assert told(asked.detector.detect(greys[1], near, 1)) == told(here.detect(greys[1], near, 1))
    assert len(boxes) == 2
    assert asked.losses == []
    assert asked.end() == 0


@POSIX
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_where_the_process_dies_or_hangs_faces_are_found_here(
    asked: Asked, greys: list[np.ndarray], how: signal.Signals
) -> None:
    before = told(asked.detector.detect(greys[0], (), 0))
    assert asked.process.pid is not None
    os.kill(asked.process.pid, how)
    if how == signal.SIGKILL:
        asked.process.join()
    assert told(asked.detector.detect(greys[0], (), 0)) == before
    assert told(asked.detector.detect(greys[0], (), 0)) == before
    verb = "ended" if how == signal.SIGKILL else "does not answer"
    assert asked.losses == [f"the face detector's process {verb}; faces are found in the analysis process from now on"]
    asked.process.kill()


def test_a_backend_that_cannot_be_opened_there_is_an_error_here() -> None:
    remote = Asked(FaceSettings("manual"))
    with pytest.raises(FaceError, match="face_box"):
        remote.detector.load()
    with pytest.raises(FaceError, match="face_box"):
        remote.detector.load()
    assert remote.losses == []
    assert remote.end() == 0


def test_whatever_keeps_a_backend_from_opening_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(_: FaceSettings) -> None:
        raise RuntimeError("Unexpected end of file")

    monkeypatch.setattr(face_process, "open_detector", damaged)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    answer(FaceSettings(), theirs)
    with pytest.raises(FaceError, match="RuntimeError: Unexpected end of file"):
        RemoteDetector(ours, FaceSettings(), lambda text: None).load()


def test_a_detector_that_nobody_asks_any_more_ends_without_a_word() -> None:
    remote = Asked(FaceSettings("manual", box=(1, 1, 20, 20)))
    assert remote.end() == 0, "its word that it has loaded found nobody; a traceback gives exit code 1"


def test_an_image_that_it_fails_on_is_an_error_and_the_next_is_not(asked: Asked, greys: list[np.ndarray]) -> None:
    with pytest.raises(FaceError, match="face detection failed: "):
        asked.detector.detect(greys[0], ((float("nan"), 0.0, 1.0, 1.0),), 0)
    assert len(asked.detector.detect(greys[0], (), 0)) == 1
