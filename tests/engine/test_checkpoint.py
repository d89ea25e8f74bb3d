from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sfam.engine.backend import check_all_backends, open_backend
from sfam.engine.checkpoint import CheckpointError, import_checkpoints, read_checkpoint
from sfam.engine.config import EngineConfig
from sfam.engine.export import default_parity_maps
from sfam.engine.fold_origin import FoldOrigin, begin_origin, write_origin
from sfam.engine.network import weights_of
from sfam.engine.response import fit_gain, response_to_scale
from sfam.engine.weights import pack_weights
from tests.engine.checkpoints import CLASSES, artifact, golden_forward, seeded
from tests.shared_data import shared


def save(path: Path, change: dict[str, Any] | None = None, seed: int = 0) -> Path:
    torch.save({**seeded(seed).state_dict(), **(change or {})}, path)
    return path


@pytest.mark.parametrize("kind", ["4emo", "7emo"])
def test_a_published_checkpoint_becomes_a_model(tmp_path: Path, kind: str) -> None:
    path = shared(f"sfamnet/pretrained_weights/{kind}/subject_1.pkl")
    report = import_checkpoints(path, "theirs", tmp_path / "m")
    assert report.artifact.classes == CLASSES[kind]
    assert report.artifact.decoding == "paper"
    x, spot, _ = golden_forward(kind, 1)
    assert np.abs(open_backend(EngineConfig(), report.artifact).logits(x)[0] - spot).max() <= 1e-4


def test_a_published_folder_skips_the_subjects_that_are_nan_and_says_so(tmp_path: Path) -> None:
    folder = shared("sfamnet/pretrained_weights/4emo")
    report = import_checkpoints(folder, "all", tmp_path / "m", folds=5, exclude_subject="200")
    broken = {f"subject_{n}.pkl" for n in (3, 10, 40, 144)}
    assert set(report.skipped) == broken | {"subject_200.pkl"}
    assert all("not finite" in report.skipped[name] for name in broken)
    assert len(report.used) == 5
    assert report.artifact.description["skipped"] == dict(report.skipped)
    assert all(entry["ok"] for entry in check_all_backends(report.artifact).values() if entry["present"])
    with pytest.raises(CheckpointError, match=r"subject_\d+\.pkl: .* not finite"):
        import_checkpoints(folder, "all", tmp_path / "n", strict=True)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"conv1.weight": Trap()}))
    torch.save({"conv1.weight": Trap()}, tmp_path / "evil.pt")
    for name in ("evil.pkl", "evil.pt"):
        with pytest.raises(CheckpointError, match=name):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_sfamnet_is_refused_by_file_name(tmp_path: Path) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "shape.pkl": {"conv1.weight": torch.ones(8, 9, 3, 3)},
        "extra.pkl": {"more": torch.ones(1)},
        "nan.pkl": {"fc_spot.bias": torch.tensor([float("nan")])},
        "list.pkl": {"conv1.weight": [1.0]},
    }
    for name, change in wrong.items():
        with pytest.raises(CheckpointError, match=name):
            read_checkpoint(save(tmp_path / name, change))
    (tmp_path / "empty.pkl").write_bytes(b"")
    (tmp_path / "text.pkl").write_text("weights")
    for name in ("empty.pkl", "text.pkl", "absent.pkl"):
        with pytest.raises(CheckpointError, match=name):
            read_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match="fc_recog"):
        read_checkpoint(_without_head(tmp_path / "headless.pkl"))


def _without_head(path: Path) -> Path:
    torch.save({k: v for k, v in seeded(0).state_dict().items() if "fc_recog" not in k}, path)
    return path


def test_a_fold_is_left_out_by_the_name_of_its_subject(tmp_path: Path) -> None:
    folder = tmp_path / "folds"
    folder.mkdir()
    for subject in ("p01", "c01", "c02"):
        save(folder / f"subject_{subject}.pkl")
    report = import_checkpoints(folder, "x", tmp_path / "m", exclude_subject="P01")
    assert report.skipped == {"subject_p01.pkl": "subject P01 excluded"}
    assert len(report.used) == 2


def test_folds_of_different_class_counts_are_no_ensemble(tmp_path: Path) -> None:
    folder = tmp_path / "folds"
    folder.mkdir()
    save(folder / "a_1.pkl")
    torch.save(seeded(1, 8).state_dict(), folder / "a_2.pkl")
    with pytest.raises(CheckpointError, match="cannot be one ensemble"):
        import_checkpoints(folder, "x", tmp_path / "m")
    with pytest.raises(CheckpointError, match="no checkpoint of subject"):
        import_checkpoints(folder, "x", tmp_path / "m", exclude_subject="9")
    torch.save(seeded(1, 6).state_dict(), tmp_path / "six.pkl")
    with pytest.raises(CheckpointError, match="name them"):
        import_checkpoints(tmp_path / "six.pkl", "x", tmp_path / "m")
    (tmp_path / "none").mkdir()
    with pytest.raises(CheckpointError, match="none of 0 files"):
        import_checkpoints(tmp_path / "none", "x", tmp_path / "m")


def test_safetensors_are_read_like_pickles(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(pack_weights(weights_of(seeded(4))))
    same = read_checkpoint(path)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), seeded(4).parameters(), strict=True))


def test_gain_is_applied_before_the_network(tmp_path: Path) -> None:
    path = save(tmp_path / "one.pkl")
    plain = import_checkpoints(path, "one", tmp_path / "a").artifact
    tripled = import_checkpoints(path, "one", tmp_path / "b", gain=(3.0, 3.0, 3.0)).artifact
    maps = default_parity_maps()
    found, expected = (open_backend(EngineConfig(), m) for m in (tripled, plain))
    assert found.run(maps)[0] == pytest.approx(expected.run(maps * np.float32(3))[0], abs=1e-6)


def test_response_covers_every_channel_and_amplitude(tmp_path: Path) -> None:
    rows = response_to_scale(open_backend(EngineConfig(), artifact(tmp_path)), (0.1, 1.0), fields=4)
    assert [(row.channel, row.amplitude) for row in rows] == [(c, a) for c in "uvw" for a in (0.1, 1.0)]
    assert all(0 <= row.mean <= row.highest <= 1 for row in rows)


def test_fitted_gain_undoes_a_scale_the_model_was_not_made_for(tmp_path: Path) -> None:
    path = shared("sfamnet/pretrained_weights/4emo/subject_1.pkl")
    backend = open_backend(EngineConfig(), import_checkpoints(path, "x", tmp_path / "m").artifact)
    maps = default_parity_maps(64)
    fit, tiny = fit_gain(backend, maps), fit_gain(backend, maps * np.float32(0.1))
    assert fit.span > fit.span_without
    assert tiny.gain == pytest.approx(10 * fit.gain, rel=0.3)
    assert fit.gain_w <= fit.gain
    assert "fitted on 64 windows" in fit.text
    with pytest.raises(ValueError, match="too few"):
        fit_gain(backend, maps[:10])


def test_a_fitted_gain_stands_in_the_model_and_its_card(tmp_path: Path) -> None:
    model = import_checkpoints(
        save(tmp_path / "one.pkl"), "one", tmp_path / "a", gain=(0.2, 0.2, 0.01), gain_note="gain was fitted on 40"
    ).artifact
    assert model.normalisation.gain == (0.2, 0.2, 0.01)
    assert "gain was fitted on 40" in model.card()


def test_folds_that_say_where_they_come_from_are_not_the_published_ones(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for number in (1, 2, 9):
        save(folder / f"subject_{number}.pkl", seed=number)
    begin_origin(folder)
    for path in (folder, folder / "subject_1.pkl"):
        with pytest.raises(CheckpointError, match="not all trained yet; run the same `sfam evaluate` again"):
            import_checkpoints(path, "x", tmp_path / "m")
    files = ("subject_1.pkl", "subject_2.pkl")
    told = {"text": "STRS 0.5", "strict": {"STRS": [0.5, 0.4, 0.6]}}
    write_origin(folder, FoldOrigin("trained", "our clips", "ours", ("known limit",), 300.0, files, told))
    report = import_checkpoints(folder, "x", tmp_path / "m")
    assert report.used == files
    assert "not of the run" in report.skipped["subject_9.pkl"]
    with pytest.raises(CheckpointError, match=r"subject_9.pkl: not of the run"):
        import_checkpoints(folder / "subject_9.pkl", "x", tmp_path / "n")
    model = report.artifact
    assert (model.version, model.training_data, model.licence, model.limits, model.window_ms) == (
        "trained", "our clips", "ours", ("known limit",), 300.0
    )  # fmt: skip
    assert model.description["evaluated"] == told
    assert "evaluated: STRS 0.5" in model.card()
    (folder / "origin.json").write_text('{"version": "trained"}')
    with pytest.raises(CheckpointError, match=r"origin.json: damaged"):
        import_checkpoints(folder, "x", tmp_path / "n")
