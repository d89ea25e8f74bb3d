from __future__ import annotations

import numpy as np

from sfam.stream.face_manual import template_landmarks
from sfam.stream.flags import MotionFlags
from sfam.stream.roi import find_regions, to_crop
from sfam.stream.scene_flow import Crop, SceneFlow

CROP = Crop(100, 60, 116)
POINTS = to_crop(template_landmarks() * np.float32(100) + np.array((108, 68), dtype=np.float32), CROP)
REGIONS = find_regions(POINTS)
STEP_NS = 33_000_000


def window(index: int, v: np.ndarray) -> SceneFlow:
    still = np.zeros((128, 128), dtype=np.float32)
    t_ns = index * STEP_NS
    return SceneFlow(0, index - 6, index, t_ns - 6 * STEP_NS, t_ns, still, v, still, still == 0, CROP)


def around(part: slice, value: float) -> np.ndarray:
    low, high = POINTS[part].min(axis=0).astype(int) - 2, POINTS[part].max(axis=0).astype(int) + 3
    v = np.zeros((128, 128), dtype=np.float32)
    v[low[1] : high[1], low[0] : high[0]] = value
    return v


def jaw(pace: float) -> np.ndarray:
    v = np.zeros((128, 128), dtype=np.float32)
    v[int(POINTS[57, 1]) :] = pace
    return v


def test_lids_of_both_eyes_going_down_or_up_are_a_blink() -> None:
    for pace in (3.0, -3.0):
        both = around(slice(36, 42), pace) + around(slice(42, 48), pace)
        assert MotionFlags().push(window(6, both), REGIONS) == ("blink",)


def test_one_eye_opposite_eyes_and_raised_brows_are_no_blink() -> None:
    wink, seesaw = around(slice(36, 42), 3.0), around(slice(36, 42), 3.0) + around(slice(42, 48), -3.0)
    for v in (wink, seesaw, around(slice(17, 27), -3.0), around(slice(36, 48), 0.3)):
        assert MotionFlags().push(window(6, v), REGIONS) == ()


def test_a_mouth_that_opens_and_closes_again_and_again_speaks() -> None:
    flags = MotionFlags()
    said = [flags.push(window(index, jaw(3.0 * (-1) ** (index // 5))), REGIONS) for index in range(40)]
    assert said[4] == ()
    assert said[-1] == ("speech",)


def test_a_smile_that_comes_and_goes_is_no_speech() -> None:
    flags = MotionFlags()
    said = set()
    for index in range(60):
        pace = 2.0 if 10 <= index < 18 else -2.0 if 30 <= index < 38 else 0.0
        said.add(flags.push(window(index, jaw(pace)), REGIONS))
    assert said == {()}


def test_speech_ends_with_the_talking() -> None:
    flags = MotionFlags()
    for index in range(40):
        flags.push(window(index, jaw(3.0 * (-1) ** (index // 5))), REGIONS)
    quiet = [flags.push(window(index, np.zeros((128, 128), np.float32)), REGIONS) for index in range(40, 100)]
    assert quiet[0] == ("speech",)
    assert quiet[-1] == ()
