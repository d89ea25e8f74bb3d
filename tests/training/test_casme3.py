from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sfam.training.casme3 import read_casme3, read_exceptions
from sfam.training.casme3_annotation import read_annotation
from sfam.training.dataset import DataSetError, emotion_class, published_offset, subject_key
from tests.shared_data import shared

pytest.importorskip("openpyxl")
pytest.importorskip("python_calamine")


def annotation_folder() -> Path:
    return shared("sfamnet/annotation")


def test_both_tables_are_read_whole() -> None:
    tables = read_annotation(annotation_folder())
    assert tables.count("micro") == 860
    assert tables.count("macro") == 3346
    emotions = Counter(one.emotion for rows in tables.intervals.values() for one in rows if one.kind == "micro")
    assert emotions == {
        "disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sad": 57, "happy": 55
    }  # fmt: skip
    assert len({subject for subject, _ in tables.intervals}) == 98


def test_odd_rows_are_reported_and_kept() -> None:
    tables = read_annotation(annotation_folder())
    texts = [one.what for one in tables.findings]
    assert sum("offset" in text and "apex + (apex - onset)" in text for text in texts) == 267
    assert sum("'Others' read as 'others'" in text for text in texts) == 3
    assert sum("frame 0 where" in text for text in texts) == 2
    assert sum("a frame is a number" in text for text in texts) == 8
    assert all(one.kept for one in tables.findings)


def test_long_micros_become_symmetric_about_their_apex() -> None:
    tables = read_annotation(annotation_folder())
    micros = [one for rows in tables.intervals.values() for one in rows if one.kind == "micro"]
    assert max(one.offset - one.onset for one in micros) < 3455
    assert published_offset("micro", 10, 15, 90) == (20, "micro of 80 frames: offset 90 -> 20 = apex + (apex - onset)")
    assert published_offset("macro", 10, 15, 90) == (90, "")
    assert published_offset("micro", 10, 15, 40) == (40, "")
    first = tables.intervals[("1", "a")][2]
    assert (first.kind, first.onset, first.apex, first.offset, first.emotion) == ("micro", 354, 358, 359, "others")


def clip(root: Path, subject: str, video: str, numbers: range) -> None:
    color = root / subject / video / "color"
    color.mkdir(parents=True)
    for number in numbers:
        (color / f"{number}.jpg").touch()


def test_a_tree_is_joined_to_its_tables_whatever_the_spelling(tmp_path: Path) -> None:
    clip(tmp_path, "spNO1", "A", range(1, 400))
    clip(tmp_path, "spNO.216", "e", range(1, 10))
    clip(tmp_path, "visitor", "x", range(1, 3))
    data = read_casme3(tmp_path, annotation_folder())
    by_name = {(one.subject, one.video): one for one in data.clips}
    assert set(by_name) == {("spNO.1", "A"), ("spNO.216", "e"), ("visitor", "x")}
    assert [one.onset for one in by_name["spNO.1", "A"].intervals] == [36, 267, 354]
    assert by_name["spNO.216", "e"].intervals[0].offset == 8
    assert by_name["visitor", "x"].intervals == ()
    texts = [(one.what, one.kept) for one in data.findings]
    assert sum("no such clip" in text for text, _ in texts) == 954
    assert any("lies beyond the clip's last frame 398" in text and not kept for text, kept in texts)
    assert any("cut there" in text and kept for text, kept in texts)


def test_two_spellings_of_one_clip_are_refused(tmp_path: Path) -> None:
    clip(tmp_path, "spNO.1", "a", range(1, 3))
    clip(tmp_path, "spNO1", "a", range(1, 3))
    with pytest.raises(DataSetError, match="two spellings"):
        read_casme3(tmp_path, annotation_folder())


def test_listed_unreadable_frames_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "unreadable.txt"
    path.write_text("# known\nspNO.3 J 498-503\nspNO3 j 7\nnonsense\n")
    listed, odd = read_exceptions(path)
    assert listed == {("3", "j"): frozenset([6, *range(497, 503)])}
    assert [(one.where, one.kept) for one in odd] == [("unreadable.txt line 4", False)]


def test_missing_tables_and_trees_say_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="no clip below"):
        read_casme3(tmp_path)
    clip(tmp_path, "1", "a", range(1, 3))
    with pytest.raises(DataSetError, match="both annotation tables"):
        read_casme3(tmp_path)
    (tmp_path / "x_part_A_v2.xls").write_bytes(b"not a table")
    with pytest.raises(DataSetError, match="no readable"):
        read_casme3(tmp_path)


@pytest.mark.parametrize(("spelling", "key"), [("spNO.210", "210"), ("spNO007", "7"), ("Anna ", "anna"), ("12", "12")])
def test_subject_spellings(spelling: str, key: str) -> None:
    assert subject_key(spelling) == key


def test_emotions_map_to_the_published_classes() -> None:
    assert [emotion_class(name, 4) for name in ("happy", "sad", "surprise", "others", "positive", "bored")] == [
        1, 0, 2, 3, 1, None
    ]  # fmt: skip
    assert [emotion_class(name, 7) for name in ("disgust", "happy", "negative")] == [0, 6, None]
