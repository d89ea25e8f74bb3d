"""Models on the command line, with the authors' checkpoints."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tests.app.command import run
from tests.shared_data import shared


def test_the_default_model_is_listed_and_passes_its_parity_check() -> None:
    names = [row["name"] for row in json.loads(run("sfam", "model", "list", "--json").stdout)]
    assert "synthetic-4" in names
    done = run("sfam", "model", "check", "synthetic-4", "--json")
    assert done.returncode == 0
    reports = json.loads(done.stdout)
    assert reports["onnxruntime"]["ok"]
    assert reports["torch"]["ok"]


def test_a_folder_of_seven_class_folds_becomes_a_model_that_runs(tmp_path: Path) -> None:
    weights = shared("sfamnet/pretrained_weights/7emo")
    done = run("sfam", "model", "import", weights, "--name", "seven", "--folds", "2", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(f"skipped subject_{subject}.pkl" in done.stderr for subject in (3, 10, 40, 144))
    live = run("sfam-live", "--camera", shared("recordings/face_a.bag"), "--speed", "max", "--publish", "none",
               "--single-process", "--model", tmp_path / "seven", "--out", tmp_path / "session")  # fmt: skip
    assert live.returncode == 0, live.stderr
    with (tmp_path / "session" / "scores.csv").open() as file:
        table = list(csv.DictReader(file))
    classes = ["disgust", "surprise", "others", "fear", "anger", "sad", "happy", "neutral"]
    assert [name for name in table[0] if name.startswith("p_")] == [f"p_{name}" for name in classes]
    assert len(table) == 180


def test_an_existing_model_is_replaced_only_when_asked(tmp_path: Path) -> None:
    checkpoint = shared("sfamnet/pretrained_weights/4emo/subject_1.pkl")
    arguments: list[str | Path] = ["model", "import", checkpoint, "--name", "one", "--out", tmp_path]
    assert run("sfam", *arguments).returncode == 0
    refused = run("sfam", *arguments)
    assert (refused.returncode, "--force" in refused.stderr) == (2, True)
    assert run("sfam", *arguments, "--force").returncode == 0


def test_a_checkpoint_of_nan_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint = shared("sfamnet/pretrained_weights/4emo/subject_3.pkl")
    done = run("sfam", "model", "import", checkpoint, "--name", "nan", "--out", tmp_path)
    assert done.returncode == 4
    assert "subject_3.pkl" in done.stderr
    assert not (tmp_path / "nan").exists()
