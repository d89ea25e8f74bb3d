"""TensorRT on NVIDIA GPUs: one adapter over `tensorrt` (data centre, Jetson) and `tensorrt_rtx` (GeForce, RTX).

Both modules share their names. Parsing, compiling and caching need no GPU and are tested without one; running does, and
has never been done (`cuda_buffers.py`).
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .backend import Backend, Float32, MissingBackendError, Outputs
from .model import ModelArtifact, ModelError
from .plan_cache import Plan, PlanKey, cached_plan

MODULES = ("tensorrt", "tensorrt_rtx")
LARGEST_BATCH = 512
USUAL_BATCH = 8


def _load_library() -> Any:
    reasons = []
    for name in MODULES:
        try:
            module = import_module(name)
            if hasattr(module, "Builder"):
                return module
            reasons.append(f"{name}: no builder")
        except ImportError as error:
            reasons.append(f"{name}: {error}")
    raise MissingBackendError(
        f"TensorRT cannot be imported ({'; '.join(reasons)}); pip install tensorrt_rtx_cu13 (GeForce, RTX) or tensorrt"
    )


trt = _load_library()


def library_name() -> str:
    """Module and version."""
    return f"{trt.__name__} {trt.__version__}"


def compile_plan(graph: bytes, capability: str | None = None) -> bytes:
    """Parse an ONNX graph and compile it in fp32; needs no GPU when a capability is named.

    Args:
        graph: an artifact's model.onnx.
        capability: 8.6, 8.9, 12.0 ...; None: the GPU of this machine.

    Raises:
        ModelError: TensorRT cannot parse or compile it, or does not know the capability.
    """
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    if builder is None:
        raise ModelError(f"{library_name()} cannot make a builder; is the GPU's driver new enough?")
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise ModelError(f"{library_name()} cannot parse the graph: {errors}")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        shapes = [(batch, 1, 42, 42) for batch in (1, USUAL_BATCH, LARGEST_BATCH)]
        profile.set_shape(network.get_input(index).name, *shapes)
    config.add_optimization_profile(profile)
    # TF32 rounds products to 10 bits, which parity in fp32 does not allow.
    config.clear_flag(trt.BuilderFlag.TF32)
    if capability is not None:
        _set_capability(config, capability)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ModelError(f"{library_name()} cannot compile the graph for compute capability {capability or 'current'}")
    return bytes(plan)


def _set_capability(config: Any, capability: str) -> None:
    known = getattr(trt, "ComputeCapability", None)
    wanted = getattr(known, f"SM{capability.replace('.', '')}", None)
    if wanted is None:
        offered = sorted(name for name in dir(known) if name.startswith("SM")) if known else "only this machine's GPU"
        raise ModelError(f"{library_name()} cannot compile for compute capability {capability}; it offers {offered}")
    config.num_compute_capabilities = 1
    config.set_compute_capability(wanted, 0)


def plan_for(artifact: ModelArtifact, gpu: str, capability: str, folder: Path | None = None) -> Plan:
    """The compiled engine of a model, from the cache where it still fits.

    Raises:
        ModelError: it cannot be compiled.
    """
    key = PlanKey(artifact.name, artifact.sha256, gpu, capability, library_name(), "fp32")
    # Only RTX can name a capability; the other module always compiles for the GPU it sees.
    named = capability if hasattr(trt, "ComputeCapability") else None
    return cached_plan(key, lambda: compile_plan(artifact.graph_path.read_bytes(), named), folder)


class TensorRTBackend(Backend):
    """fp32 on the first GPU; at most `LARGEST_BATCH` windows go at once."""

    name = "tensorrt"

    def __init__(self, artifact: ModelArtifact, threads: int = 1, precision: str = "fp32") -> None:
        super().__init__(artifact)
        from .cuda_buffers import MirroredArray, Stream, describe_gpu

        self.gpu, self.capability = describe_gpu()
        self.plan = plan_for(artifact, self.gpu, self.capability)
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(self.plan.data)
        if self._engine is None:
            raise ModelError(f"{library_name()} cannot load the compiled engine of {artifact.name!r} on {self.gpu}")
        self._context = self._engine.create_execution_context()
        self._stream = Stream()
        self._inputs = {name: MirroredArray((LARGEST_BATCH, 1, 42, 42)) for name in "uvw"}
        shapes = {"spot": (LARGEST_BATCH,), "emotion_logits": (LARGEST_BATCH, len(artifact.classes))}
        if len(artifact.folds) > 1:
            shapes["spread"] = (LARGEST_BATCH,)
        self._outputs = {name: MirroredArray(shape) for name, shape in shapes.items()}
        for name, memory in {**self._inputs, **self._outputs}.items():
            self._context.set_tensor_address(name, memory.address)

    def outputs(self, maps: Float32) -> Outputs:
        """See `Backend.outputs`."""
        parts = [self._run(maps[i : i + LARGEST_BATCH]) for i in range(0, len(maps), LARGEST_BATCH)]
        return Outputs(np.concatenate([spot for spot, _ in parts]), np.concatenate([logits for _, logits in parts]))

    def _run(self, maps: Float32) -> tuple[Float32, Float32]:
        count = len(maps)
        share = count / LARGEST_BATCH
        for k, (name, memory) in enumerate(self._inputs.items()):
            memory.array[:count, 0] = maps[:, k]
            memory.send(self._stream, share)
            self._context.set_input_shape(name, (count, 1, 42, 42))
        if not self._context.execute_async_v3(int(self._stream.handle)):
            raise ModelError(f"{library_name()} failed to run {self.artifact.name!r} on {self.gpu}")
        for memory in self._outputs.values():
            memory.fetch(self._stream, share)
        self._stream.wait()
        return self._outputs["spot"].array[:count].copy(), self._outputs["emotion_logits"].array[:count].copy()

    def close(self) -> None:
        """Give back GPU memory."""
        for memory in (*self._inputs.values(), *self._outputs.values()):
            memory.close()
        self._stream.close()
