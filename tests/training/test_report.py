from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("torch")

from sfam.training.clip_windows import ClipWindows, no_maps
from sfam.training.dataset import AnnotatedInterval
from sfam.training.evaluation import evaluate
from sfam.training.loso import ClipTrace, FoldResult
from sfam.training.report import NOT_MEASURED, PUBLISHED, Report, make_report, to_html, write_report


def report(classes: int, real: bool) -> Report:
    interval = AnnotatedInterval("micro", 40, 50, 60, "sad")
    clip = ClipWindows("spNO.1", "a<b", no_maps(), np.zeros(0, np.int64), 200, (interval,), no_maps(), ())
    folds = [
        FoldResult("spNO.1", "scored", "", (ClipTrace("a<b", (0.2,) * 100, (classes,) * 100),), (0, 1), (0, classes)),
        FoldResult("spNO.3", "non_finite", "weights are not finite after step 7"),
    ]
    return make_report(evaluate([clip], folds, classes, draws=20), folds, "SYNTHETIC test", "Trained.", real=real,
                       left_out="Not in these figures: 2 clips.")  # fmt: skip


@pytest.mark.parametrize("classes", [4, 7])
def test_without_the_real_data_no_figure_stands_beside_the_published_ones(classes: int) -> None:
    made = report(classes, real=False)
    beside = made.tables[0]
    assert made.title.startswith("SYNTHETIC")
    assert all(table.title.startswith("SYNTHETIC: ") for table in made.tables)
    for row in beside.rows[:-1]:
        assert row[1] == PUBLISHED[classes][row[0]]
        assert row[2:4] == (NOT_MEASURED, NOT_MEASURED)
    scores = {name: (strict, printed) for name, strict, printed in made.tables[1].rows}
    assert scores["AP[.5:.95] micro"] == ("0.0000 [0.0000, 0.0000]", "0.0000")
    measured = report(classes, real=True).tables[0]
    assert NOT_MEASURED not in {cell for row in measured.rows for cell in row}


def test_published_figures_are_consistent_with_each_other() -> None:
    for figures in PUBLISHED.values():
        strs, analysis, spotting = (float(figures[name]) for name in ("STRS", "analysis F1", "spotting F1 micro"))
        assert strs == pytest.approx(analysis * spotting, abs=1e-4)


def test_both_forms_name_failed_folds_and_hold_every_table(tmp_path: Path) -> None:
    made = report(4, real=False)
    markdown, page = write_report(made, tmp_path)
    for text in (markdown.read_text(), page.read_text()):
        assert "Fold spNO.3 stopped: non_finite: weights are not finite after step 7" in text
        assert "Not in these figures: 2 clips." in text
        assert "1 of 2 measured subjects scored" in text
        for table in made.tables:
            assert table.title in text
    confusion = made.tables[3]
    assert confusion.rows[0] == ("negative", "1", "0", "0", "0", "0")
    assert confusion.rows[1] == ("positive", "0", "0", "0", "0", "1")


def test_the_page_needs_nothing_from_outside_and_escapes_names() -> None:
    text = to_html(report(4, real=False))
    assert not re.search(r"(src|href)=|https?://|@import|<script", text)
    assert "a<b" not in text
    assert "a&lt;b" in text
    figures = re.findall(r"<svg.*?</svg>", text)
    assert len(figures) == 2
    for figure in figures:
        ElementTree.fromstring(figure)
