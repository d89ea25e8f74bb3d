from __future__ import annotations

from pathlib import Path

import pytest

from sfam.app.table_difference import ACROSS_BACKENDS, first_difference

TABLE = "frame,cause,spot,p_positive\n0,,0.500000,0.200000\n1,no_face,,\n"


def differ(folder: Path, other: str | None, **options: bool) -> str:
    first, second = folder / "a" / "scores.csv", folder / "b" / "scores.csv"
    for path, text in ((first, TABLE), (second, other)):
        path.parent.mkdir(exist_ok=True)
        if text is not None:
            path.write_text(text, newline="")
    tolerances = ACROSS_BACKENDS if options.pop("backends", False) else None
    found = first_difference(first, second, tolerances, **options)
    return "" if found is None else str(found)


def test_equal_bytes_are_equal(tmp_path: Path) -> None:
    assert differ(tmp_path, TABLE) == ""


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (TABLE.replace("0.500000", "0.500001"), "scores.csv line 2, column spot: '0.500000' against '0.500001'"),
        (TABLE.replace("1,no_face,,\n", ""), "scores.csv line 3: '1,no_face,,' against 'no line'"),
        (TABLE + "2,,,\n", "scores.csv line 4: 'no line' against '2,,,'"),
        (TABLE.replace("\n", "\r\n"), "line ends or quoting"),
        (None, "'there' against 'missing'"),
    ],
)
def test_the_first_difference_is_named(tmp_path: Path, other: str | None, said: str) -> None:
    assert said in differ(tmp_path, other)


def test_between_backends_scores_may_differ_a_little_and_nothing_else(tmp_path: Path) -> None:
    near = TABLE.replace("0.500000", "0.500100").replace("0.200000", "0.201000")
    assert differ(tmp_path, near, backends=True) == ""
    assert "column spot" in differ(tmp_path, TABLE.replace("0.500000", "0.500200"), backends=True)
    assert "column p_positive" in differ(tmp_path, TABLE.replace("0.200000", "0.202000"), backends=True)
    assert "column spot" in differ(tmp_path, TABLE.replace("0.500000", ""), backends=True)
    assert "column cause" in differ(tmp_path, TABLE.replace("no_face", "lost"), backends=True)


def test_a_killed_session_is_compared_as_far_as_it_came(tmp_path: Path) -> None:
    longer = TABLE + "2,,0.7,0.1\n"
    assert "line 4" in differ(tmp_path, longer)
    assert differ(tmp_path, longer, begins_only=True) == ""
    assert "column cause" in differ(tmp_path, longer.replace("no_face", "lost"), begins_only=True)
