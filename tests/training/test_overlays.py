from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sfam.stream.roi import RegionFinder
from sfam.stream.scene_flow import CROP_PX, Crop
from sfam.training import courses
from sfam.training.overlays import Background, Corpus, Overlay, action_field, draw_overlay, overlay

FRAMES = 300
LAG = 6


def landmarks() -> np.ndarray:
    """A plausible frontal face on the crop: brows, eyes and mouth where the regions expect them."""
    points = np.zeros((68, 2), dtype=np.float32)
    points[:17] = np.stack([np.linspace(9, 119, 17), 60 + 55 * np.sin(np.linspace(0, np.pi, 17))], axis=1)
    points[17:22] = np.stack([np.linspace(22, 52, 5), np.full(5, 38)], axis=1)
    points[22:27] = np.stack([np.linspace(76, 106, 5), np.full(5, 38)], axis=1)
    points[27:36] = (64, 65)
    points[36:48] = np.stack([np.linspace(28, 100, 12), np.full(12, 50)], axis=1)
    points[48:68] = np.stack(
        [64 - 22 * np.cos(np.linspace(0, 2 * np.pi, 20)), 92 - 8 * np.sin(np.linspace(0, 2 * np.pi, 20))], axis=1
    )
    return points


def background(seed: int = 0) -> Background:
    rng = np.random.default_rng(seed)
    usable = np.arange(FRAMES) >= LAG
    eyelids = np.zeros(FRAMES, dtype=np.float32)
    eyelids[100:108] = np.sin(np.linspace(0, np.pi, 8))
    maps = rng.normal(0, 0.03, (FRAMES, 3, 42, 42)).astype(np.float32) * usable[:, None, None, None]
    regions = RegionFinder().regions(landmarks(), Crop(0, 0, CROP_PX))
    return Background(maps, usable, np.full(FRAMES, LAG), eyelids, landmarks(), regions)


def micro(action: str = "brow_raise", start: int = 50, peak_px: float = 1.0) -> courses.Happening:
    return courses.Happening("micro", action, start, courses.Course(6, 2, 8), peak_px, 0.5)


def draw(seed: int) -> Overlay:
    return draw_overlay(np.random.default_rng(seed), background(), 0, micros=5, macros=1)


def test_the_same_seed_gives_the_same_overlay() -> None:
    first, second, other = draw(3), draw(3), draw(4)
    assert first.happenings == second.happenings
    np.testing.assert_array_equal(first.fields, second.fields)
    np.testing.assert_array_equal(first.spot, second.spot)
    assert first.happenings != other.happenings


@pytest.mark.parametrize("action", courses.ACTIONS)
def test_a_field_peaks_at_one_pixel(action: str) -> None:
    field = action_field(action, landmarks(), np.random.default_rng(1))
    assert np.hypot(*field).max() == pytest.approx(1.0)
    assert np.hypot(*field)[:10].max() < 0.1


def test_a_brow_raise_moves_the_upper_half_up_and_no_other() -> None:
    drawn = overlay(np.random.default_rng(0), background(), 0, [micro()])
    v = drawn.fields[0, 1]
    assert v[:21].min() < -0.6
    assert np.abs(v[21:]).max() < 0.1


def test_labels_follow_the_movement() -> None:
    drawn = overlay(np.random.default_rng(0), background(), 0, [micro(start=50)])
    assert set(np.flatnonzero(drawn.spot == 1)) <= set(range(52, 74))
    assert (drawn.spot[53:57] == 1).all()
    assert (drawn.spot[:LAG] == -1).all()
    surprise = courses.CLASSES.index("surprise")
    assert set(np.flatnonzero(drawn.emotion == surprise)) <= set(range(52, 63))
    assert drawn.emotion[66] == courses.CLASSES.index("neutral")


def test_an_invisible_micro_is_never_a_positive() -> None:
    drawn = overlay(np.random.default_rng(0), background(), 0, [micro(peak_px=0.05)])
    assert not (drawn.spot == 1).any()


def test_blinks_are_hard_negatives() -> None:
    drawn = overlay(np.random.default_rng(0), background(), 0, [])
    assert (drawn.spot[LAG:] == 0).all()
    assert drawn.hard[103]
    assert not drawn.hard[200]


def test_batches_keep_their_shares_and_their_seed() -> None:
    corpus = Corpus([background()], [draw(seed) for seed in range(3)])
    first, second = (corpus.batch(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.maps, second.maps)
    assert first.spot.sum() == Corpus.POSITIVE
    assert (first.maps[:, 2] == 0).all(axis=(1, 2)).mean() == pytest.approx(Corpus.W_ZERO_SHARE, abs=0.12)


def test_placed_expressions_keep_their_distance_and_end_inside() -> None:
    rng = np.random.default_rng(2)
    drawn = [courses.draw_happening(rng, kind) for kind in ["micro"] * 5 + ["macro"] * 2]
    placed = courses.place(rng, drawn, 600)
    assert len(placed) == 7
    for before, after in pairwise(placed):
        assert after.onset - before.offset >= courses.MIN_GAP_FRAMES
    assert placed[-1].offset < 600


def test_a_sequence_too_short_takes_fewer_expressions() -> None:
    rng = np.random.default_rng(2)
    assert len(courses.place(rng, [courses.draw_happening(rng, "macro") for _ in range(9)], 120)) < 3


def test_annotated_durations_are_usable() -> None:
    pairs = courses.annotated_durations()
    assert len(pairs) > 700
    assert pairs[:, 1].max() <= 30
    assert (pairs[:, 0] >= 2).all()
