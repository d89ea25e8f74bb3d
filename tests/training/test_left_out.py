from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sfam.stream.config import StreamConfig
from sfam.training.casme3_annotation import read_annotation
from sfam.training.dataset import DataSet, Finding, group_by_subject
from sfam.training.feature_set import read_features, write_features
from sfam.training.left_out import left_out
from sfam.training.processed import FOLDER, read_processed
from tests.shared_data import shared
from tests.training.stand_in import InThisProcess, tree, write_processed

pytest.importorskip("openpyxl")
pytest.importorskip("python_calamine")


def test_clips_subjects_and_rows_that_no_figure_knows_of_are_said(tmp_path: Path) -> None:
    clips = list(tree(tmp_path / "tree").clips)
    gone = replace(clips[1], recording=tmp_path / "gone")
    odd = (Finding("row 3", "apex lies beyond the clip", False), Finding("row 4", "cut there", True))
    data = DataSet("x", group_by_subject([clips[0], gone]), odd)
    write_features(data, tmp_path / "some", StreamConfig(), InThisProcess())
    assert left_out(tmp_path / "some", None, read_features(tmp_path / "some")) == (
        f"Not in these figures: 1 clips that could not be measured, with {len(gone.intervals)} annotated expressions "
        "(features.json says why); subjects without any measured clip: spNO.2; 1 rows or clips of the data set that "
        "could not be used (findings.csv names them)."
    )
    write_features(DataSet("x", group_by_subject(clips[:1])), tmp_path / "all", StreamConfig(), InThisProcess())
    assert left_out(tmp_path / "all", None, read_features(tmp_path / "all")) == ""


def test_annotated_videos_that_processed_files_do_not_hold_are_said(tmp_path: Path) -> None:
    annotation = shared("sfamnet/annotation")
    root = write_processed(tmp_path, ("spNO.1", "spNO.2"))
    tables = read_annotation(annotation).intervals
    missing = [rows for key, rows in tables.items() if key not in {("1", "a"), ("2", "a")}]
    assert len(missing) == len(tables) - 2
    assert left_out(root, annotation, read_processed(root / FOLDER, annotation)) == (
        f"Not in these figures: {len(missing)} annotated videos with {sum(map(len, missing))} expressions that the "
        "processed files do not hold."
    )
