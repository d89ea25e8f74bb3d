"""Measures every engine on a machine with a GPU: `python -m benchmarks.gpu [--model NAME]`.

onnxruntime on the CPU, torch eager and as a CUDA graph, TensorRT in fp32 and fp16, at batch 1, 8, 64 and 512: median
and p99 of a call with its copies to and from the GPU, and windows per second. Writes `benchmarks/results/gpu.md` with
the device named. torch on a data-centre GPU stands under its own name; it is no proof of TensorRT.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sfam.engine.backend import Backend, ParityError, check_parity, open_backend
from sfam.engine.config import EngineConfig
from sfam.engine.fields import smooth_fields
from sfam.engine.model import ModelArtifact, ModelError, load_model
from sfam.engine.network import Judge, networks_from
from sfam.engine.weights import read_weights

BATCHES = (1, 8, 64, 512)
WARM_UP = 30
CALLS = {1: 3000, 8: 2000, 64: 1000, 512: 300}
RESULTS = Path(__file__).resolve().parent / "results" / "gpu.md"
Call = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class Row:
    """One engine at one batch size."""

    engine: str
    batch: int
    median_ms: float
    p99_ms: float
    spot_error: float
    """Largest difference to onnxruntime's scores."""

    @property
    def per_second(self) -> float:
        """Windows a second."""
        return 1e3 * self.batch / self.median_ms


class TorchEager:
    """The reference network on the GPU, called as written."""

    def __init__(self, model: ModelArtifact) -> None:
        networks = networks_from(read_weights(model.weights_path), model.folds)
        # Rounding of TF32 would be measured as speed.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self.judge = Judge(networks, model.normalisation).eval().cuda()

    def __call__(self, maps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            x = torch.from_numpy(maps).cuda()
            spot, logits, _ = self.judge(x[:, 0:1], x[:, 1:2], x[:, 2:3])
            return spot.cpu().numpy(), logits.cpu().numpy()


class TorchGraph:
    """The same recorded once for one batch size and launched as a whole, from pinned memory."""

    def __init__(self, eager: TorchEager, batch: int) -> None:
        self._host = torch.zeros((batch, 3, 42, 42)).pin_memory()
        self._maps = torch.zeros((batch, 3, 42, 42), device="cuda")
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(side):
            for _ in range(3):
                self._judge(eager)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self._graph):
            self._spot, self._logits = self._judge(eager)

    def _judge(self, eager: TorchEager) -> tuple[torch.Tensor, torch.Tensor]:
        self._maps.copy_(self._host, non_blocking=True)
        spot, logits, _ = eager.judge(self._maps[:, 0:1], self._maps[:, 1:2], self._maps[:, 2:3])
        return spot, logits

    def __call__(self, maps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self._host.numpy()[:] = maps
        self._graph.replay()
        return self._spot.cpu().numpy(), self._logits.cpu().numpy()


def engines(model: ModelArtifact, batch: int, refused: dict[str, str]) -> Iterator[tuple[str, Call]]:
    """Every engine that runs here; what does not is noted with its reason."""
    yield "onnxruntime, CPU, 1 thread", open_backend(EngineConfig(backend="onnxruntime"), model).logits
    if torch.cuda.is_available():
        eager = TorchEager(model)
        yield "torch eager, CUDA", eager
        yield "torch CUDA graph", TorchGraph(eager, batch)
    else:
        refused["torch CUDA"] = "torch sees no GPU"
    for precision in ("fp32", "fp16"):
        try:
            backend = open_backend(EngineConfig.model_validate({"backend": "tensorrt", "precision": precision}), model)
            check_parity(backend, model)
        except ParityError:
            raise
        except ModelError as error:
            refused[f"TensorRT {precision}"] = str(error)
            continue
        yield f"TensorRT {precision}{_graphs(backend)}", backend.logits
        backend.close()


def _graphs(backend: Backend) -> str:
    return ", CUDA graph" if backend.summary.get("cuda_graphs") else ", no CUDA graph"


def measure(model: ModelArtifact, refused: dict[str, str], calls: dict[int, int]) -> list[Row]:
    """All engines at all batch sizes."""
    rows = []
    for batch in BATCHES:
        maps = smooth_fields(batch, seed=1)
        wanted: NDArray[np.float32] | None = None
        for name, call in engines(model, batch, refused):
            spot = call(maps)[0].copy()
            wanted = spot if wanted is None else wanted
            times = timed(call, maps, calls[batch])
            error = float(np.abs(spot - wanted).max())
            rows.append(Row(name, batch, float(np.median(times)), float(np.percentile(times, 99)), error))
    return rows


def timed(call: Call, maps: NDArray[np.float32], calls: int) -> NDArray[np.float64]:
    """Milliseconds of each call after some to warm up."""
    for _ in range(min(WARM_UP, calls)):
        call(maps)
    times = np.zeros(calls)
    for i in range(calls):
        started = time.perf_counter()
        call(maps)
        times[i] = 1e3 * (time.perf_counter() - started)
    return times


def device_name() -> str:
    """The GPU's name, or that there is none."""
    if not torch.cuda.is_available():
        return "no GPU"
    major, minor = torch.cuda.get_device_capability()
    return f"{torch.cuda.get_device_name()}, compute capability {major}.{minor}"


def page(model: ModelArtifact, rows: list[Row], refused: dict[str, str]) -> str:
    """The result as Markdown."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [
        "# Engines on a GPU",
        "",
        f"Device: **{device_name()}**; CPU {platform.processor() or platform.machine()}; torch {torch.__version__}; "
        f"{today}; model {model.model_id} ({len(model.folds)} networks). A call includes its "
        "copies to and from the GPU.",
        "",
        "| engine | batch | median ms | p99 ms | windows/s | score differs from the CPU by at most |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.engine} | {row.batch} | {row.median_ms:.3f} | {row.p99_ms:.3f} | {row.per_second:.0f} "
        f"| {row.spot_error:.1e} |"
        for row in rows
    ]
    lines += ["", *(f"- not measured: {name}: {reason}" for name, reason in refused.items())]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Measure and write the page; where there is no GPU the page is printed and nothing is written."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--model", default="synthetic-4")
    arguments.add_argument("--calls", type=float, default=1.0, help="share of the usual number of calls")
    arguments.add_argument("--out", type=Path, default=RESULTS)
    options = arguments.parse_args()
    model, refused = load_model(options.model), dict[str, str]()
    calls = {batch: max(3, round(count * options.calls)) for batch, count in CALLS.items()}
    text = page(model, measure(model, refused, calls), refused)
    print(text)
    if torch.cuda.is_available():
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
