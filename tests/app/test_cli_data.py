"""From a tree of clips to a report, by the commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sfam.app.cli import app
from sfam.app.config import ConfigError
from sfam.training.dataset import DataSetError
from tests.shared_data import shared
from tests.training.stand_in import tree

pytest.importorskip("torch")
pytest.importorskip("openpyxl")
RUNNER = CliRunner()


@pytest.mark.slow  # measures two clips and trains two short folds, each in a process of its own
def test_a_tree_becomes_features_and_a_report(tmp_path: Path) -> None:
    tree(tmp_path / "tree")
    measured = RUNNER.invoke(app, ["features", str(tmp_path / "tree"), str(tmp_path / "windows"), "--workers", "1"])
    assert measured.exit_code == 0, measured.output
    assert "SYNTHETIC stand-in for CAS(ME)^3 part A: 2 clips (0 from before)" in measured.output
    again = RUNNER.invoke(app, ["features", str(tmp_path / "tree"), str(tmp_path / "windows"), "--workers", "1"])
    assert "2 clips (2 from before)" in again.output
    short = ["--steps", "2", "--batch", "8", "--draws", "5", "--workers", "1"]
    run = ["evaluate", str(tmp_path / "windows"), "--out", str(tmp_path / "trained"), *short]
    trained = RUNNER.invoke(app, run)
    assert trained.exit_code == 0, trained.output
    text = (tmp_path / "trained" / "report.md").read_text()
    assert text.startswith("# SYNTHETIC")
    assert "NOT the published steps" in text
    assert sorted(path.name for path in (tmp_path / "trained" / "weights").iterdir()) == [
        "subject_1.pkl", "subject_2.pkl"
    ]  # fmt: skip
    weights = str(shared("sfamnet/pretrained_weights"))
    scored = RUNNER.invoke(
        app,
        ["evaluate", str(tmp_path / "windows"), "--train", "false", "--emotion", "7", "--weights", weights,
         "--out", str(tmp_path / "scored"), *short],
    )  # fmt: skip
    assert scored.exit_code == 0, scored.output
    assert "2 of 2 subjects scored" in (tmp_path / "scored" / "report.md").read_text()


def test_missing_processed_data_is_one_sentence_with_the_source_code(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["evaluate", str(tmp_path), "--train", "true", "--emotion", "4"])
    assert isinstance(result.exception, DataSetError)
    assert "have hidden the download" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--train", "maybe"], "true or false"),
        (["--train", "false"], "--weights"),
        (["--emotion", "5"], "4 or 7"),
        (["--protocol", "kfold"], "only loso"),
        (["--executor", "slurm"], "known: local, ray"),
        (["--gain", "much", "--train", "false", "--weights", "w"], "--gain much"),
        (["--executor", "batched", "--train", "false", "--weights", "w"], "batched trains"),
    ],
)
def test_wrong_options_are_usage_errors(tmp_path: Path, options: list[str], text: str) -> None:
    result = RUNNER.invoke(app, ["evaluate", str(tmp_path), *options])
    assert isinstance(result.exception, ConfigError)
    assert text in str(result.exception)
