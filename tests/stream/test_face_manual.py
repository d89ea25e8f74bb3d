from __future__ import annotations

import numpy as np
import pytest

from sfam.stream.face import FaceError, FaceSettings, open_detector
from sfam.stream.face_manual import ManualDetector, template_landmarks

IMAGE = np.zeros((240, 320), dtype=np.uint8)


def test_the_generic_face_is_symmetric_and_in_order() -> None:
    points = template_landmarks()
    assert points.shape == (68, 2)
    assert points.dtype == np.float32
    assert np.allclose(points.min(axis=0), 0)
    assert np.allclose(points.max(axis=0), 1)
    brows, eyes, nose, mouth = points[17:27], points[36:48], points[27:36], points[48:]
    assert brows[:, 1].max() < eyes[:, 1].min() < nose[:, 1].max() < mouth[:, 1].min() < points[8, 1]
    for part in (points[:17], brows, eyes, nose[4:], mouth[:12], mouth[12:]):
        assert part[:, 0].mean() == pytest.approx(0.5, abs=1e-3)


def test_it_is_put_into_the_box_that_was_given() -> None:
    found = ManualDetector(FaceSettings("manual", box=(100, 50, 80, 90))).detect(IMAGE, (), 0)
    assert len(found) == 1
    assert found[0].box == pytest.approx((100, 50, 80, 90))


def test_a_check_confirms_what_is_followed() -> None:
    detector = ManualDetector(FaceSettings("manual", box=(100, 50, 80, 90)))
    assert detector.detect(IMAGE, ((20.0, 30.0, 60.0, 70.0),), 0)[0].box == pytest.approx((20, 30, 60, 70))


def test_a_box_outside_the_image_finds_nothing() -> None:
    detector = ManualDetector(FaceSettings("manual", box=(280, 50, 80, 90)))
    assert detector.detect(IMAGE, (), 0) == []


@pytest.mark.parametrize("box", [None, (10, 10, 4, 60)])
def test_a_missing_or_tiny_box_is_refused_with_the_way_out(box: tuple[int, int, int, int] | None) -> None:
    with pytest.raises(FaceError, match="face_box"):
        open_detector(FaceSettings("manual", box=box))
