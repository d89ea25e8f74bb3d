"""What one window costs with 1, 8 and all 96 of the authors' networks: `python -m benchmarks.engine_folds`.

Engines take turns in one process on one core, and processor time is counted, so that the ratios hold on a busy machine
too. Run it with OMP_NUM_THREADS=1.
Needs `../shared/sfamnet`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from sfam.engine.backend import Backend, open_backend
from sfam.engine.checkpoint import import_checkpoints
from sfam.engine.config import EngineConfig
from sfam.engine.fields import smooth_fields

WEIGHTS = Path(__file__).resolve().parents[2] / "shared" / "sfamnet" / "pretrained_weights"
FOLDS = (1, 8, 24, 48, 96)


def fastest_ms(backends: dict[str, Backend], rounds: int) -> dict[str, tuple[float, float]]:
    """Name -> fastest and median time of one window, taken in turns."""
    window = smooth_fields(1, seed=0) * np.float32(0.3)
    times: dict[str, list[float]] = {name: [] for name in backends}
    for _ in range(rounds):
        for name, backend in backends.items():
            started = time.thread_time()
            backend.run(window)
            times[name].append(1e3 * (time.thread_time() - started))
    return {name: (min(found), float(np.median(found))) for name, found in times.items()}


def main() -> None:
    """Print the table as Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kind", choices=("4emo", "7emo"), default="4emo")
    arguments.add_argument("--rounds", type=int, default=200)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        backends: dict[str, Backend] = {}
        for folds in FOLDS:
            model = import_checkpoints(WEIGHTS / options.kind, "m", Path(scratch) / str(folds), folds=folds).artifact
            backends[f"onnxruntime, {folds}"] = open_backend(EngineConfig(backend="onnxruntime"), model)
            if folds == 1:
                backends["torch eager, 1"] = open_backend(EngineConfig(backend="torch"), model)
        found = fastest_ms(backends, options.rounds)
    single, torch = found["onnxruntime, 1"][0], found["torch eager, 1"][0]
    print("| engine, networks | fastest ms | median ms | of torch eager | of one network |")
    print("|---|---|---|---|---|")
    for name, (fastest, median) in found.items():
        print(f"| {name} | {fastest:.3f} | {median:.3f} | {fastest / torch:.2f} | {fastest / single:.2f} |")


if __name__ == "__main__":
    main()
