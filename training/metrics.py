"""Scores of spotting, recognition and both: strict ones, and the published ones with their habits kept.

Published spotting and recognition scores follow Liong et al. 2024 (SFAMNet, section 4); the combined score STRS follows
Liong, See and Chan 2023. Frames are inclusive at both ends everywhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

IOU_THRESHOLD = 0.5
COLUMNS = ("subject", "video", "onset", "offset", "emotion")
FOUR_CLASSES = ("negative", "positive", "surprise", "others")
LONGEST_MICRO_FRAMES = 30

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Counts:
    """Hits, false alarms and misses, with the F1 they give."""

    tp: int
    fp: int
    fn: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where either is undefined."""
        return _harmonic(*_precision_recall(self.tp, self.fp, self.fn))


@dataclass(frozen=True, slots=True)
class Row:
    """One interval of a MEGC table."""

    subject: Hashable
    video: Hashable
    onset: int
    offset: int
    emotion: str


def iou(first: Span, second: Span) -> float:
    """Shared frames over all frames of two spans."""
    shared = max(0, min(first[1], second[1]) - max(first[0], second[0]) + 1)
    union = (first[1] - first[0] + 1) + (second[1] - second[0] + 1) - shared
    return shared / union


def annotated_offset(onset: int, apex: int, offset: int) -> int:
    """Offset of an annotated micro-expression; one longer than 30 frames is made symmetric about its apex."""
    return apex + (apex - onset) if offset - onset > LONGEST_MICRO_FRAMES else offset


def match(predicted: Sequence[Span], truth: Sequence[Span], threshold: float = IOU_THRESHOLD) -> list[tuple[int, int]]:
    """One-to-one pairs (prediction, truth) with `iou` >= threshold, as many as possible, best overlaps first.

    Each side is used at most once (augmenting paths), so no prediction counts for two events or the other way round.
    """
    choices = [
        sorted(
            (t for t in range(len(truth)) if iou(span, truth[t]) >= threshold), key=lambda t: (-iou(span, truth[t]), t)
        )
        for span in predicted
    ]
    taken: dict[int, int] = {}

    def place(index: int, seen: set[int]) -> bool:
        for target in choices[index]:
            if target not in seen:
                seen.add(target)
                if target not in taken or place(taken[target], seen):
                    taken[target] = index
                    return True
        return False

    order = sorted(
        range(len(predicted)), key=lambda p: (-iou(predicted[p], truth[choices[p][0]]) if choices[p] else 0, p)
    )
    for index in order:
        place(index, set())
    return sorted((prediction, target) for target, prediction in taken.items())


def spotting_counts(predicted: Sequence[Span], truth: Sequence[Span], threshold: float = IOU_THRESHOLD) -> Counts:
    """Strict counts of one video."""
    hits = len(match(predicted, truth, threshold))
    return Counts(hits, len(predicted) - hits, len(truth) - hits)


def published_spotting_counts(predicted: Sequence[Span], truth: Sequence[Span]) -> Counts:
    """Counts of one video as published: a prediction hits every event it overlaps, an event may be hit again."""
    hits = [sum(iou(span, event) >= IOU_THRESHOLD for event in truth) for span in predicted]
    tp = sum(hits)
    return Counts(tp, sum(hit == 0 for hit in hits), len(truth) - tp)


def recognition_scores(truth: Sequence[int], predicted: Sequence[int], classes: int) -> tuple[float, float, float]:
    """(UF1, UAR, F1) of recognition as published: classes 0..`classes`-1, `classes` itself is neutral and ignored.

    A class that neither side names is left out; one that is predicted but never true makes UAR 0; F1 is the harmonic
    mean of the class means of precision and recall.
    """
    truth_array, predicted_array = np.asarray(truth), np.asarray(predicted)
    f1, recall, precision = [], [], []
    for label in range(classes):
        is_true, is_named = truth_array == label, predicted_array == label
        if len(set(is_true) | set(is_named)) < 2:
            continue
        tp, fp, fn = (int(x.sum()) for x in (is_true & is_named, ~is_true & is_named, is_true & ~is_named))
        f1.append(2 * tp / (2 * tp + fp + fn))
        recall.append(tp / (tp + fn) if tp + fn else float("nan"))
        precision.append(tp / (tp + fp) if tp + fp else 0.0)
    if not f1:
        return 0.0, 0.0, 0.0
    uar = float(np.nan_to_num(np.mean(recall)))
    return float(np.mean(f1)), uar, _harmonic(float(np.mean(precision)), float(np.mean(np.nan_to_num(recall))))


def strs(
    predicted: Any,
    truth: Any,
    mode: Literal["strict", "reference"] = "strict",
    classes: Sequence[str] = FOUR_CLASSES,
) -> dict[str, float]:
    """Spot-then-recognise score: spotting F1 times analysis F1.

    Strict: every video of either table counts, one prediction matches one event, UAR is the mean recall over classes
    that occur, and nothing is NaN. Reference: what the published script gives, including that it skips subjects without
    predictions and videos without events, matches one prediction several times, calls mean precision UAR, and is NaN
    when no class can be told from another.

    Args:
        predicted: rows of (subject, video, onset, offset, emotion), or a table with these columns.
        truth: the same.
        mode: which of the two.
        classes: emotions that the analysis part scores.

    Returns:
        The published names, from "STRS" to "UAR analysis".
    """
    if mode not in ("strict", "reference"):
        raise ValueError(f"strs: mode must be 'strict' or 'reference', got {mode!r}")
    named, real = _rows(predicted), _rows(truth)
    pairs, fp, fn = _strict_pairs(named, real) if mode == "strict" else _reference_pairs(named, real)
    scored = [(p.emotion, t.emotion) for p, t in pairs if t.emotion in classes]
    recognition = _strict_analysis(scored, classes) if mode == "strict" else _reference_analysis(scored, classes)
    precision, recall, f1, uf1, uar = recognition
    right = sum(p == t for p, t in scored)
    # The reference counts a wrong prediction as both kinds of error, and only where the named class is scored.
    wrong = sum(p != t and (mode == "strict" or p in classes) for p, t in scored)
    spot_precision, spot_recall = _precision_recall(len(pairs), fp, fn)
    spot_f1 = _harmonic(spot_precision, spot_recall)
    return {
        "STRS": spot_f1 * f1,
        "TP spotting": float(len(pairs)),
        "FP spotting": float(fp),
        "FN spotting": float(fn),
        "Precision spotting": spot_precision,
        "Recall spotting": spot_recall,
        "F1-score spotting": spot_f1,
        "TP analysis": float(right),
        "FP analysis": float(wrong),
        "FN analysis": float(wrong),
        "Precision analysis": precision,
        "Recall analysis": recall,
        "F1-score analysis": f1,
        "UF1 analysis": uf1,
        "UAR analysis": uar,
    }


def _rows(table: Any) -> list[Row]:
    if hasattr(table, "columns"):
        missing = [name for name in COLUMNS if name not in list(table.columns)]
        if missing:
            raise ValueError(f"strs: the table lacks {', '.join(missing)}; it needs the columns {', '.join(COLUMNS)}")
        table = list(zip(*(list(table[name]) for name in COLUMNS), strict=True))
    return [Row(s, v, int(onset), int(offset), str(emotion)) for s, v, onset, offset, emotion in table]


def _videos(rows: Iterable[Row]) -> dict[tuple[Hashable, Hashable], list[Row]]:
    videos: dict[tuple[Hashable, Hashable], list[Row]] = {}
    for row in rows:
        videos.setdefault((row.subject, row.video), []).append(row)
    return videos


def _spans(rows: Sequence[Row]) -> list[Span]:
    return [(row.onset, row.offset) for row in rows]


def _strict_pairs(predicted: list[Row], truth: list[Row]) -> tuple[list[tuple[Row, Row]], int, int]:
    named, real = _videos(predicted), _videos(truth)
    pairs: list[tuple[Row, Row]] = []
    for key in dict.fromkeys([*real, *named]):
        mine, theirs = named.get(key, []), real.get(key, [])
        pairs += [(mine[p], theirs[t]) for p, t in match(_spans(mine), _spans(theirs))]
    return pairs, len(predicted) - len(pairs), len(truth) - len(pairs)


def _reference_pairs(predicted: list[Row], truth: list[Row]) -> tuple[list[tuple[Row, Row]], int, int]:
    named, real = _videos(predicted), _videos(truth)
    subjects = {row.subject for row in predicted}
    pairs: list[tuple[Row, Row]] = []
    fp = fn = 0
    for key, theirs in real.items():
        if key[0] not in subjects:
            continue
        found: set[int] = set()
        for mine in named.get(key, []):
            hits = [t for t, row in enumerate(theirs) if t not in found and iou(*_spans([mine, row])) >= IOU_THRESHOLD]
            pairs += [(mine, theirs[t]) for t in hits]
            found.update(hits)
            fp += not hits
        fn += len(theirs) - len(found)
    return pairs, fp, fn


def _strict_analysis(scored: Sequence[tuple[str, str]], classes: Sequence[str]) -> tuple[float, ...]:
    real = {t for _, t in scored}
    f1, precision, recall = [], [], []
    for name in classes:
        counts = _class_counts(scored, name)
        class_precision, class_recall = _precision_recall(counts.tp, counts.fp, counts.fn)
        if name in real or counts.fp:
            f1.append(counts.f1)
            precision.append(class_precision)
        if name in real:
            recall.append(class_recall)
    if not recall:
        return 0.0, 0.0, 0.0, 0.0, 0.0
    p, r = float(np.mean(precision)), float(np.mean(recall))
    return p, r, _harmonic(p, r), float(np.mean(f1)), r


def _reference_analysis(scored: Sequence[tuple[str, str]], classes: Sequence[str]) -> tuple[float, ...]:
    f1, precision, recall = [], [], []
    for name in classes:
        counts = _class_counts(scored, name)
        # The published confusion matrix has no cells to read where all pairs look alike: everything is 0 then.
        if len({t == name for _, t in scored} | {p == name for p, _ in scored}) < 2:
            counts = Counts(0, 0, 0)
        class_precision, class_recall = _precision_recall(counts.tp, counts.fp, counts.fn)
        f1.append(counts.f1)
        precision.append(class_precision)
        recall.append(class_recall)
    p, r = float(np.mean(precision)), float(np.mean(recall))
    return p, r, 2 * p * r / (p + r) if p + r else float("nan"), float(np.mean(f1)), p


def _class_counts(scored: Sequence[tuple[str, str]], name: str) -> Counts:
    return Counts(
        sum(p == name and t == name for p, t in scored),
        sum(p == name and t != name for p, t in scored),
        sum(p != name and t == name for p, t in scored),
    )


def _precision_recall(tp: int, fp: int, fn: int) -> tuple[float, float]:
    return (tp / (tp + fp) if tp + fp else 0.0), (tp / (tp + fn) if tp + fn else 0.0)


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
