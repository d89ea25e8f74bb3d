from __future__ import annotations

import numpy as np
import pytest

from sfam.stream.face_manual import template_landmarks
from sfam.stream.flow import FlowProducts, open_flow
from sfam.stream.past_frames import (
    PastFrame,
    PastFrames,
    cut_depth,
    depth_box,
    depth_region,
    grey_region,
    mean_depth,
    region_box,
)
from sfam.stream.scene_flow import Crop
from tests.stream.moving_face import BOX, PERIOD_NS, frame, picture

LANDMARKS = template_landmarks() * np.float32(BOX[2]) + np.array(BOX[:2], dtype=np.float32)
CROP = Crop(100, 60, 116)
SECOND = 1_000_000_000


def past(index: int, crop: Crop = CROP, dx: float = 0.0) -> PastFrame:
    shown, box = frame(index, dx), region_box(crop)
    grey = grey_region(np.ascontiguousarray(shown.color[:, :, 0]), box)
    depth = depth_region(shown.depth, depth_box(crop))
    return PastFrame(index, index * PERIOD_NS, LANDMARKS, 0j, box, grey, depth_box(crop), depth, 0.001)


def filled(count: int, mean: int = 1) -> PastFrames:
    frames = PastFrames(open_flow("iclk"), SECOND, SECOND // 4, mean)
    for index in range(count):
        frames.add(past(index))
    return frames


def images(products: FlowProducts) -> list[np.ndarray]:
    return [level.image for level in products.levels]


def test_an_earlier_frame_cut_for_a_later_crop_is_what_a_fresh_cut_gives() -> None:
    frames = filled(3)
    before = frames.end(0, CROP)
    moved = Crop(CROP.x + 9, CROP.y - 6, CROP.size)
    frames.add(past(3, moved))
    again, fresh = frames.end(0, moved), filled(1).end(0, moved)
    assert before is not None
    assert again is not None
    assert fresh is not None
    for first, second in zip(images(again[0]), images(fresh[0]), strict=True):
        assert np.array_equal(first, second)
    assert np.array_equal(again[1].shape_mm, fresh[1].shape_mm)
    assert not np.array_equal(images(before[0])[0], images(again[0])[0])


def test_products_are_made_once() -> None:
    frames = filled(2)
    first, second = frames.end(1, CROP), frames.end(1, CROP)
    assert first is not None
    assert second is not None
    assert first[0] is second[0]
    assert first[1] is second[1]


def test_a_crop_beyond_what_is_kept_gives_nothing() -> None:
    frames = filled(2)
    assert frames.end(0, Crop(CROP.x + 24, CROP.y, CROP.size)) is None


def test_memory_is_bounded_in_time_and_products_are_freed_first() -> None:
    frames = filled(100)
    assert len(frames.frames) == 31
    for index in range(len(frames.frames)):
        frames.end(index, CROP)
    frames.add(past(100))
    held = [frame.products is not None for frame in frames.frames]
    assert sum(held) == 7
    assert not any(held[:20])


def test_holes_never_mix_with_depth() -> None:
    depth = np.full((200, 200), 600, dtype=np.uint16)
    depth[::3, ::2] = 0
    for size in (64, 128, 200):
        cut = cut_depth(depth, 0, 0, size, 0.001)
        assert cut.dtype == np.float32
        assert set(np.unique(cut.round(3))) <= {0.0, 600.0}
    assert cut_depth(np.full((300, 300), 1200, np.uint16), 0, 0, 300, 0.0005).max() == pytest.approx(600.0)


def test_depth_of_a_large_face_is_averaged_over_its_pixels() -> None:
    depth = (600 + np.random.default_rng(1).normal(0, 5, (400, 400))).round().astype(np.uint16)
    assert cut_depth(depth, 0, 0, 400, 0.001).std() < 0.5 * depth.std()


def test_depth_is_averaged_over_the_frames_asked_for() -> None:
    one, three = filled(6).end(5, CROP), filled(6, mean=3).end(5, CROP)
    assert one is not None
    assert three is not None
    middle = (slice(40, 90), slice(40, 90))
    assert three[1].shape_mm[middle].std() < 0.75 * one[1].shape_mm[middle].std()
    known, hole = np.full((128, 128), 600, np.float32), np.zeros((128, 128), np.float32)
    assert np.array_equal(mean_depth([known, hole]), known)
    assert not mean_depth([hole, hole]).any()


def test_beyond_the_image_there_is_edge_but_no_depth() -> None:
    box = (-30, -30, 60, 60)
    assert np.array_equal(grey_region(picture(), box)[30:, 30:], picture()[:30, :30])
    assert grey_region(picture(), box)[0, 0] == picture()[0, 0]
    depth = depth_region(np.full((240, 320), 500, np.uint16), box)
    assert not depth[:30].any()
    assert (depth[30:, 30:] == 500).all()
