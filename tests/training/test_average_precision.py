from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sfam.training.average_precision import (
    AP_THRESHOLDS,
    average_precision,
    pooled,
    published_average_precision,
    rank_hits,
)
from sfam.training.metrics import Span, annotated_offset, iou
from tests.shared_data import shared

Video = tuple[Sequence[Span], Sequence[float], Sequence[Span]]


def strict(videos: Sequence[Video]) -> float:
    return average_precision(pooled([rank_hits(*video) for video in videos]))


def test_the_published_figure_is_reproduced() -> None:
    cases: list[dict[str, Any]] = json.loads(shared("golden/spotting.json").read_text())["cases"]
    for case in cases:
        predicted = [(onset, offset) for onset, offset, _ in case["micro"]]
        rows = [row for row in case["gt"] if row["kind"] == "micro"]
        truth = [(row["onset"], annotated_offset(row["onset"], row["apex"], row["offset"])) for row in rows]
        assert published_average_precision([(predicted, truth)]) == pytest.approx(case["micro_ap"], abs=1e-9)


def test_predictions_rank_by_score_and_an_event_is_found_once() -> None:
    event, near, far = (10, 29), (10, 30), (100, 120)
    assert strict([([event], [0.9], [event])]) == 1.0
    assert strict([([near, event], [0.5, 0.9], [event])]) == 1.0, "the second finds nothing any more"
    assert strict([([far, event], [0.9, 0.5], [event])]) == 0.5
    assert strict([([event, far], [0.9, 0.5], [event])]) == 1.0
    assert strict([([event], [0.9], [event]), ([], [], [event])]) == 0.5, "a video without predictions counts"
    assert strict([([event], [0.5], [event]), ([event], [0.9], [])]) == 0.5, "so does one without events"
    assert strict([([event], [0.9], [])]) == 0.0
    assert strict([]) == 0.0


def test_it_falls_with_the_overlap() -> None:
    overlaps = [strict([([(10, end)], [1.0], [(10, 29)])]) for end in (29, 26, 23, 20)]
    assert overlaps == sorted(overlaps, reverse=True)
    assert overlaps[0] == 1.0
    assert overlaps[-1] == pytest.approx(0.2)  # 11 of 20 frames: two of the ten thresholds


def by_definition(videos: Sequence[Video]) -> float:
    """All predictions of all videos in one row, one overlap after the other."""
    row = [(score, v, p) for v, (_, scores, _) in enumerate(videos) for p, score in enumerate(scores)]
    row.sort(key=lambda one: -one[0])
    events = sum(len(truth) for _, _, truth in videos)
    areas = []
    for threshold in AP_THRESHOLDS:
        found: set[tuple[int, int]] = set()
        precisions, recalls = [], []
        for rank, (_, v, p) in enumerate(row, start=1):
            predicted, _, truth = videos[v]
            free = [(iou(predicted[p], event), -t) for t, event in enumerate(truth) if (v, t) not in found]
            share, place = max(free, default=(0.0, 0))
            if share >= threshold:
                found.add((v, -place))
            precisions.append(len(found) / rank)
            recalls.append(len(found) / events)
        steps = np.diff([0.0, *recalls])
        areas.append(sum(step * max(precisions[rank:]) for rank, step in enumerate(steps)))
    return float(np.mean(areas))


def test_pooled_hits_give_what_the_definition_gives() -> None:
    rng = np.random.default_rng(5)
    videos: list[Video] = []
    for _ in range(12):
        truth = [(int(at), int(at) + 20) for at in 30 * np.flatnonzero(rng.random(6) < 0.6)]
        moved = rng.integers(-9, 10, (len(truth), 2))
        predicted = [(a + int(x), b + int(y)) for (a, b), (x, y) in zip(truth, moved, strict=True)]
        predicted += [(int(at), int(at) + 15) for at in rng.integers(0, 190, 3)]
        videos.append((predicted, np.round(rng.random(len(predicted)), 1).tolist(), truth))
    drawn = [videos[index] for index in rng.integers(0, len(videos), 20)]
    for chosen in (videos, drawn):
        expected = by_definition(chosen)
        assert 0.05 < expected < 0.95
        assert strict(chosen) == pytest.approx(expected, abs=1e-12)
        halves = [pooled([rank_hits(*video) for video in part]) for part in (chosen[:7], chosen[7:])]
        assert average_precision(pooled(halves)) == pytest.approx(expected, abs=1e-12), "as subjects are pooled"
