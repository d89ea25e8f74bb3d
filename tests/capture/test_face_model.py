from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from sfam.capture.face_model import face_model
from sfam.capture.render import CANONICAL, FaceState, Renderer


def test_heads_look_different_from_each_other() -> None:
    pictures = [Renderer(face_model(identity), CANONICAL).color(FaceState()) for identity in range(10)]
    for a, b in combinations(pictures, 2):
        assert float(np.abs(a - b)[20:120, 20:108].mean()) > 6.0


def test_heads_differ_in_shape_and_are_drawn_from_their_number_alone() -> None:
    noses = {round(face_model(identity).shape.nose_mm, 3) for identity in range(2, 10)}
    assert len(noses) == 8
    first = face_model(5)
    face_model.cache_clear()
    again = face_model(5)
    assert again is not first
    assert first.texture.tobytes() == again.texture.tobytes()


def test_the_second_head_is_the_mirror_image_of_the_first() -> None:
    plain, mirrored = face_model(0), face_model(1)
    assert np.array_equal(plain.texture[:, ::-1], mirrored.texture)
    assert mirrored.landmarks[36, 0] < mirrored.landmarks[45, 0]
    assert abs(plain.landmarks[0, 0] + mirrored.landmarks[16, 0] - 131.0) < 1e-9


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        face_model(-1)


@pytest.mark.parametrize("closure", [0.2, 0.7, 1.0])
def test_the_lid_goes_back_the_way_it_came(closure: float) -> None:
    eye = face_model(0).eyes[0]
    x = np.full(50, eye.middle_x + 3.0)
    upper, _ = eye.margins(x)
    skin = np.linspace(upper[0] - eye.band - 3.0, upper[0] - 0.01, 50)
    shown = eye.from_texture(x, skin, closure)
    assert np.all(np.diff(shown) > 0)
    assert np.allclose(eye.to_texture(x, shown, closure), skin)
