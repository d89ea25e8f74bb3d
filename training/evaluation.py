"""Scores of a leave-one-subject-out run: strict ones with intervals over subjects, and the published program's own.

Both use the same truth: the published offsets, and without the rows whose onset, apex and offset are one frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sfam.engine.spotting import spot_offline

from .average_precision import RankedHits, average_precision, pooled, published_average_precision, rank_hits
from .clip_windows import FRAME_SKIP, ClipWindows, published_labels, scored_frames
from .dataset import EMOTIONS, Kind, emotion_class
from .loso import FoldResult
from .metrics import (
    IOU_THRESHOLD,
    Counts,
    Span,
    iou,
    match,
    published_spotting_counts,
    recognition_scores,
    spotting_counts,
)
from .reliability import reliability_bins

KINDS: tuple[Kind, ...] = ("micro", "macro")
AP = "AP[.5:.95]"
"""Average precision over overlaps of 0.5 to 0.95; a kind follows in names of scores."""
Pairs = tuple[tuple[int, int], ...]
"""True and predicted class of matched or annotated micro-expressions."""


@dataclass(frozen=True, slots=True)
class Detected:
    """One predicted interval."""

    span: Span
    emotion: int
    score: float = 0.0
    """Highest spotting score within it; ranks it for the average precision."""


@dataclass(frozen=True, slots=True)
class ClipVerdict:
    """Truth and prediction of one clip."""

    subject: str
    video: str
    seconds: float
    truth: dict[Kind, list[Span]]
    truth_emotions: list[int]
    """Class of each true micro, -1 where none was annotated."""
    found: dict[Kind, list[Detected]]

    def spans(self, kind: Kind) -> list[Span]:
        """Predicted spans."""
        return [one.span for one in self.found[kind]]


@dataclass(frozen=True, slots=True)
class SubjectTally:
    """All that a score needs of one subject; sums of these are scores, resampled ones their uncertainty."""

    subject: str
    micro: Counts
    macro: Counts
    pairs: Pairs
    """Matched micro intervals."""
    recognition: Pairs
    """Annotated micro-expressions with their onset-to-apex motion."""
    hours: float
    ranked: dict[Kind, RankedHits]
    """Predictions for the average precision."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with its 95 % bootstrap interval over subjects."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Published:
    """What the published program prints, its faults included."""

    counts: dict[str, Counts]
    """micro, macro, overall."""
    average_precision: dict[str, float]
    recognition: tuple[float, float, float]
    """UF1, UAR, F1 of annotated micro-expressions."""
    analysis: tuple[float, float, float]
    """The same of matched ones."""
    strs: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything the report says."""

    classes: int
    tallies: tuple[SubjectTally, ...]
    strict: dict[str, Estimate]
    published: Published
    reliability: tuple[tuple[float, float, int], ...]
    """Mean score, share of moving windows and number of windows of each tenth of the score."""
    verdicts: tuple[ClipVerdict, ...]
    failed: dict[str, str] = field(default_factory=dict)
    """Subject -> why its fold has no score; these are in no figure."""


def evaluate(
    clips: Sequence[ClipWindows], folds: Sequence[FoldResult], classes: int, *, draws: int = 1000, seed: int = 0
) -> Evaluation:
    """Scores of the folds that have one.

    Args:
        clips: the data set.
        folds: of `run_folds`.
        classes: 4 or 7.
        draws: bootstrap draws of subjects.
        seed: of the draws.
    """
    scored = [fold for fold in folds if fold.status == "scored"]
    by_subject = {fold.subject: [clip for clip in clips if clip.subject == fold.subject] for fold in scored}
    verdicts = [verdict for fold in scored for verdict in judge_clips(by_subject[fold.subject], fold, classes)]
    recognition = {fold.subject: tuple(zip(fold.truth, fold.predicted, strict=True)) for fold in scored}
    tallies = tuple(
        tally(fold.subject, [v for v in verdicts if v.subject == fold.subject], recognition[fold.subject])
        for fold in scored
    )
    return Evaluation(
        classes=classes,
        tallies=tallies,
        strict=bootstrap(tallies, classes, draws, seed),
        published=published_scores(verdicts, [pair for pairs in recognition.values() for pair in pairs], classes),
        reliability=_reliability(by_subject, scored, classes),
        verdicts=tuple(verdicts),
        failed={fold.subject: f"{fold.status}: {fold.reason}" for fold in folds if fold.status != "scored"},
    )


def judge_clips(clips: Sequence[ClipWindows], fold: FoldResult, classes: int) -> list[ClipVerdict]:
    """Published decoding of every trace beside the truth of its clip."""
    traces = {trace.video: trace for trace in fold.traces}
    verdicts = []
    for clip in clips:
        trace = traces.get(clip.video)
        if trace is None:
            continue
        found: dict[Kind, list[Detected]] = {"micro": [], "macro": []}
        for one in spot_offline(trace.spot, trace.emotion, FRAME_SKIP):
            kind: Literal["micro", "macro"] = "micro" if one.kind == "micro" else "macro"
            inside = trace.spot[one.onset // FRAME_SKIP : one.offset // FRAME_SKIP + 1]
            found[kind].append(Detected((one.onset, one.offset), int(one.emotion), max(inside, default=0.0)))
        rows = [one for one in clip.intervals if one.kind == "macro" or one.has_extent]
        truth = {kind: [(one.onset, one.offset) for one in rows if one.kind == kind] for kind in KINDS}
        emotions = [emotion_class(one.emotion, classes) for one in rows if one.kind == "micro"]
        labels = [-1 if label is None else label for label in emotions]
        verdicts.append(ClipVerdict(clip.subject, clip.video, clip.length / clip.fps, truth, labels, found))
    return verdicts


def tally(subject: str, verdicts: Sequence[ClipVerdict], recognition: Pairs) -> SubjectTally:
    """Strict counts of one subject; every video counts, whether or not both sides have something."""
    counts = {
        kind: add([spotting_counts(verdict.spans(kind), verdict.truth[kind]) for verdict in verdicts]) for kind in KINDS
    }
    pairs = tuple(
        (verdict.truth_emotions[target], verdict.found["micro"][index].emotion)
        for verdict in verdicts
        for index, target in match(verdict.spans("micro"), verdict.truth["micro"])
        if verdict.truth_emotions[target] >= 0
    )
    hours = sum(verdict.seconds for verdict in verdicts) / 3600
    ranked = {kind: pooled([_ranked(verdict, kind) for verdict in verdicts]) for kind in KINDS}
    return SubjectTally(subject, counts["micro"], counts["macro"], pairs, recognition, hours, ranked)


def _ranked(verdict: ClipVerdict, kind: Kind) -> RankedHits:
    return rank_hits(verdict.spans(kind), [one.score for one in verdict.found[kind]], verdict.truth[kind])


def add(counts: Sequence[Counts]) -> Counts:
    """Sum of counts."""
    return Counts(sum(c.tp for c in counts), sum(c.fp for c in counts), sum(c.fn for c in counts))


def strict_classes(pairs: Sequence[tuple[int, int]], classes: int) -> tuple[float, float, float]:
    """Strict (UF1, UAR, F1): recall over classes that occur, F1 over classes that occur or are named."""
    f1, precision, recall = [], [], []
    for label in range(classes):
        tp = sum(t == label == p for t, p in pairs)
        fp = sum(p == label != t for t, p in pairs)
        fn = sum(t == label != p for t, p in pairs)
        if tp + fp + fn:
            f1.append(2 * tp / (2 * tp + fp + fn))
            precision.append(tp / (tp + fp) if tp + fp else 0.0)
        if tp + fn:
            recall.append(tp / (tp + fn))
    if not recall:
        return 0.0, 0.0, 0.0
    p, r = float(np.mean(precision)), float(np.mean(recall))
    return float(np.mean(f1)), r, 2 * p * r / (p + r) if p + r else 0.0


def strict_scores(tallies: Sequence[SubjectTally], classes: int) -> dict[str, float]:
    """All strict scores of some subjects."""
    micro, macro = add([one.micro for one in tallies]), add([one.macro for one in tallies])
    recognition = strict_classes([pair for one in tallies for pair in one.recognition], classes)
    analysis = strict_classes([pair for one in tallies for pair in one.pairs], classes)
    hours = sum(one.hours for one in tallies)
    precision = {f"{AP} {kind}": average_precision(pooled([one.ranked[kind] for one in tallies])) for kind in KINDS}
    return {
        "spotting F1 micro": micro.f1,
        "spotting F1 macro": macro.f1,
        "spotting F1 overall": add([micro, macro]).f1,
        **precision,
        "false micro per hour": micro.fp / hours if hours else 0.0,
        "recognition UF1": recognition[0],
        "recognition UAR": recognition[1],
        "analysis F1": analysis[2],
        "STRS": micro.f1 * analysis[2],
    }


def bootstrap(tallies: Sequence[SubjectTally], classes: int, draws: int, seed: int) -> dict[str, Estimate]:
    """Strict scores with percentile intervals: whole subjects are drawn with replacement."""
    values = strict_scores(tallies, classes)
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in values}
    for _ in range(draws if tallies else 0):
        chosen = [tallies[int(index)] for index in rng.integers(0, len(tallies), len(tallies))]
        for name, value in strict_scores(chosen, classes).items():
            drawn[name].append(value)
    edges = {name: np.percentile(many, (2.5, 97.5)) if many else (value,) * 2 for (name, value), many in
             zip(values.items(), drawn.values(), strict=True)}  # fmt: skip
    return {name: Estimate(value, float(edges[name][0]), float(edges[name][1])) for name, value in values.items()}


def published_scores(
    verdicts: Sequence[ClipVerdict], recognition: Sequence[tuple[int, int]], classes: int
) -> Published:
    """As the published program counts and prints."""
    counts: dict[str, Counts] = {}
    precision: dict[str, float] = {}
    for kind in KINDS:
        videos = [(verdict.spans(kind), verdict.truth[kind]) for verdict in verdicts]
        counts[kind] = add([published_spotting_counts(*video) for video in videos])
        precision[kind] = published_average_precision(videos)
    counts["overall"] = add([counts["micro"], counts["macro"]])
    matched = [pair for verdict in verdicts for pair in _published_pairs(verdict)]
    analysis = _published_recognition(matched, classes)
    scores = _published_recognition(recognition, classes)
    return Published(counts, precision, scores, analysis, counts["micro"].f1 * analysis[2])


def _published_pairs(verdict: ClipVerdict) -> list[tuple[int, int]]:
    """Each prediction with the first event it overlaps by half: an event may be matched again."""
    pairs = []
    for one in verdict.found["micro"]:
        hits = [i for i, event in enumerate(verdict.truth["micro"]) if iou(one.span, event) >= IOU_THRESHOLD]
        if hits:
            pairs.append((verdict.truth_emotions[hits[0]], one.emotion))
    return pairs


def _published_recognition(pairs: Sequence[tuple[int, int]], classes: int) -> tuple[float, float, float]:
    return recognition_scores([t for t, _ in pairs], [p for _, p in pairs], classes)


def confusion(pairs: Sequence[tuple[int, int]], classes: int) -> np.ndarray:
    """(classes, classes + 1) counts: rows true, columns predicted, the last one neutral."""
    table = np.zeros((classes, classes + 1), np.int64)
    for truth, predicted in pairs:
        if truth >= 0:
            table[truth, predicted] += 1
    return table


def class_names(classes: int) -> tuple[str, ...]:
    """Names of the classes with neutral."""
    return (*EMOTIONS[classes], "neutral")


def _reliability(
    by_subject: dict[str, list[ClipWindows]], folds: Sequence[FoldResult], classes: int
) -> tuple[tuple[float, float, int], ...]:
    """How often a window is labelled as moving, by score."""
    scores: list[np.ndarray] = [np.zeros(0)]
    labels: list[np.ndarray] = [np.zeros(0)]
    for fold in folds:
        traces = {trace.video: trace for trace in fold.traces}
        for clip in by_subject[fold.subject]:
            if clip.video in traces:
                places = clip.frames[scored_frames(clip)] // FRAME_SKIP
                scores.append(np.array(traces[clip.video].spot)[places])
                labels.append(published_labels(clip, classes)[0])
    return reliability_bins(np.concatenate(scores), np.concatenate(labels))
