from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfam.engine.backend import Backend, check_all_backends, check_parity, open_backend, softmax
from sfam.engine.config import EngineConfig
from sfam.engine.decoding import PaperSpec, RunsSpec, spec_from_json, spec_to_json
from sfam.engine.export import ModelText, default_parity_maps, write_model
from sfam.engine.graph import SIDE_BY_SIDE
from sfam.engine.model import ModelArtifact, ModelError, installed_models, load_model, user_models_folder
from sfam.engine.normalisation import Normalisation
from sfam.engine.weights import WeightsError, pack_weights, read_weights
from tests.engine.checkpoints import GOLDEN, artifact, golden_forward, published, seeded

BOTH = ("onnxruntime", "torch")


def opened(model: ModelArtifact, name: str = "onnxruntime") -> Backend:
    return open_backend(EngineConfig.model_validate({"backend": name}), model)


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize(("kind", "subject"), GOLDEN)
def test_backends_reproduce_the_authors_outputs(tmp_path: Path, kind: str, subject: int, backend: str) -> None:
    x, spot, logits = golden_forward(kind, subject)
    found_spot, found_logits = opened(artifact(tmp_path, published(kind, subject)), backend).logits(x)
    assert np.abs(found_spot - spot).max() <= 1e-4
    assert (np.abs(found_logits - logits) / (1 + np.abs(logits))).max() <= 1e-4


def test_one_window_gives_what_a_batch_gives(tmp_path: Path) -> None:
    backend, maps = opened(artifact(tmp_path)), default_parity_maps()
    spots, probabilities = backend.run(maps)
    for i in range(len(maps)):
        spot, row = backend.run(maps[i : i + 1])
        assert spot[0] == pytest.approx(spots[i], abs=1e-6)
        assert row[0] == pytest.approx(probabilities[i], abs=1e-6)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(maps)), abs=1e-6)


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (artifact(tmp_path / name, seeded(3)) for name in ("a", "b"))
    for file in ("model.onnx", "model.json", "parity.npz", "weights.safetensors"):
        assert (first.path / file).read_bytes() == (second.path / file).read_bytes()


def test_normalisation_is_part_of_the_graph(tmp_path: Path) -> None:
    normalisation = Normalisation(gain=(2.0, 2.0, 0.5), scale=(0.1, 0.1, 0.3))
    plain = opened(artifact(tmp_path / "plain"))
    scaled = opened(artifact(tmp_path / "scaled", normalisation=normalisation))
    maps = default_parity_maps()
    assert scaled.logits(maps)[0] == pytest.approx(plain.logits(normalisation(maps))[0], abs=1e-5)
    assert "log(1 + |x| / s)" in scaled.artifact.card()


def test_ensemble_is_the_mean_of_its_networks(tmp_path: Path) -> None:
    # One more than the graph writes side by side.
    networks = {str(seed): seeded(seed) for seed in range(SIDE_BY_SIDE + 1)}
    ensemble = artifact(tmp_path / "all", dict(networks))
    maps = default_parity_maps()
    singles = [opened(artifact(tmp_path / name, network)).run(maps) for name, network in networks.items()]
    for backend in BOTH:
        spot, probabilities = opened(ensemble, backend).run(maps)
        assert np.abs(spot - np.mean([s for s, _ in singles], axis=0)).max() <= 1e-5
        assert np.abs(probabilities - np.mean([p for _, p in singles], axis=0)).max() <= 1e-5


def test_windows_that_are_not_finite_get_a_defined_answer_and_are_counted(tmp_path: Path) -> None:
    backend, maps = opened(artifact(tmp_path)), default_parity_maps()
    clean = backend.run(maps)
    maps[3, 0, 5, 5], maps[4, 2, 0, 0] = np.nan, np.inf
    spot, probabilities = backend.run(maps)
    assert backend.replaced_windows == 2
    assert list(spot[3:5]) == [0, 0]
    assert list(probabilities[3]) == [0, 0, 0, 0, 1]
    assert np.array_equal(spot[5:], clean[0][5:])


def test_wrong_shapes_are_refused_and_nothing_is_nothing(tmp_path: Path) -> None:
    backend = opened(artifact(tmp_path))
    with pytest.raises(ValueError, match="42, 42"):
        backend.run(np.zeros((1, 3, 44, 44), np.float32))
    assert backend.run(np.zeros((0, 3, 42, 42), np.float32))[1].shape == (0, 5)


def test_parity_fails_when_the_backend_computes_something_else(tmp_path: Path) -> None:
    model = artifact(tmp_path / "one", seeded(1))
    other = opened(artifact(tmp_path / "two", seeded(2)))
    assert check_parity(opened(model), model).spot_error < 1e-5
    with pytest.raises(ModelError, match="off its stored outputs"):
        check_parity(other, model)


def test_damaged_weights_fail_only_the_backend_that_reads_them(tmp_path: Path) -> None:
    model = artifact(tmp_path)
    model.weights_path.write_bytes(pack_weights({"conv1.weight": np.zeros((1, 1), np.float32)}))
    reports = check_all_backends(model)
    assert reports["onnxruntime"]["ok"]
    assert not reports["torch"]["ok"]


def test_changed_graph_missing_file_and_bad_description_are_refused(tmp_path: Path) -> None:
    model = artifact(tmp_path)
    graph = model.graph_path.read_bytes()
    model.graph_path.write_bytes(graph[:-1] + bytes([graph[-1] ^ 1]))
    with pytest.raises(ModelError, match="sha256"):
        load_model(model.path)
    model.graph_path.unlink()
    with pytest.raises(ModelError, match=r"model\.onnx missing"):
        load_model(model.path)
    model.graph_path.write_bytes(graph)
    for change in ({"classes": ["neutral", "x"]}, {"format": "sfam.model/9"}, {"decoding": "magic"}):
        (model.path / "model.json").write_text(json.dumps({**model.description, **change}))
        with pytest.raises(ModelError, match="not a description"):
            load_model(model.path)
    (model.path / "model.json").write_text("{")
    with pytest.raises(ModelError):
        load_model(model.path)


def test_models_are_found_by_name_in_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    artifact(user_models_folder())
    assert "tiny" in installed_models()
    assert load_model("tiny").path == (user_models_folder() / "tiny").resolve()
    with pytest.raises(ModelError, match="did you mean 'tiny'"):
        load_model("tinny")
    with pytest.raises(ModelError, match="is no model"):
        load_model(tmp_path)


def test_an_artifact_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    text = ModelText("x", "1", ("a", "neutral"), "none", "none", ())
    with pytest.raises(ModelError, match="2 classes named"):
        write_model(seeded(0), text, PaperSpec(), tmp_path / "x")
    broken = seeded(0)
    broken.fc_spot.weight.data.fill_(float("nan"))
    with pytest.raises(ModelError):
        artifact(tmp_path, broken)
    assert list(tmp_path.iterdir()) == []
    artifact(tmp_path)
    with pytest.raises(FileExistsError):
        artifact(tmp_path)


def test_only_a_model_or_an_empty_folder_makes_way_for_a_model(tmp_path: Path) -> None:
    text = ModelText("tiny", "1", ("a", "neutral"), "none", "none", ())
    (tmp_path / "study" / "clips").mkdir(parents=True)
    (tmp_path / "note").write_text("mine")
    for taken in ("study", "note"):
        with pytest.raises(ModelError, match=f"{taken} is there and no model"):
            write_model(seeded(0, 2), text, PaperSpec(), tmp_path / taken, overwrite=True)
    assert (tmp_path / "study" / "clips").is_dir()
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        assert write_model(seeded(0, 2), text, PaperSpec(), tmp_path / "empty", overwrite=True).name == "tiny"


def test_spotting_parameters_survive_model_json_and_unknown_ones_are_refused() -> None:
    for name, spec in (("paper", PaperSpec(height=0.5)), ("runs", RunsSpec(hi=0.7, join_s=0.3))):
        assert spec_from_json(name, json.loads(json.dumps(spec_to_json(spec)))) == spec
        assert replace(spec, classes=("a",)) == spec_from_json(name, spec_to_json(spec), ("a",))
    with pytest.raises(ValueError, match="no parameter"):
        spec_from_json("runs", {"high": 0.4})
    with pytest.raises(ValueError, match="at least 0"):
        spec_from_json("runs", {"hi": float("nan")})


def test_weights_files_are_checked(tmp_path: Path) -> None:
    path, weights = tmp_path / "w.safetensors", {"b": np.arange(6, dtype=np.float32).reshape(2, 3)}
    path.write_bytes(pack_weights(weights))
    assert np.array_equal(read_weights(path)["b"], weights["b"])
    whole = path.read_bytes()
    for damaged in (b"", whole[:9], whole[:-1], b"\xff" * 16, whole.replace(b"F32", b"F16")):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError):
            read_weights(path)


def test_softmax_survives_large_logits() -> None:
    assert softmax(np.array([[1e4, -1e4]], np.float32)).tolist() == [[1.0, 0.0]]


def test_importing_the_engine_loads_no_heavy_library() -> None:
    heavy = ("torch", "onnxruntime", "onnx", "cv2", "scipy", "tensorrt", "tensorrt_rtx")
    code = (
        "import sys\nimport sfam.engine.backend, sfam.engine.model, sfam.engine.spotting\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_cpu_engine_runs_where_torch_is_not_installed_and_loads_nothing_it_does_not_need() -> None:
    """What is loaded, not how long it takes: 0.15 s of processor time, of which numpy and onnxruntime are 0.13."""
    light = ("torch", "onnx", "cv2", "scipy", "pydantic", "tensorrt", "tensorrt_rtx", "yaml")
    code = (
        "import sys\nsys.modules['torch'] = None\n"
        "from sfam.engine.onnx_backend import OnnxBackend\nfrom sfam.engine.model import load_model\n"
        f"print([name for name in {light} if sys.modules.get(name)])\n"
        "model = load_model('synthetic-4')\n"
        "print(OnnxBackend(model).run(model.parity().maps)[0].shape)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split("\n")[:2] == ["[]", "(4,)"]
