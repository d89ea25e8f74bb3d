"""Ratios inside one run, the fastest of many interleaved calls: absolute times say nothing on a shared machine."""

from __future__ import annotations

import time
from pathlib import Path

from sfam.engine.backend import Backend, open_backend
from sfam.engine.config import EngineConfig
from sfam.engine.export import default_parity_maps
from tests.engine.checkpoints import artifact, seeded


def fastest(backends: dict[str, Backend], rounds: int) -> dict[str, float]:
    window = default_parity_maps()[5:6]
    times: dict[str, float] = dict.fromkeys(backends, float("inf"))
    for _ in range(rounds):
        for name, backend in backends.items():
            started = time.perf_counter()
            backend.run(window)
            times[name] = min(times[name], time.perf_counter() - started)
    return times


def test_one_window_costs_far_less_than_in_torch_and_an_ensemble_less_than_its_parts(tmp_path: Path) -> None:
    single = artifact(tmp_path / "single", seeded(0))
    eight = artifact(tmp_path / "eight", {str(k): seeded(k) for k in range(8)})
    times = fastest(
        {
            "single": open_backend(EngineConfig(backend="onnxruntime"), single),
            "eight": open_backend(EngineConfig(backend="onnxruntime"), eight),
            "torch": open_backend(EngineConfig(backend="torch"), single),
        },
        rounds=300,
    )
    assert times["single"] <= 0.40 * times["torch"]
    assert times["eight"] <= 6.0 * times["single"]
