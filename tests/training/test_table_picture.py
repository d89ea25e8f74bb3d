from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="evaluation needs torch: pip install 'sfam-live[train]'")

from sfam.training.clip_windows import ClipWindows, no_maps
from sfam.training.dataset import AnnotatedInterval
from sfam.training.evaluation import Evaluation, evaluate
from sfam.training.loso import ClipTrace, FoldResult
from sfam.training.table_picture import draw_table, write_pictures


def an_evaluation() -> Evaluation:
    interval = AnnotatedInterval("micro", 40, 50, 60, "sad")
    clip = ClipWindows("spNO.1", "a", no_maps(), np.zeros(0, np.int64), 200, (interval,), no_maps(), ())
    fold = FoldResult("spNO.1", "scored", "", (ClipTrace("a", (0.2,) * 100, (4,) * 100),), (0, 1), (0, 4))
    return evaluate([clip], [fold], 4, draws=5)


def test_every_row_and_column_has_ink_and_room() -> None:
    rows = [("Total", "12", "3"), ("F1-score", "0.1234", "0.5000")]
    picture = draw_table("A title", ("", "MaE", "ME"), rows)
    ink = picture.min(axis=2) < 128
    assert ink[:, 0].sum() < 10, "nothing but rules touches the edge"
    assert not ink[0].any()
    longer = draw_table("A title that is a good deal longer than the table itself", ("", "MaE", "ME"), rows)
    assert longer.shape[1] > picture.shape[1]
    taller = draw_table("A title", ("", "MaE", "ME"), [*rows, ("more", "1", "2")])
    assert taller.shape[0] > picture.shape[0]


def test_three_pictures_of_an_evaluation_are_written_whole(tmp_path: Path) -> None:
    written = write_pictures(an_evaluation(), "SYNTHETIC: ", tmp_path)
    assert [path.name for path in written] == ["spotting.png", "recognition.png", "analysis.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["analysis.png", "recognition.png", "spotting.png"]
    for path in written:
        picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert (picture < 128).any()
