"""From a tree of clips to a report and a model that runs, by the commands."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sfam.app.cli import app
from sfam.app.config import ConfigError
from sfam.training.dataset import DataSetError
from tests.app.command import run
from tests.shared_data import shared
from tests.training.stand_in import tree

pytest.importorskip("torch")
pytest.importorskip("openpyxl")
from sfam.engine.network import SFAMNet
from sfam.training import batched_folds
from sfam.training.batched_folds import FoldFit, fit_batched

RUNNER = CliRunner()


SHORT = ("--steps", "2", "--batch", "8", "--draws", "5", "--workers", "1")


@dataclass(frozen=True)
class Lab:
    """A tree of two subjects, its windows, and what training on them said."""

    tree: Path
    windows: Path
    trained: Path
    said: str
    shown: str
    """On a terminal."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    clips, windows, trained = folder / "tree", folder / "windows", folder / "trained"
    tree(clips)
    measured = RUNNER.invoke(app, ["features", str(clips), str(windows), "--workers", "1"])
    assert measured.exit_code == 0, measured.output
    assert "SYNTHETIC stand-in for CAS(ME)^3 part A: 2 clips (0 from before)" in measured.output
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm"}
    done = RUNNER.invoke(app, ["evaluate", str(windows), "--out", str(trained), *SHORT], env=terminal)
    assert done.exit_code == 0, done.output
    return Lab(clips, windows, trained, done.stdout, done.stderr)


@pytest.mark.slow  # measures two clips and trains two short folds, each in a process of its own
def test_a_tree_becomes_features_and_a_report(lab: Lab, tmp_path: Path) -> None:
    again = RUNNER.invoke(app, ["features", str(lab.tree), str(lab.windows), "--workers", "1"])
    assert "2 clips (2 from before)" in again.output
    assert "2/2" in lab.shown, "how many folds are done"
    text = (lab.trained / "report.md").read_text()
    assert text.startswith("# SYNTHETIC")
    assert "NOT the published steps" in text
    assert sorted(path.name for path in (lab.trained / "weights").iterdir()) == [
        "origin.json", "subject_1.pkl", "subject_2.pkl"
    ]  # fmt: skip
    weights = str(shared("sfamnet/pretrained_weights"))
    scored = RUNNER.invoke(
        app,
        ["evaluate", str(lab.windows), "--train", "false", "--emotion", "7", "--weights", weights,
         "--out", str(tmp_path / "scored"), *SHORT],
    )  # fmt: skip
    assert scored.exit_code == 0, scored.output
    assert "2 of 2 measured subjects scored" in (tmp_path / "scored" / "report.md").read_text()


@pytest.mark.slow  # trains two short folds
def test_folds_in_one_graph_are_so_many_as_asked_for(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[int] = []

    def counted(networks: Sequence[SFAMNet], *rest: Any, **named: Any) -> list[FoldFit]:
        graphs.append(len(networks))
        return fit_batched(networks, *rest, **named)

    monkeypatch.setattr(batched_folds, "fit_batched", counted)
    command = ["evaluate", str(lab.windows), "--executor", "batched", "--out", str(tmp_path), *SHORT]
    done = RUNNER.invoke(app, [*command, "--folds-at-once", "1"])
    assert done.exit_code == 0, done.output
    assert graphs == [1, 1]
    for name in ("1.json", "2.json"):
        one, alone = (json.loads((out / "folds" / name).read_text())["result"] for out in (tmp_path, lab.trained))
        assert one["loss"] == pytest.approx(alone["loss"], rel=1e-3)


@pytest.mark.slow  # plays two clips
@pytest.mark.parametrize("subject", [1, 2])
def test_a_trained_fold_scores_live_as_it_did_in_the_evaluation(lab: Lab, tmp_path: Path, subject: int) -> None:
    checkpoint = lab.trained / "weights" / f"subject_{subject}.pkl"
    done = run("sfam", "model", "import", checkpoint, "--name", "fold", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    live = run("sfam-live", "--camera", lab.tree / f"spNO.{subject}" / "a", "--set", "capture.depth_unit_m=0.001",
               "--speed", "max", "--publish", "none", "--single-process", "--model", tmp_path / "fold",
               "--out", tmp_path / "session")  # fmt: skip
    assert live.returncode == 0, live.stderr
    with (tmp_path / "session" / "scores.csv").open(newline="") as file:
        spots = [float(row["spot"]) for row in csv.DictReader(file) if row["spot"]]
    frames = np.load(lab.windows / "clips" / f"spNO.{subject}__a" / "frames.npy")
    (trace,) = json.loads((lab.trained / "folds" / f"{subject}.json").read_text())["result"]["traces"]
    assert len(spots) == len(frames) > 5
    scored = frames % 2 == 0  # as the published program does
    assert np.array(spots)[scored] == pytest.approx(np.array(trace["spot"])[frames[scored] // 2], abs=1e-4)


@pytest.mark.slow  # checks an ensemble on every backend
def test_all_folds_become_one_model_that_says_what_it_is(lab: Lab, tmp_path: Path) -> None:
    weights = lab.trained / "weights"
    assert f"sfam model import {weights} --name NAME" in lab.said
    done = run("sfam", "model", "import", weights, "--name", "ours", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 networks" in done.stdout
    shown = " ".join(run("sfam", "model", "show", tmp_path / "ours").stdout.split())
    assert "trained on: SYNTHETIC stand-in for CAS(ME)^3 part A, 2 subjects, each network on all but its own" in shown
    assert "2 steps of 8 (NOT the published steps and batch), seed 0" in shown
    assert "evaluated: leave one subject out on SYNTHETIC stand-in" in shown
    assert "never score them on these" in shown
    assert "published SFAMNet weights" not in shown
    described = json.loads((tmp_path / "ours" / "model.json").read_text())
    assert set(described["evaluated"]["strict"]) >= {"STRS", "AP[.5:.95] micro", "recognition UAR"}
    exported = run("sfam", "model", "export", tmp_path / "ours", "--out", tmp_path / "copy")
    assert exported.returncode == 0, exported.stderr
    assert run("sfam", "model", "check", tmp_path / "copy").returncode == 0


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
