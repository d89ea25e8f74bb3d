"""AP[.5:.95] of spotting: strict, from hits that are found once a video, and as the published program counts it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics import Span, iou

AP_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True, slots=True, eq=False)
class RankedHits:
    """Predictions of some videos, and which of them find an event.

    Whom a prediction finds depends on its own video alone, so hits are counted once and pooled as often as one likes.
    """

    scores: NDArray[np.float64]
    """(P,) what predictions rank by."""
    hits: NDArray[np.bool_]
    """(P, 10) whether a prediction finds an event, for each overlap of `AP_THRESHOLDS`."""
    events: int
    """Events that exist."""


def rank_hits(predicted: Sequence[Span], scores: Sequence[float], truth: Sequence[Span]) -> RankedHits:
    """Hits of one video: by falling score each prediction takes the free event it overlaps most; each is found once."""
    order = sorted(range(len(predicted)), key=lambda index: (-scores[index], index))
    shares = [[iou(span, event) for event in truth] for span in predicted]
    hits = np.zeros((len(predicted), len(AP_THRESHOLDS)), np.bool_)
    for column, threshold in enumerate(AP_THRESHOLDS):
        free = list(range(len(truth)))
        for index in order:
            best = max(free, key=shares[index].__getitem__, default=None)
            if best is not None and shares[index][best] >= threshold:
                free.remove(best)
                hits[index, column] = True
    return RankedHits(np.array(scores, np.float64), hits, len(truth))


def pooled(parts: Sequence[RankedHits]) -> RankedHits:
    """Several videos as one; equal scores keep their order."""
    scores = [np.zeros(0), *(one.scores for one in parts)]
    hits = [np.zeros((0, len(AP_THRESHOLDS)), np.bool_), *(one.hits for one in parts)]
    return RankedHits(np.concatenate(scores), np.concatenate(hits), sum(one.events for one in parts))


def average_precision(found: RankedHits) -> float:
    """Strict AP[.5:.95]: predictions rank by their score over all videos; 0 where there is no event.

    Between hits precision only falls, so the area is a sum over hits, each by the best precision from there on.
    """
    if not found.events:
        return 0.0
    order = np.argsort(-found.scores, kind="stable")
    places = np.flatnonzero(found.hits[order].any(axis=1))
    hits = found.hits[order[places]]
    precision = np.cumsum(hits, axis=0) / (places + 1)[:, None]
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((hits * best).sum(axis=0).mean() / found.events)


def published_average_precision(videos: Iterable[tuple[Sequence[Span], Sequence[Span]]]) -> float:
    """AP[.5:.95] over (predicted, truth) of all videos as published.

    Predictions rank in the order they were made, a video without events counts one event that nobody can find, and
    precision is kept in 32 bits.
    """
    pairs = [(list(predicted), list(truth)) for predicted, truth in videos]
    events = sum(max(1, len(truth)) for _, truth in pairs)
    per_threshold = []
    for threshold in AP_THRESHOLDS:
        hits: list[int] = []
        misses: list[int] = []
        for predicted, truth in pairs:
            for span in predicted:
                hit = sum(iou(span, event) >= threshold for event in truth)
                hits.append(hit)
                misses.append(int(hit == 0))
        per_threshold.append(_area_under_precision(np.cumsum(hits), np.cumsum(misses), events))
    return float(np.array(per_threshold, dtype=np.float32).mean())


def _area_under_precision(tp: NDArray[np.int64], fp: NDArray[np.int64], events: int) -> float:
    recall = np.concatenate(([0.0], tp / events, [1.0]))
    precision = np.concatenate(([0.0], tp / np.maximum(tp + fp, np.finfo(np.float64).eps), [0.0]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))
