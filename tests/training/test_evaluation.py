from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sfam.training.clip_windows import ClipWindows, no_maps
from sfam.training.dataset import EMOTIONS, AnnotatedInterval
from sfam.training.evaluation import (
    ClipVerdict,
    Detected,
    bootstrap,
    evaluate,
    judge_clips,
    published_scores,
    strict_scores,
    tally,
)
from sfam.training.loso import ClipTrace, FoldResult
from sfam.training.metrics import strs
from tests.shared_data import shared


def verdict(subject: str, video: str, truth: list[Any], found: list[Any], seconds: float = 60.0) -> ClipVerdict:
    return ClipVerdict(
        subject,
        video,
        seconds,
        {"micro": [(a, b) for a, b, _ in truth], "macro": []},
        [label for *_, label in truth],
        {"micro": [Detected((a, b), label) for a, b, label in found], "macro": []},
    )


def test_published_scores_equal_the_golden_ones() -> None:
    cases = json.loads(shared("golden/spotting.json").read_text())["cases"]
    labels = dict(zip((*EMOTIONS[4], "neutral"), range(5), strict=True))
    for case in cases:
        intervals = []
        for row in case["gt"]:
            onset, apex, offset = row["onset"], row["apex"], row["offset"]
            if row["kind"] == "micro" and offset - onset > 30:
                offset = apex + (apex - onset)
            intervals.append(AnnotatedInterval(row["kind"], onset, apex, offset, row["emotion"]))
        length = 2 * len(case["score"])
        clip = ClipWindows("s", "v", no_maps(), np.zeros(0, np.int64), length, tuple(intervals), no_maps(), ())
        fold = FoldResult("s", "scored", "", (ClipTrace("v", tuple(case["score"]), tuple(case["emotion"])),))
        verdicts = judge_clips([clip], fold, 4)
        got = published_scores(verdicts, [], 4)
        for kind in ("micro", "macro"):
            expected = case[f"{kind}_counts"]
            counts = got.counts[kind]
            assert (counts.tp, counts.fp, counts.fn) == (expected["tp"], expected["fp"], expected["fn"])
        assert got.average_precision["micro"] == pytest.approx(case["micro_ap"], abs=1e-9)
        for row, emotion in zip([r for r in case["gt"] if r["kind"] == "micro"], verdicts[0].truth_emotions,
                                strict=True):  # fmt: skip
            assert emotion == (labels[row["emotion"]] if row["emotion"] != "neutral" else -1)


def test_strict_scores_agree_with_the_table_scores() -> None:
    rng = np.random.default_rng(3)
    verdicts = []
    for subject in range(6):
        for video in range(3):
            truth = [(int(a), int(a) + 12, int(rng.integers(4))) for a in 40 * np.arange(rng.integers(0, 4))]
            found = [
                (a + int(rng.integers(-4, 5)), b + int(rng.integers(-4, 5)), int(rng.integers(4))) for a, b, _ in truth
            ]
            found += [(500, 515, 1)] * int(rng.integers(0, 2))
            verdicts.append(verdict(str(subject), str(video), truth, found))
    tallies = [tally(str(s), [v for v in verdicts if v.subject == str(s)], ()) for s in range(6)]
    found_rows = [
        (v.subject, v.video, *one.span, EMOTIONS[4][one.emotion]) for v in verdicts for one in v.found["micro"]
    ]
    true_rows = [
        (v.subject, v.video, *span, EMOTIONS[4][label])
        for v in verdicts
        for span, label in zip(v.truth["micro"], v.truth_emotions, strict=True)
    ]
    expected = strs(found_rows, true_rows)
    got = strict_scores(tallies, 4)
    assert 0 < got["STRS"] < 1
    assert got["spotting F1 micro"] == pytest.approx(expected["F1-score spotting"], abs=1e-12)
    assert got["analysis F1"] == pytest.approx(expected["F1-score analysis"], abs=1e-12)
    assert got["STRS"] == pytest.approx(expected["STRS"], abs=1e-12)


def test_one_prediction_matches_once_and_every_video_counts() -> None:
    both = verdict("a", "1", [(0, 20, 0), (1, 21, 0)], [(0, 20, 0)])
    only_found = verdict("a", "2", [], [(5, 25, 1)], seconds=3540.0)
    only_true = verdict("b", "3", [(5, 25, 1)], [], seconds=0.0)
    tallies = [tally("a", [both, only_found], ()), tally("b", [only_true], ())]
    assert (tallies[0].micro.tp, tallies[0].micro.fp, tallies[0].micro.fn) == (1, 1, 1)
    assert tallies[1].micro.fn == 1
    assert strict_scores(tallies, 4)["false micro per hour"] == pytest.approx(1.0)
    assert published_scores([both], [], 4).counts["micro"].tp == 2


def test_intervals_over_subjects_hold_the_value_and_repeat() -> None:
    tallies = [
        tally(str(s), [verdict(str(s), "v", [(0, 20, 0)], [(0, 20, s % 4)] if s % 3 else [(50, 60, 0)])], ((0, s % 4),))
        for s in range(12)
    ]
    first = bootstrap(tallies, 4, 200, 1)
    assert first == bootstrap(tallies, 4, 200, 1)
    estimate = first["spotting F1 micro"]
    assert estimate.low < estimate.value < estimate.high
    alike = [tallies[1]] * 5
    fixed = bootstrap(alike, 4, 50, 0)["spotting F1 micro"]
    assert fixed.low == fixed.value == fixed.high == 1.0
    precision = first["AP[.5:.95] micro"]
    assert 0 < precision.low < precision.value < precision.high < 1
    assert precision.value == strict_scores(tallies, 4)["AP[.5:.95] micro"]
    assert bootstrap(alike, 4, 50, 0)["AP[.5:.95] micro"] == fixed
    assert first["AP[.5:.95] macro"].high == 0.0, "nobody has a macro-expression here"


def test_failed_folds_are_in_no_figure() -> None:
    clip = ClipWindows("a", "v", no_maps(), np.zeros(0, np.int64), 100,
                       (AnnotatedInterval("micro", 10, 15, 25, "sad"),), no_maps(), ())  # fmt: skip
    folds = [
        FoldResult("a", "scored", "", (ClipTrace("v", (0.1,) * 50, (4,) * 50),)),
        FoldResult("b", "non_finite", "weights are not finite"),
    ]
    result = evaluate([clip], folds, 4, draws=5)
    assert result.failed == {"b": "non_finite: weights are not finite"}
    assert [one.subject for one in result.tallies] == ["a"]
    assert result.tallies[0].micro.fn == 1
