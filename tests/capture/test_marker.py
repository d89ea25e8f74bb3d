from __future__ import annotations

import pytest

from sfam.capture.marker import KEPT_MARKERS, NO_TRIAL, Marker, Trial, Trials, parse_marker


@pytest.mark.parametrize(
    ("text", "trial", "condition", "ends"),
    [
        ('{"trial": 3, "condition": "smile"}', "3", "smile", False),
        ('{"condition": "smile", "other": [1]}', "", "smile", False),
        ('{"trial": "a-1"}', "a-1", "", False),
        ('{"trial": 0}', "0", "", False),
        ('{"end": true}', "", "", True),
        ("fixation cross", "", "fixation cross", False),
        ("5", "", "5", False),
        ("[1, 2]", "", "[1, 2]", False),
        ("trial_end", "", "", True),
        (" END ", "", "", True),
        ("", "", "", False),
        ('{"trial": null}', "", "", False),
    ],
)
def test_a_marker_says_which_trial_begins(text: str, trial: str, condition: str, ends: bool) -> None:
    assert parse_marker(text, 7, "lsl:x") == Marker(7, text, "lsl:x", trial, condition, ends)


def test_an_endless_text_is_cut() -> None:
    assert len(parse_marker("x" * 1_000_000, 0, "zmq").text) == 4096


def at(trials: Trials, *times: int) -> list[Trial]:
    return [trials.at(time) for time in times]


def test_a_moment_belongs_to_the_trial_that_ran() -> None:
    trials = Trials()
    for time, text in ((10, "smile"), (20, '{"trial": "b", "condition": "neutral"}'), (30, "end"), (40, "smile")):
        trials.add(parse_marker(text, time, "x"))
    assert at(trials, 9, 10, 19, 20, 29, 30, 39, 41) == [
        NO_TRIAL,
        *[Trial("1", "smile")] * 2,
        *[Trial("b", "neutral")] * 2,
        *[NO_TRIAL] * 2,
        Trial("3", "smile"),
    ]


def test_a_marker_that_comes_late_counts_from_its_own_time() -> None:
    trials = Trials()
    trials.add(parse_marker('{"trial": 2}', 20, "x"))
    trials.add(parse_marker('{"trial": 1}', 10, "x"))
    assert at(trials, 15, 25) == [Trial("1"), Trial("2")]


def test_a_marker_about_something_else_changes_nothing() -> None:
    trials = Trials()
    trials.add(parse_marker("smile", 10, "x"))
    assert trials.add(parse_marker('{"volume": 11}', 20, "x")) == Trial("1", "smile")
    assert trials.at(25) == Trial("1", "smile")


def test_trials_without_end_cost_bounded_memory() -> None:
    trials = Trials()
    for number in range(KEPT_MARKERS + 500):
        trials.add(parse_marker("go", number, "x"))
    assert trials.at(KEPT_MARKERS + 499) == Trial(str(KEPT_MARKERS + 500), "go")
    assert trials.at(100) == NO_TRIAL
