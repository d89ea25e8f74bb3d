"""Where MediaPipe's model comes from, and what its wheel gives: the model itself cannot be part of these tests."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from sfam.stream import face_landmarker
from sfam.stream.analysis import Analysis
from sfam.stream.analyzer import AnalyzerError, open_analyzer
from sfam.stream.config import StreamConfig
from sfam.stream.face import FaceError
from sfam.stream.face_landmarker import FaceLandmarker, fetched_model, mesh_faces, model_file
from sfam.stream.face_manual import template_landmarks
from sfam.stream.face_mediapipe import BROWS, EYES, JAW, LIPS, MESH_OF_LANDMARK, NOSE, landmarks_of

MODEL = b"a face landmarker"
SHA256 = hashlib.sha256(MODEL).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Gives the model at /model and something else elsewhere."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(MODEL if self.path == "/model" else b"another file")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def address() -> Iterator[str]:
    Server.asked.clear()
    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No model in the cache, and nobody at the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(face_landmarker, "MODEL_URL", f"http://127.0.0.1:{free.getsockname()[1]}/model")
    monkeypatch.setattr(face_landmarker, "cache_folder", lambda: tmp_path / "cache")


def mediapipe() -> Any:
    """The real wheel; where it is absent the test is skipped, unless it must not be."""
    if importlib.util.find_spec("mediapipe") is None:
        if "SFAM_REQUIRE_MEDIAPIPE" in os.environ:
            pytest.fail("mediapipe is not installed")
        pytest.skip("the extra mediapipe is not installed")
    return importlib.import_module("mediapipe.tasks.python")


def test_the_model_is_fetched_once_and_again_only_when_damaged(address: str, tmp_path: Path) -> None:
    url = f"{address}/model"
    path = fetched_model(tmp_path / "models", "x", url, SHA256)
    assert path.read_bytes() == MODEL
    assert fetched_model(tmp_path / "models", "x", url, SHA256) == path
    assert len(Server.asked) == 1
    path.write_bytes(MODEL[:4])
    assert fetched_model(tmp_path / "models", "x", url, SHA256).read_bytes() == MODEL
    assert len(Server.asked) == 2
    assert list(path.parent.iterdir()) == [path]


def test_another_file_at_the_address_is_refused_and_not_kept(address: str, tmp_path: Path) -> None:
    with pytest.raises(FaceError, match=rf"12 bytes with sha256 .* instead of the known {SHA256}"):
        fetched_model(tmp_path, "stream.face_model", f"{address}/other", SHA256)
    assert not list(tmp_path.iterdir())


def test_without_a_network_it_says_how_to_do_without(nowhere: None, tmp_path: Path) -> None:
    with pytest.raises(FaceError, match=r"could not be fetched .* name the file as stream\.face_model"):
        Analysis(StreamConfig(face_backend="mediapipe"))
    with pytest.raises(AnalyzerError, match=r"analyzer blendshapes: .* could not be fetched .* the option model"):
        open_analyzer("blendshapes", {})
    with pytest.raises(FaceError, match=r"looked for at .*absent\.task, where there is no file"):
        model_file(tmp_path / "absent.task", "stream.face_model")


def test_a_missing_wheel_and_a_wrong_file_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "face_landmarker.task"
    wrong.write_bytes(b"no model")
    with monkeypatch.context() as absent:
        absent.setitem(sys.modules, "mediapipe", None)
        with pytest.raises(FaceError, match=r"pip install 'sfam-live\[mediapipe\]'"):
            FaceLandmarker(wrong)
    mediapipe()
    with pytest.raises(FaceError, match=r"does not take .*face_landmarker\.task"):
        FaceLandmarker(wrong)
    with pytest.raises(AnalyzerError, match=r"does not take .*face_landmarker\.task"):
        open_analyzer("blendshapes", {"model": wrong})


def test_a_result_of_the_real_wheel_becomes_pixels_and_named_values() -> None:
    tasks = mediapipe()
    landmark, category = (
        importlib.import_module(f"mediapipe.tasks.python.components.containers.{name}")
        for name in ("landmark", "category")
    )
    points = [landmark.NormalizedLandmark(x=index / 500, y=0.5, z=0.0) for index in range(478)]
    shapes = [category.Category(score=0.25, category_name="browInnerUp")]
    result = tasks.vision.FaceLandmarkerResult([points], [shapes], [])
    (face,) = mesh_faces(result, 640, 480)
    assert face.points_px.shape == (478, 2)
    np.testing.assert_allclose(face.points_px[100], (128.0, 240.0), atol=1e-4)
    assert face.blendshapes == {"browInnerUp": 0.25}
    (plain,) = mesh_faces(tasks.vision.FaceLandmarkerResult([points], [], []), 640, 480)
    assert plain.blendshapes == {}
    assert mesh_faces(tasks.vision.FaceLandmarkerResult([], [], []), 640, 480) == []


def test_an_image_of_ours_is_one_of_the_wheels() -> None:
    mediapipe()
    wheel = importlib.import_module("mediapipe")
    image = wheel.Image(image_format=wheel.ImageFormat.SRGB, data=np.full((48, 64, 3), 7, np.uint8))
    assert (image.width, image.height) == (64, 48)
    assert (image.numpy_view() == 7).all()


def test_each_landmark_lies_on_its_own_part_of_the_wheels_mesh() -> None:
    parts = mediapipe().vision.FaceLandmarksConnections

    def points(*names: str) -> set[int]:
        lines = [line for name in names for line in getattr(parts, f"FACE_LANDMARKS_{name}")]
        return {end for line in lines for end in (line.start, line.end)}

    assert set(JAW) <= points("FACE_OVAL")
    assert set(BROWS[:5]) <= points("RIGHT_EYEBROW")
    assert set(BROWS[5:]) <= points("LEFT_EYEBROW")
    assert set(NOSE) <= points("NOSE")
    assert set(EYES[:6]) <= points("RIGHT_EYE")
    assert set(EYES[6:]) <= points("LEFT_EYE")
    assert set(LIPS) <= points("LIPS")
    step = {line.start: line.end for line in parts.FACE_LANDMARKS_FACE_OVAL}
    walked = [JAW[-1]]
    while walked[-1] != JAW[0]:
        walked.append(step[walked[-1]])
    assert [point for point in walked if point in JAW] == list(reversed(JAW)), "ear to ear along the outline"


def test_a_mesh_gives_landmarks_in_ibug_order() -> None:
    mesh = np.full((478, 2), np.nan, np.float32)
    mesh[list(MESH_OF_LANDMARK)] = template_landmarks()
    assert len(set(MESH_OF_LANDMARK)) == 68
    np.testing.assert_array_equal(landmarks_of(mesh), template_landmarks())
