"""`sfam bench engine`: one window and small batches through every backend that is present, in turn."""

from __future__ import annotations

import time

import numpy as np

from sfam.engine.backend import Backend, MissingBackendError, open_backend
from sfam.engine.config import EngineConfig
from sfam.engine.model import load_model

from .bench_flow import machine

BATCHES = (1, 8)
ROUNDS = 200
BACKENDS = ("onnxruntime", "torch")


def bench_engine(model: str = "synthetic-4") -> dict[str, object]:
    """Median and p99 of each backend and batch, interleaved so that the machine's mood hits all alike."""
    artifact = load_model(model)
    backends: dict[str, Backend] = {}
    for name in BACKENDS:
        try:
            backends[name] = open_backend(EngineConfig(model=model, backend=name), artifact)
        except MissingBackendError:
            continue
    windows = np.random.default_rng(0).normal(0.0, 0.3, (max(BATCHES), 3, 42, 42)).astype(np.float32)
    times: dict[str, list[float]] = {f"{name} batch {batch}": [] for name in backends for batch in BATCHES}
    for _ in range(ROUNDS):
        for name, backend in backends.items():
            for batch in BATCHES:
                started = time.perf_counter_ns()
                backend.run(windows[:batch])
                times[f"{name} batch {batch}"].append((time.perf_counter_ns() - started) / 1e6)
    stages = {
        name: {"median_ms": float(np.median(row)), "p99_ms": float(np.percentile(row, 99))}
        for name, row in times.items()
    }
    ratios = {}
    if "torch" in backends:
        ratios["onnxruntime_vs_torch"] = (
            stages["onnxruntime batch 1"]["median_ms"] / stages["torch batch 1"]["median_ms"]
        )
    return {"machine": machine(), "stages": stages, "ratios": ratios}
