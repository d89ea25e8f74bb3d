"""RGBDFrame and its calibration."""

from __future__ import annotations

import numpy as np
import pytest

from sfam.capture.frame import Extrinsics, Intrinsics, RGBDFrame

CAMERA = Intrinsics(width=8, height=6, fx=10.0, fy=10.0, ppx=4.0, ppy=3.0)


def test_a_frame_is_built_from_a_programs_own_arrays() -> None:
    frame = RGBDFrame.from_arrays(np.zeros((6, 8, 3), np.uint8), np.ones((6, 8), np.uint16), CAMERA, 5, sequence=2)
    assert (frame.sequence, frame.t_capture_ns, frame.calibration.depth_aligned) == (2, 5, True)


def test_depth_of_another_size_is_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(6, 8\).*\(3, 4\)"):
        RGBDFrame.from_arrays(np.zeros((6, 8, 3), np.uint8), np.ones((3, 4), np.uint16), CAMERA, 5)


def test_extrinsics_inverted_twice_are_themselves() -> None:
    there = Extrinsics((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0), (0.1, 0.2, 0.3))
    back = there.inverse().inverse()
    assert np.allclose(back.rotation, there.rotation)
    assert np.allclose(back.translation_m, there.translation_m)
