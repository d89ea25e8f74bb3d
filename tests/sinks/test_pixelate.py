from __future__ import annotations

import cv2
import numpy as np
import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.frame import ColorImage
from sfam.capture.source import open_source
from sfam.sinks.pixelate import BLOCKS_ACROSS_FACE, BLOCKS_WITHOUT_FACE, MARGIN, Box, pixelated
from sfam.stream.face import FaceDetector, FaceSettings, GreyImage, open_detector


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return open_detector(FaceSettings())


@pytest.fixture(scope="module")
def face() -> ColorImage:
    with open_source(CaptureConfig(camera="demo")) as source:
        return next(iter(source.frames())).color.copy()


def grey(color: ColorImage) -> GreyImage:
    return np.asarray(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), np.uint8)


def found(detector: FaceDetector, color: ColorImage, near: tuple[Box, ...]) -> int:
    """Faces that any way of looking finds, upright search at every effort and a look around the known boxes."""
    return sum(len(detector.detect(grey(color), near, attempt)) for attempt in range(4))


def test_the_detector_finds_the_face_before_and_none_after(detector: FaceDetector, face: ColorImage) -> None:
    boxes = tuple(one.box for one in detector.detect(grey(face), (), 0))
    assert len(boxes) == 1
    for hidden in (pixelated(face, boxes), pixelated(face, ())):
        assert found(detector, hidden, ()) == found(detector, hidden, boxes) == 0
        small = cv2.resize(hidden, (64, 48), interpolation=cv2.INTER_AREA)
        smoothed = np.asarray(cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC), np.uint8)
        assert found(detector, smoothed, ()) == found(detector, smoothed, boxes) == 0


def test_nothing_finer_than_a_block_is_left(face: ColorImage) -> None:
    box = (250.0, 170.0, 140.0, 140.0)
    left, right = int(250 - MARGIN * 140), int(250 + (1 + MARGIN) * 140)
    part = pixelated(face, (box,))[int(170 - MARGIN * 140) : int(170 + (1 + MARGIN) * 140), left:right]
    colors = np.unique(part.reshape(-1, 3), axis=0)
    assert len(colors) <= (BLOCKS_ACROSS_FACE * (1 + 2 * MARGIN)) ** 2
    assert len(np.unique(pixelated(face, ()).reshape(-1, 3), axis=0)) <= BLOCKS_WITHOUT_FACE**2


def test_someone_in_the_background_whom_nobody_follows_is_hidden_too(detector: FaceDetector, face: ColorImage) -> None:
    x, y, width, height = detector.detect(grey(face), (), 0)[0].box
    away = ((0.0, 0.0, 20.0, 20.0),)
    assert x > 50, "the face that is followed must be another"
    assert found(detector, pixelated(face, away), ((x, y, width, height),)) == 0


@pytest.mark.parametrize("box", [(-50.0, -50.0, 40.0, 40.0), (600.0, 440.0, 200.0, 200.0), (900.0, 0.0, 10.0, 10.0)])
def test_boxes_at_the_edge_and_beyond_do_no_harm(face: ColorImage, box: Box) -> None:
    before = face.copy()
    assert pixelated(face, (box,)).shape == face.shape
    np.testing.assert_array_equal(face, before)


def test_a_picture_smaller_than_its_blocks_passes() -> None:
    assert pixelated(np.zeros((3, 5, 3), np.uint8), ()).shape == (3, 5, 3)
