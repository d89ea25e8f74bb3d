"""TensorRT's compiler: a model's graph becomes a plan for one kind of GPU; the only place that imports TensorRT.

One adapter over `tensorrt` (data centre, Jetson) and `tensorrt_rtx` (GeForce, RTX), which share their names. Nothing
here needs a GPU when a compute capability is named.
"""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from .backend import MissingBackendError
from .model import ModelArtifact, ModelError
from .plan_cache import Action, Plan, PlanKey, cached_plan

MODULES = ("tensorrt", "tensorrt_rtx")
BATCHES = (1, 8, 64, 512)
"""Sizes that windows are run in; smaller ones are filled up."""
USUAL_BATCH = 8
PLANS: Counter[Action] = Counter()
"""Plans of this process, by how they were come by."""


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
    """Parse an ONNX graph and compile it in the graph's own types; needs no GPU when a capability is named.

    Args:
        graph: an artifact's model.onnx, or `half_graph` of it.
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
        shapes = [(batch, 1, 42, 42) for batch in (BATCHES[0], USUAL_BATCH, BATCHES[-1])]
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


def plan_for(
    artifact: ModelArtifact, gpu: str, capability: str, folder: Path | None = None, precision: str = "fp32"
) -> Plan:
    """The compiled engine of a model, from the cache where it still fits; counted in `PLANS`.

    Args:
        artifact: the model.
        gpu: name of the GPU it is for.
        capability: its compute capability.
        folder: of the cache; default the user's.
        precision: fp32, or fp16 for the network's inner part.

    Raises:
        ModelError: it cannot be compiled.
    """
    key = key_of(artifact, gpu, capability, precision)
    # Only RTX can name a capability; the other module always compiles for the GPU it sees.
    named = capability if hasattr(trt, "ComputeCapability") else None
    plan = cached_plan(key, lambda: compile_plan(graph_of(artifact, precision), named), folder)
    PLANS[plan.action] += 1
    return plan


def key_of(artifact: ModelArtifact, gpu: str, capability: str, precision: str = "fp32") -> PlanKey:
    """What a plan is stored under."""
    return PlanKey(artifact.name, artifact.sha256, gpu, capability, library_name(), precision)


def graph_of(artifact: ModelArtifact, precision: str) -> bytes:
    """The graph to compile; errors: ModelError."""
    graph = artifact.graph_path.read_bytes()
    if precision == "fp32":
        return graph
    try:
        from .half_graph import half_graph
    except ImportError as error:
        raise MissingBackendError(f"fp16 needs onnx ({error}); pip install onnx, or leave engine.precision") from error
    return half_graph(graph)


def load_engine(plan: bytes, artifact: ModelArtifact, gpu: str) -> tuple[Any, Any]:
    """The runtime and the engine of a plan; the runtime must live as long as the engine.

    Raises:
        ModelError: the plan is not for this GPU or this TensorRT.
    """
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ModelError(f"{library_name()} cannot load the compiled engine of {artifact.name!r} on {gpu}")
    return runtime, engine
