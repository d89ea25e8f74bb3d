"""Models on the command line, with the authors' checkpoints."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

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


def test_an_exported_model_runs_elsewhere_and_its_checkpoints_come_back(tmp_path: Path) -> None:
    weights = shared("sfamnet/pretrained_weights/4emo")
    assert run("sfam", "model", "import", weights, "--name", "two", "--folds", "2", "--out", tmp_path).returncode == 0
    done = run("sfam", "model", "export", tmp_path / "two", "--out", tmp_path / "copy", "--checkpoints")
    assert done.returncode == 0, done.stderr
    assert "BSD-3" in done.stderr
    for line in (tmp_path / "copy" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "copy" / name).read_bytes()).hexdigest() == digest
        assert line in done.stdout
    assert run("sfam", "model", "check", tmp_path / "copy").returncode == 0
    again = run("sfam", "model", "import", tmp_path / "copy" / "checkpoints", "--name", "two", "--out", tmp_path / "b")
    assert again.returncode == 0, again.stderr
    graphs = [(tmp_path / folder / "model.onnx").read_bytes() for folder in ("two", "copy", "b/two")]
    assert graphs[0] == graphs[1] == graphs[2]
    refused = run("sfam", "model", "export", tmp_path / "two", "--out", tmp_path / "copy")
    assert (refused.returncode, "--force" in refused.stderr) == (2, True)


def test_a_model_is_compiled_ahead_for_another_machines_gpu(tmp_path: Path) -> None:
    if os.environ.get("SFAM_REQUIRE_TENSORRT") != "1":
        pytest.importorskip("tensorrt_rtx")
    actions = []
    for precision in ("fp32", "fp16", "fp32"):
        done = run("sfam", "model", "compile", "synthetic-4", "--capability", "8.9", "--gpu", "NVIDIA L4",
                   "--precision", precision, "--cache", tmp_path, "--json")  # fmt: skip
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)
        assert (row["gpu"], row["capability"], row["precision"]) == ("NVIDIA L4", "8.9", precision)
        actions.append(row["action"])
    assert actions == ["built", "built", "cached"]
    assert len(list(tmp_path.glob("*.plan"))) == 2


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_without_a_gpu_tensorrt_is_exit_code_4_and_never_another_engine(tmp_path: Path) -> None:
    done = run("sfam-live", "--engine", "tensorrt", "--camera", "demo", "--duration", "1", "--publish", "none",
               "--single-process", "--out", tmp_path / "s")  # fmt: skip
    assert done.returncode == 4
    assert not (tmp_path / "s" / "scores.csv").exists()
    assert run("sfam", "model", "compile", "synthetic-4").returncode == 4
