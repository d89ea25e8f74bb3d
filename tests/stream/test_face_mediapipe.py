"""The mediapipe backend on real networks: a face with known landmarks, and the reference recording."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sfam.capture.face_sequence import FaceSequence
from sfam.capture.sequence_plan import EndlessPlan
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from sfam.stream.face import FaceSettings, GreyImage, Landmarks, open_detector
from tests.app.command import run
from tests.shared_data import shared
from tests.stream.mediapipe_networks import model_of_networks

JAW = 17
"""The outline of a mesh is where skin turns away from the camera, that of the landmarks is drawn on the cheek."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("mediapipe") is None and "SFAM_REQUIRE_MEDIAPIPE" not in os.environ:
        pytest.skip("the extra mediapipe is not installed")
    return model_of_networks(tmp_path_factory.mktemp("networks"))


def seen(sequence: FaceSequence, index: int) -> tuple[GreyImage, Landmarks]:
    grey = cv2.cvtColor(sequence.frame(index).color, cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, np.uint8), sequence.landmarks(index).astype(np.float32)


def test_its_landmarks_lie_on_the_face_in_search_and_check(model: Path) -> None:
    detector = open_detector(FaceSettings("mediapipe", str(model)))
    sequence = FaceSequence(EndlessPlan(1))
    for index in (0, 45):
        grey, truth = seen(sequence, index)
        between_eyes = float(np.linalg.norm(truth[36] - truth[45]))
        (found,) = detector.detect(grey, (), 0)
        (checked,) = detector.detect(grey, (found.box,), 0)
        for face in (found, checked):
            off = np.linalg.norm(face.landmarks_px - truth, axis=1)[JAW:] / between_eyes
            assert off.mean() < 0.05
            assert off.max() < 0.12
    assert detector.detect(np.full_like(grey, 128), (), 0) == []
    assert detector.detect(np.full_like(grey, 128), (found.box,), 0) == []
    detector.close()
    detector.close()


def test_a_program_that_closed_its_analysis_ends_without_a_word(model: Path) -> None:
    program = (
        "from sfam.stream.analysis import Analysis; from sfam.stream.config import StreamConfig\n"
        "from sfam.capture.face_sequence import FaceSequence; from sfam.capture.sequence_plan import EndlessPlan\n"
        f"analysis = Analysis(StreamConfig(face_backend='mediapipe', face_model={str(model)!r}))\n"
        "detector = analysis._detector\n"  # what a name of the program still holds is ended last
        "sequence = FaceSequence(EndlessPlan(1))\n"
        "for index in range(12): analysis.push(sequence.frame(index))\n"
        "print(len(analysis.tracks)); analysis.close()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "1\n"
    assert "Error" not in done.stderr


def test_a_detector_that_was_handed_in_is_its_owners_to_close(model: Path) -> None:
    detector = open_detector(FaceSettings("mediapipe", str(model)))
    Analysis(StreamConfig(), detector=detector).close()
    grey, _ = seen(FaceSequence(EndlessPlan(1)), 0)
    assert len(detector.detect(grey, (), 0)) == 1
    detector.close()


def test_the_reference_recording_gives_its_events(model: Path, tmp_path: Path) -> None:
    done = run("sfam-live", "--camera", shared("recordings/face_a.bag"), "--speed", "max", "--publish", "none",
               "--set", "stream.face_backend=mediapipe", "--set", f"stream.face_model={model}",
               "--out", tmp_path / "session")  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (tmp_path / "session" / "events.csv").open(newline="") as table:
        micros = [row for row in csv.DictReader(table) if row["kind"] == "micro"]
    assert [(row["state"], row["emotion"]) for row in micros] == [("confirmed", "others"), ("confirmed", "negative")]
