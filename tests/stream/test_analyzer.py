from __future__ import annotations

from collections.abc import Mapping

import pytest

from sfam.capture.frame import RGBDFrame
from sfam.stream.analyzer import FAILURES_TO_STOP, Analyzer, AnalyzerError, RatedAnalyzer, analyzer_names, open_analyzer
from tests.stream.moving_face import frame


class MeanGrey(Analyzer):
    def __init__(self, broken: frozenset[int] = frozenset()) -> None:
        self.broken = broken
        self.closed = False

    def analyze(self, frame: RGBDFrame) -> Mapping[str, float] | None:
        if frame.sequence in self.broken:
            raise RuntimeError("no light")
        return {"grey": float(frame.color.mean())}

    def close(self) -> None:
        self.closed = True


def seen(rated: RatedAnalyzer, count: int) -> list[int]:
    return [result.frame for index in range(count) for result in rated.push(frame(index))]


def test_an_analyzer_is_asked_no_more_often_than_allowed_and_results_carry_the_stamp() -> None:
    rated = RatedAnalyzer("grey", MeanGrey(), 10.0)
    assert seen(rated, 10) == [0, 4, 7]
    result = next(rated.push(frame(20)))
    assert (result.analyzer, result.frame, result.t_capture_ns) == ("grey", 20, frame(20).t_capture_ns)
    assert 40 < result.values["grey"] < 200
    assert [r.frame for r in rated.push(frame(3))] == [3], "a clock that jumps back begins anew"


def test_a_failure_on_one_frame_is_counted_and_many_in_a_row_end_it() -> None:
    rated = RatedAnalyzer("grey", MeanGrey(frozenset((1, 2))), 100.0)
    assert seen(rated, 5) == [0, 3, 4]
    assert (rated.analysed, rated.failed, rated.last_failure) == (5, 2, "RuntimeError: no light")
    hopeless = RatedAnalyzer("grey", MeanGrey(frozenset(range(99))), 100.0)
    assert seen(hopeless, FAILURES_TO_STOP - 1) == []
    with pytest.raises(AnalyzerError, match="switched off for this session"):
        list(hopeless.push(frame(50)))


def test_an_unknown_analyzer_is_refused_with_those_that_are_known() -> None:
    assert "blendshapes" in analyzer_names()
    with pytest.raises(AnalyzerError, match="known: blendshapes"):
        open_analyzer("blendshape", {})
