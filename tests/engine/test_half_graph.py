from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from sfam.engine.backend import HALF_SPOT_TOLERANCE, check_parity, open_backend
from sfam.engine.config import EngineConfig
from sfam.engine.half_graph import half_graph
from sfam.engine.model import ModelArtifact, ModelError, load_model
from tests.engine.checkpoints import GOLDEN, artifact, golden_forward, published, seeded


def run_half(model: ModelArtifact, maps: np.ndarray) -> dict[str, np.ndarray]:
    """The fp16 graph in onnxruntime, which rounds every value as a GPU would."""
    session = ort.InferenceSession(half_graph(model.graph_path.read_bytes()), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feeds = {name: np.ascontiguousarray(maps[:, k : k + 1]) for k, name in enumerate("uvw")}
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.mark.parametrize(("kind", "subject"), GOLDEN)
def test_half_precision_keeps_to_its_tolerance_on_published_networks(tmp_path: Path, kind: str, subject: int) -> None:
    x, spot, _ = golden_forward(kind, subject)
    found = run_half(artifact(tmp_path, published(kind, subject)), x)["spot"]
    assert np.abs(found - spot).max() <= HALF_SPOT_TOLERANCE
    assert not np.array_equal(found, spot)


def test_half_precision_keeps_to_its_tolerance_on_the_default_model_and_an_ensemble(tmp_path: Path) -> None:
    for model in (load_model("synthetic-4"), artifact(tmp_path, {str(k): seeded(k) for k in range(9)})):
        vectors = model.parity()
        found = run_half(model, vectors.maps)
        assert np.abs(found["spot"] - vectors.spot).max() <= HALF_SPOT_TOLERANCE
        assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
    assert "spread" in found


def test_the_parity_check_of_a_half_precision_backend_is_wider_but_not_blind(tmp_path: Path) -> None:
    model = artifact(tmp_path / "one", seeded(1))
    backend = open_backend(EngineConfig(), artifact(tmp_path / "two", seeded(2)))
    backend.precision = "fp16"
    with pytest.raises(ModelError, match="off its stored outputs"):
        check_parity(backend, model)


def test_a_foreign_graph_is_not_halved() -> None:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [])
    body.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
    with pytest.raises(ModelError, match="written by this program"):
        half_graph(helper.make_model(body).SerializeToString())


def test_precision_is_asked_of_tensorrt_only(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fp32 only"):
        open_backend(EngineConfig(backend="onnxruntime", precision="fp16"), artifact(tmp_path))
