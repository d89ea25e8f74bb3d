from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfam.capture.config import CaptureConfig
from sfam.capture.realsense_presets import choose_preset, presets
from sfam.capture.realsense_profiles import MOST_ATTEMPTS, Mode, ModePair, color_from, fallbacks, usb2_message

WANTED = ModePair(Mode(640, 480, 30), Mode(848, 480, 30))
USB2_DEPTH = [Mode(640, 480, 30), Mode(640, 480, 15), Mode(480, 270, 60), Mode(1280, 720, 6)]
COLOR = [Mode(640, 480, fps) for fps in (6, 15, 30, 60)] + [Mode(424, 240, 30), Mode(1280, 720, 30)]

modes = st.builds(
    Mode, st.sampled_from([320, 424, 640, 848, 1280]), st.sampled_from([180, 240, 480, 720]), st.sampled_from([6, 30])
)


def test_the_wanted_modes_come_first_where_they_exist() -> None:
    best = fallbacks(COLOR, [*USB2_DEPTH, WANTED.depth], WANTED)
    assert best[0] == WANTED
    assert 1 < len(best) <= MOST_ATTEMPTS


def test_the_rate_is_kept_before_the_size() -> None:
    assert fallbacks(COLOR, USB2_DEPTH, WANTED)[0] == ModePair(Mode(640, 480, 30), Mode(640, 480, 30))


def test_a_lower_rate_comes_before_a_higher_one() -> None:
    slow_or_fast = [Mode(848, 480, 15), Mode(848, 480, 60)]
    assert [pair.depth.fps for pair in fallbacks(COLOR, slow_or_fast, WANTED)][:2] == [15, 60]


def test_tiny_images_are_the_last_resort() -> None:
    tiny = Mode(256, 144, 30)
    assert fallbacks(COLOR, [tiny, Mode(640, 480, 6)], WANTED)[0].depth.fps == 6
    assert fallbacks(COLOR, [tiny], WANTED)[0].depth == tiny


@given(st.lists(modes), st.lists(modes))
def test_every_candidate_exists_and_has_one_rate(color: list[Mode], depth: list[Mode]) -> None:
    for pair in fallbacks(color, depth, WANTED):
        assert pair.color in color
        assert pair.depth in depth
        assert pair.color.fps == pair.depth.fps


@pytest.mark.parametrize(("usb", "slow"), [("2.1", True), ("2.0", True), ("3.2", False), ("3.0", False), ("", False)])
def test_only_usb_2_is_complained_about(usb: str, slow: bool) -> None:
    message = usb2_message(usb, WANTED)
    assert (message is not None) == slow
    if message is not None:
        assert "848x480@30" in message
        assert "USB 3 port" in message


@pytest.mark.parametrize(("channels", "order"), [("rgb8", [1, 2, 3]), ("bgr8", [3, 2, 1]), ("rgba8", [1, 2, 3])])
def test_color_becomes_rgb_in_memory_of_its_own(channels: str, order: list[int]) -> None:
    image = np.zeros((2, 2, 4 if channels.endswith("a8") else 3), np.uint8)
    image[..., :3] = (1, 2, 3)
    rgb = color_from(image, channels)
    assert rgb[0, 0].tolist() == order
    image[:] = 9
    assert rgb[0, 0].tolist() == order
    assert rgb.flags.c_contiguous


@pytest.mark.parametrize(
    ("model", "preset"),
    [
        ("Intel RealSense D435I", "D435"),
        ("Intel RealSense D455", "D455"),
        ("RealSense D405", "D405"),
        ("Intel RealSense D415", "D415"),
        ("Intel RealSense D457", "other"),
    ],
)
def test_each_model_finds_its_preset(model: str, preset: str) -> None:
    assert choose_preset("auto", model).name == preset


def test_presets_keep_clear_of_their_nearest_distance_and_ask_for_one_rate() -> None:
    for preset in presets().values():
        assert preset.min_z_m is not None
        assert 0.05 < preset.min_z_m < 0.5
        assert preset.depth["enable_auto_exposure"] == 1


def test_configured_sizes_and_rate_go_before_the_presets() -> None:
    config = CaptureConfig(fps=60, depth_size=(480, 270))
    assert choose_preset("D435", "").modes(config) == ModePair(Mode(640, 480, 60), Mode(480, 270, 60))
