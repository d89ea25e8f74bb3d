from __future__ import annotations

import os
import shutil
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sfam.engine.backend import check_all_backends, open_backend
from sfam.engine.config import EngineConfig
from sfam.engine.model import ModelError
from tests.engine.checkpoints import artifact, seeded


@pytest.fixture(scope="module")
def tensorrt() -> Any:
    """The adapter; skipped where TensorRT is not installed, unless it is required."""
    try:
        return import_module("sfam.engine.tensorrt_backend")
    except ModelError as error:
        if os.environ.get("SFAM_REQUIRE_TENSORRT") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.mark.parametrize("capability", ["8.6", "8.9", "12.0"])
def test_a_model_is_compiled_cached_and_found_for_every_kind_of_gpu(
    tensorrt: Any, tmp_path: Path, capability: str
) -> None:
    model = artifact(tmp_path)
    first, again = (tensorrt.plan_for(model, "some GPU", capability, tmp_path / "plans") for _ in range(2))
    assert (first.action, again.action) == ("built", "cached")
    assert first.data == again.data
    assert len(first.data) > 10_000


def test_a_changed_model_is_compiled_again(tensorrt: Any, tmp_path: Path) -> None:
    plans = tmp_path / "plans"
    before = tensorrt.plan_for(artifact(tmp_path / "a", seeded(1)), "some GPU", "8.9", plans)
    after = tensorrt.plan_for(artifact(tmp_path / "b", seeded(2)), "some GPU", "8.9", plans)
    assert (before.action, after.action) == ("built", "rebuilt")
    assert "model_sha256" in after.reason


def test_builds_cache_hits_and_rebuilds_are_counted(tensorrt: Any, tmp_path: Path) -> None:
    before = tensorrt.PLANS.copy()
    model, plans = artifact(tmp_path / "a", seeded(1)), tmp_path / "plans"
    for precision in ("fp32", "fp16", "fp32", "fp16"):
        tensorrt.plan_for(model, "some GPU", "8.9", plans, precision)
    tensorrt.plan_for(artifact(tmp_path / "b", seeded(2)), "some GPU", "8.9", plans)
    (plan,) = plans.glob("*fp16.plan")
    plan.write_bytes(plan.read_bytes()[:1000])
    tensorrt.plan_for(model, "some GPU", "8.9", plans, "fp16")
    assert tensorrt.PLANS - before == {"built": 2, "cached": 2, "rebuilt": 2}


@pytest.mark.parametrize("capability", ["8.6", "8.9", "12.0"])
def test_half_precision_compiles_to_another_plan(tensorrt: Any, tmp_path: Path, capability: str) -> None:
    model = artifact(tmp_path, {str(k): seeded(k) for k in range(2)})
    plans = [tensorrt.plan_for(model, "some GPU", capability, tmp_path / "plans", p) for p in ("fp32", "fp16")]
    assert [plan.action for plan in plans] == ["built", "built"]
    assert plans[0].data != plans[1].data


def test_a_build_lets_other_threads_work(tensorrt: Any, tmp_path: Path) -> None:
    """Windows are judged while an engine is built in the background."""
    graph = artifact(tmp_path, {str(k): seeded(k) for k in range(16)}).graph_path.read_bytes()
    plans: list[bytes] = []
    builder = threading.Thread(target=lambda: plans.append(tensorrt.compile_plan(graph, "8.9")))
    turns = 0
    builder.start()
    while builder.is_alive():
        turns += 1
        time.sleep(0.001)
    assert plans
    assert turns > 10


@pytest.mark.parametrize(
    ("count", "parts"),
    [(0, []), (1, [(1, 1)]), (2, [(2, 8)]), (8, [(8, 8)]), (65, [(65, 512)]), (520, [(512, 512), (8, 8)])],
)
def test_windows_go_in_fixed_batch_sizes(tensorrt: Any, count: int, parts: list[tuple[int, int]]) -> None:
    assert tensorrt.parts_of(count) == parts


def test_an_ensemble_compiles_too(tensorrt: Any, tmp_path: Path) -> None:
    model = artifact(tmp_path, {str(k): seeded(k) for k in range(3)})
    assert tensorrt.plan_for(model, "some GPU", "8.9", tmp_path / "plans").action == "built"


def test_what_tensorrt_cannot_do_is_one_sentence(tensorrt: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot parse"):
        tensorrt.compile_plan(b"no graph", "8.9")
    with pytest.raises(ModelError, match=r"compute capability 3\.5"):
        tensorrt.compile_plan(artifact(tmp_path).graph_path.read_bytes(), "3.5")


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_tensorrt_without_a_gpu_is_an_error_and_never_another_engine(tmp_path: Path) -> None:
    model = artifact(tmp_path)
    with pytest.raises(ModelError, match=r"TensorRT|cuda-python|CUDA"):
        open_backend(EngineConfig(backend="tensorrt"), model)
    assert not check_all_backends(model)["tensorrt"]["present"]
