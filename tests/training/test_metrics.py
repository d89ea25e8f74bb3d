from __future__ import annotations

import json
import math
from typing import Any, Literal

import pytest

from sfam.training import metrics
from tests.shared_data import shared

MICRO_KINDS = ("micro", "macro")


def golden(name: str) -> Any:
    return json.loads(shared(f"golden/{name}.json").read_text())


def spans(case: dict[str, Any], kind: str) -> tuple[list[metrics.Span], list[metrics.Span]]:
    predicted = [(onset, offset) for onset, offset, _ in case[kind]]
    truth = []
    for event in case["gt"]:
        if event["kind"] == kind:
            onset, apex, offset = event["onset"], event["apex"], event["offset"]
            truth.append((onset, metrics.annotated_offset(onset, apex, offset) if kind == "micro" else offset))
    return predicted, truth


def test_recognition_scores_equal_the_published_ones() -> None:
    cases = golden("recognition")
    assert len(cases) == 40
    for case in cases:
        got = metrics.recognition_scores(case["gt"], case["pred"], case["classes"])
        assert got == pytest.approx((case["uf1"], case["uar"], case["f1"]), abs=1e-9)


@pytest.mark.parametrize("kind", MICRO_KINDS)
def test_spotting_counts_equal_the_published_ones(kind: str) -> None:
    for case in golden("spotting")["cases"]:
        counts = metrics.published_spotting_counts(*spans(case, kind))
        expected = case[f"{kind}_counts"]
        assert (counts.tp, counts.fp, counts.fn) == (expected["tp"], expected["fp"], expected["fn"])
        assert counts.f1 == pytest.approx(expected["f1"], abs=1e-9)


def test_strs_reference_mode_equals_the_published_script() -> None:
    cases = golden("strs")["cases"]
    assert len(cases) == 40
    for case in cases:
        got = metrics.strs(case["pred"], case["gt"], mode="reference")
        assert list(got) == list(case["reference"])
        for name, value in case["reference"].items():
            assert math.isnan(got[name]) if value is None else got[name] == pytest.approx(value, abs=1e-9), name


def test_strict_mode_counts_subjects_without_predictions() -> None:
    truth = [[1, "a", 10, 20, "positive"], [2, "a", 10, 20, "positive"]]
    got = metrics.strs([[1, "a", 10, 20, "positive"]], truth)
    assert (got["TP spotting"], got["FP spotting"], got["FN spotting"]) == (1, 0, 1)
    assert metrics.strs([[1, "a", 10, 20, "positive"]], truth, mode="reference")["FN spotting"] == 0


def test_strict_mode_counts_predictions_in_videos_without_events() -> None:
    predicted = [[1, "a", 10, 20, "positive"], [1, "b", 10, 20, "positive"]]
    truth = [[1, "a", 10, 20, "positive"]]
    assert metrics.strs(predicted, truth)["FP spotting"] == 1
    assert metrics.strs(predicted, truth, mode="reference")["FP spotting"] == 0


def test_strict_mode_lets_one_prediction_match_one_event() -> None:
    predicted, truth = [[1, "a", 0, 19, "others"]], [[1, "a", 0, 9, "others"], [1, "a", 10, 19, "others"]]
    got = metrics.strs(predicted, truth)
    assert (got["TP spotting"], got["FP spotting"], got["FN spotting"]) == (1, 0, 1)
    assert metrics.strs(predicted, truth, mode="reference")["TP spotting"] == 2


def test_strict_mode_uar_is_mean_recall_and_not_precision() -> None:
    rows = [("negative", "negative"), ("negative", "positive"), ("positive", "positive"), ("positive", "positive")]
    truth = [[1, "a", 100 * i, 100 * i + 9, true] for i, (_, true) in enumerate(rows)]
    predicted = [[1, "a", 100 * i, 100 * i + 9, named] for i, (named, _) in enumerate(rows)]
    assert metrics.strs(predicted, truth)["UAR analysis"] == pytest.approx((1 + 2 / 3) / 2)


def test_strict_mode_is_one_for_a_perfect_table_of_one_class() -> None:
    rows = [[1, "a", 10, 20, "others"], [1, "b", 10, 20, "others"]]
    assert metrics.strs(rows, rows)["STRS"] == 1.0
    assert math.isnan(metrics.strs(rows, rows, mode="reference")["STRS"])


def test_strict_mode_of_empty_tables_is_zero() -> None:
    assert set(metrics.strs([], []).values()) == {0.0}


def test_matching_finds_the_largest_set_of_pairs() -> None:
    # The first prediction fits both events; taking its best one would leave the second prediction alone.
    assert len(metrics.match([(0, 12), (0, 6)], [(0, 10), (2, 16)])) == 2
    assert metrics.match([(0, 1)], [(10, 20)]) == []


def test_strs_names_missing_columns() -> None:
    class Table:
        columns = ("subject", "video", "onset", "offset")

    with pytest.raises(ValueError, match="emotion"):
        metrics.strs(Table(), [])


def test_one_event_in_two_predictions_is_one_hit_though_the_published_count_says_two() -> None:
    """Fault of the reference: one event may be found twice, and one prediction may find two events."""
    assert metrics.spotting_counts([(0, 19), (0, 21)], [(0, 20)]) == metrics.Counts(1, 1, 0)
    assert metrics.published_spotting_counts([(0, 19), (0, 21)], [(0, 20)]).tp == 2
    assert metrics.spotting_counts([(0, 19)], [(0, 14), (5, 19)]) == metrics.Counts(1, 0, 1)
    assert metrics.published_spotting_counts([(0, 19)], [(0, 14), (5, 19)]).tp == 2


def test_nothing_strict_is_ever_nan() -> None:
    """Fault of the reference: it is NaN when all matched intervals have one class."""
    rows = [("1", "a", 0, 20, "positive")]
    assert math.isnan(metrics.strs(rows, rows, "reference")["STRS"])
    for predicted in ([], rows, [("1", "a", 100, 120, "negative")]):
        for truth in ([], rows):
            assert all(math.isfinite(value) for value in metrics.strs(predicted, truth).values())


class ColumnTable(dict[str, list[Any]]):
    """As much of a pandas table as there is in every version of it: named columns."""

    @property
    def columns(self) -> list[str]:
        return list(self)


@pytest.mark.parametrize("mode", ["strict", "reference"])
def test_tables_need_nothing_that_newer_pandas_no_longer_have(mode: Literal["strict", "reference"]) -> None:
    """Fault of the reference: it calls what pandas 2 no longer has."""
    rows = [("1", "a", 0, 20, "positive"), ("1", "b", 5, 25, "negative")]
    table = ColumnTable(zip(metrics.COLUMNS, (list(column) for column in zip(*rows, strict=True)), strict=True))
    assert metrics.strs(table, table, mode) == metrics.strs(rows, rows, mode)
