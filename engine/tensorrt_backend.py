"""TensorRT on an NVIDIA GPU: fixed batch sizes, each with its own buffers and CUDA graph.

Compiling and caching are `tensorrt_plan.py`; running has never been done so far, for want of a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .backend import Backend, Float32, Outputs
from .model import ModelArtifact
from .tensorrt_plan import BATCHES, PLANS, USUAL_BATCH, compile_plan, load_engine, plan_for

__all__ = ["PLANS", "TensorRTBackend", "compile_plan", "parts_of", "plan_for"]


def parts_of(count: int) -> list[tuple[int, int]]:
    """How many windows are run in which batch size: as few runs as possible, the last one filled up.

    Returns:
        (windows, batch size) for each run; windows add up to `count`.
    """
    parts = []
    while count > 0:
        size = next((size for size in BATCHES if size >= count), BATCHES[-1])
        parts.append((min(count, size), size))
        count -= size
    return parts


class TensorRTBackend(Backend):
    """On the first GPU.

    Windows of a session go in batches of `steady_batch`, filled up: the same kernels see every window, so its score
    does not depend on what goes beside it.
    """

    name = "tensorrt"
    steady_batch = USUAL_BATCH

    def __init__(self, artifact: ModelArtifact, threads: int = 1, precision: str = "fp32") -> None:
        super().__init__(artifact)
        from .cuda_buffers import Stream, describe_gpu
        from .cuda_runner import BatchRunner

        self.precision = precision
        self.gpu, self.capability = describe_gpu()
        self.plan = plan_for(artifact, self.gpu, self.capability, precision=precision)
        self._runtime, self._engine = load_engine(self.plan.data, artifact, self.gpu)
        self._stream = Stream()
        shapes: dict[str, tuple[int, ...]] = {"spot": (), "emotion_logits": (len(artifact.classes),)}
        if len(artifact.folds) > 1:
            shapes["spread"] = ()
        self._runners = {size: BatchRunner(self._engine, self._stream, size, shapes) for size in BATCHES}

    def outputs(self, maps: Float32) -> Outputs:
        """See `Backend.outputs`."""
        begin, found = 0, []
        for count, size in parts_of(len(maps)):
            found.append(self._runners[size].run(maps[begin : begin + count]))
            begin += count
        if len(found) == 1:
            return Outputs(**found[0])
        return Outputs(**{name: np.concatenate([part[name] for part in found]) for name in found[0]})

    @property
    def summary(self) -> Mapping[str, object]:
        """Who ran the network, on what, by which plan, and for which batch sizes as a CUDA graph."""
        graphs = [size for size, runner in self._runners.items() if runner.has_graph]
        about = {"gpu": self.gpu, "capability": self.capability, "plan": self.plan.action, "cuda_graphs": graphs}
        return {**super().summary, **about}

    def close(self) -> None:
        """Give back GPU memory."""
        for runner in self._runners.values():
            runner.close()
        self._stream.close()
