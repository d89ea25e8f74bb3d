from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.recording_source import RecordingSource
from sfam.stream import face_dlib
from sfam.stream.face import FaceError, FaceSettings
from sfam.stream.face_dlib import DlibDetector, landmark_model
from tests.shared_data import shared


@pytest.fixture(scope="module")
def detector() -> DlibDetector:
    return DlibDetector(FaceSettings())


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    with RecordingSource(CaptureConfig(camera=str(shared("recordings/face_a.bag")))) as source:
        return cv2.cvtColor(next(iter(source.frames())).color, cv2.COLOR_RGB2GRAY)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    text = shared("recordings/face_a.truth.json").read_text()
    return np.array(json.loads(text)["landmarks68_frame0"], dtype=np.float32)


def test_landmarks_lie_where_they_are(detector: DlibDetector, grey: np.ndarray, truth: np.ndarray) -> None:
    found = detector.detect(grey, (), 0)
    assert len(found) == 1
    distance = np.linalg.norm(found[0].landmarks_px - truth, axis=1)
    assert distance.mean() < 2.0
    assert distance[17:].max() < 4.0


@pytest.mark.parametrize("face_px", [60, 90, 133, 200, 300])
def test_faces_of_60_to_300_px_are_found(
    detector: DlibDetector, grey: np.ndarray, truth: np.ndarray, face_px: int
) -> None:
    gain = face_px / float(np.ptp(truth[:17, 0]))
    placed = np.array(((gain, 0, 320 - gain * 328), (0, gain, 240 - gain * 250)))
    image = cv2.warpAffine(grey, placed, (640, 480), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    shown = np.asarray(image, dtype=np.uint8)
    found = next(faces for attempt in range(4) if (faces := detector.detect(shown, (), attempt)))
    expected = truth * np.float32(gain) + placed[:, 2].astype(np.float32)
    assert np.linalg.norm(found[0].landmarks_px - expected, axis=1).mean() < 0.04 * face_px


def test_a_check_looks_around_the_known_face_only(detector: DlibDetector, grey: np.ndarray, truth: np.ndarray) -> None:
    low, high = truth.min(axis=0), truth.max(axis=0)
    box = (float(low[0]) + 10, float(low[1]) - 10, float(high[0] - low[0]), float(high[1] - low[1]))
    assert len(detector.detect(grey, (box,), 0)) == 1
    assert detector.detect(grey, ((5.0, 5.0, 90.0, 90.0),), 0) == []


def test_a_wall_has_no_face(detector: DlibDetector) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (480, 640)).astype(np.uint8)
    for image in (np.full((480, 640), 90, np.uint8), noise, np.full((480, 640), 255, np.uint8)):
        assert detector.detect(image, (), 0) == []


def test_detection_leaves_the_interpreter_to_others(detector: DlibDetector, grey: np.ndarray) -> None:
    large = cv2.resize(grey, (1920, 1440))
    worker = threading.Thread(target=detector._find.run, args=(large, 0, 0.0))
    turns, started = 0, time.perf_counter()
    worker.start()
    while worker.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns > 20 * (time.perf_counter() - started)


def test_a_missing_model_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "face_recognition_models.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    with pytest.raises(FaceError, match="reinstall face_recognition_models"):
        landmark_model()


def test_a_missing_library_names_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(FaceError, match="face_backend: manual"):
        face_dlib.DlibDetector(FaceSettings())


def test_a_kept_copy_finds_the_same_and_a_damaged_one_is_replaced(tmp_path: Path, grey: np.ndarray) -> None:
    def found(detector: Any) -> list[tuple[int, int, int, int, float]]:
        boxes, scores, _ = detector.run(grey, 0, -1.0)
        edges = [(box.left(), box.top(), box.right(), box.bottom()) for box in boxes]
        return [(*edge, score) for edge, score in zip(edges, scores, strict=True)]

    packed = found(dlib.get_frontal_face_detector())
    assert packed
    assert found(face_dlib.frontal_detector(dlib, lambda: tmp_path)) == packed
    (copy,) = tmp_path.iterdir()
    whole = copy.read_bytes()
    assert found(face_dlib.frontal_detector(dlib, lambda: tmp_path)) == packed
    copy.write_bytes(whole[:1000] + b"?" + whole[1001:])
    assert found(face_dlib.frontal_detector(dlib, lambda: tmp_path)) == packed
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [whole]


def test_a_copy_that_a_full_disk_cut_off_is_not_kept_nor_used(tmp_path: Path) -> None:
    class Cut:
        def save(self, path: str) -> None:
            dlib.get_frontal_face_detector().save(path)
            os.truncate(path, 150_000)

    class Library:
        __version__ = dlib.__version__
        fhog_object_detector = dlib.fhog_object_detector
        get_frontal_face_detector = Cut

    assert isinstance(face_dlib.frontal_detector(Library, lambda: tmp_path), Cut)
    assert list(tmp_path.iterdir()) == []
    cut = b"of an earlier version"
    name = f"frontal-{dlib.__version__}-{hashlib.sha256(cut).hexdigest()[:16]}.svm"
    (tmp_path / name).write_bytes(cut)
    assert isinstance(face_dlib.frontal_detector(dlib, lambda: tmp_path), dlib.fhog_object_detector)


def test_where_no_copy_can_be_kept_it_is_unpacked_each_time(tmp_path: Path) -> None:
    def closed() -> Path:
        raise PermissionError("somebody else's home")

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / "dlib").write_text("a file where a folder should be")
    for folder in (closed, homeless, lambda: tmp_path / "dlib"):
        assert isinstance(face_dlib.frontal_detector(dlib, folder), dlib.fhog_object_detector)
