"""The commands around training: a corpus, its windows, and what is refused before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.app.command import run
from tests.shared_data import shared


@pytest.mark.slow  # renders two recordings of eight seconds
def test_a_corpus_is_written_goes_on_and_becomes_windows(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    command = ("sfam", "synth", corpus, "--subjects", "2", "--clips", "1", "--seconds", "8", "--workers", "1")
    done = run(*command)
    assert (done.returncode, "2 clips (0 from before), 1 of them for testing" in done.stdout) == (0, True), done.stderr
    again = run(*command)
    assert "2 clips (2 from before)" in again.stdout, again.stderr
    (truth,) = (corpus / "train").rglob("*.json")
    assert json.loads(truth.read_text())["events"]
    windows = run("sfam", "features", corpus / "train", tmp_path / "windows", "--workers", "1")
    assert windows.returncode == 0, windows.stderr
    assert "1 clips (0 from before)" in windows.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("synth", "corpus", "--depth-noise", "pink"), "--depth-noise pink: known are"),
        (("train", "--finetune", "synthetic-4"), "--finetune MODEL and --data FOLDER go together"),
        (("train", "--data", "windows"), "--finetune MODEL and --data FOLDER go together"),
        (("train", "--preset", "synthetic-9"), "synthetic-9"),
        (("train", "--finetune", "a", "--data", "b", "--tensorboard", "c"), "--tensorboard goes with a preset"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("sfam", *arguments)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("train", "--finetune", "synthetic-4"), ("model", "distill", "synthetic-4")])
def test_windows_of_another_length_than_the_models_are_refused(command: tuple[str, ...], tmp_path: Path) -> None:
    windows = tmp_path / "windows"
    windows.mkdir()
    (windows / "features.json").write_text('{"window_ms": 300.0}')
    (windows / "index.csv").write_text("subject,video,folder\n")
    done = run("sfam", *command, "--data", windows, "--out", tmp_path / "new")
    assert done.returncode == 3, done.stdout
    assert "windows of 300 ms, but the model reads windows of 200 ms" in done.stderr
    assert list(tmp_path.iterdir()) == [windows]


@pytest.mark.slow  # a whole recording through the flow
def test_an_imported_models_gain_is_fitted_on_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    weights = shared("sfamnet/pretrained_weights/4emo")
    done = run("sfam", "model", "import", weights, "--name", "fitted", "--folds", "1", "--gain-from",
               shared("recordings/face_a.bag"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = run("sfam", "model", "show", "fitted")
    assert "(face_a.bag)" in shown.stdout, shown.stdout
