"""Who runs the network: the contract of a backend, its lazy table, and the proof that it computes the right thing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .model import ModelArtifact, ModelError

if TYPE_CHECKING:
    from .config import EngineConfig

Float32 = NDArray[np.float32]

BACKENDS = {
    "onnxruntime": "onnx_backend:OnnxBackend",
    "torch": "torch_backend:TorchBackend",
    "tensorrt": "tensorrt_backend:TensorRTBackend",
}
AUTO = "onnxruntime"
"""`auto` takes the CPU: so small a network is done there in under half a millisecond, at once and everywhere."""

SPOT_TOLERANCE = 1e-4
LOGIT_TOLERANCE = 1e-4
"""Relative to 1 + |x|; both for fp32."""
HALF_SPOT_TOLERANCE = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What the graph computes for N windows."""

    spot: Float32
    """(N,) in 0..1."""
    emotion_logits: Float32
    """(N, C)"""
    spread: Float32 | None = None
    """(N,) standard deviation of an ensemble's spotting scores; None of a single network."""


@dataclass(frozen=True, slots=True, eq=False)
class Judgements:
    """What a backend says of N windows."""

    spot: Float32
    """(N,) in 0..1."""
    probabilities: Float32
    """(N, C), rows sum to 1."""
    spread: Float32 | None = None
    """As in `Outputs`."""


class Backend(ABC):
    """Runs one model; made for one thread."""

    name: str
    precision: str = "fp32"
    steady_batch: int = 1
    """A window's result has the same bits whatever goes beside it in a batch of exactly this size."""

    def __init__(self, artifact: ModelArtifact) -> None:
        self.artifact = artifact
        self.replaced_windows = 0
        """Windows with a value that is no finite number, answered with spot 0 and neutral instead."""
        self.why = "as asked for"
        """Why it is this backend that runs."""

    @abstractmethod
    def outputs(self, maps: Float32) -> Outputs:
        """What the graph computes of maps (N, 3, 42, 42), contiguous and finite."""

    def logits(self, maps: Float32) -> tuple[Float32, Float32]:
        """Maps (N, 3, 42, 42), finite -> spot (N,) in 0..1 and emotion logits (N, C)."""
        found = self.outputs(maps)
        return found.spot, found.emotion_logits

    def run(self, maps: Float32) -> tuple[Float32, Float32]:
        """Spotting scores (N,) and class probabilities (N, C) of maps (N, 3, 42, 42), see `judge`."""
        found = self.judge(maps)
        return found.spot, found.probabilities

    def judge(self, maps: Float32) -> Judgements:
        """Judge windows.

        Args:
            maps: (N, 3, 42, 42) float32: u px, v px, w mm.

        Returns:
            One row per window. A window with a value that is no finite number gets score 0 and neutral, and is counted
            in `replaced_windows`.

        Raises:
            ValueError: another shape.
        """
        if maps.ndim != 4 or maps.shape[1:] != (3, 42, 42):
            raise ValueError(f"{self.name}: maps must be (N, 3, 42, 42), not {maps.shape}")
        if not len(maps):
            return Judgements(np.zeros(0, np.float32), np.zeros((0, len(self.artifact.classes)), np.float32))
        # A sum is cheaper than a mask and finds any NaN or infinity; only then is it worth looking closer.
        if np.isfinite(maps.sum(dtype=np.float64)):
            found = self.outputs(np.ascontiguousarray(maps, dtype=np.float32))
            return Judgements(found.spot, softmax(found.emotion_logits), found.spread)
        return self._judge_finite_part(maps)

    def _judge_finite_part(self, maps: Float32) -> Judgements:
        bad = np.logical_not(np.isfinite(maps).reshape(len(maps), -1).all(axis=1))
        self.replaced_windows += int(bad.sum())
        found = self.outputs(np.where(bad[:, None, None, None], np.float32(0), maps).astype(np.float32))
        probabilities = softmax(found.emotion_logits)
        found.spot[bad] = 0.0
        probabilities[bad] = np.eye(probabilities.shape[1], dtype=np.float32)[-1]
        return Judgements(found.spot, probabilities, found.spread)

    def before_batch(self) -> None:  # noqa: B027 - only `auto` has something to do
        """Called by whoever feeds windows, between two batches: the moment to go over to another engine.

        Raises:
            ModelError: what was gone over to computes something else.
        """

    @property
    def summary(self) -> Mapping[str, object]:
        """For session.json: who ran the network."""
        return {
            "backend": self.name,
            "precision": self.precision,
            "why": self.why,
            "replaced_windows": self.replaced_windows,
        }

    def close(self) -> None:  # noqa: B027 - on the CPU there is nothing to give back
        """Give back what the backend holds; safe to call twice."""


def softmax(logits: Float32) -> Float32:
    """Logits (N, C) -> probabilities (N, C)."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def open_backend(config: EngineConfig, artifact: ModelArtifact) -> Backend:
    """Open the configured backend on a model; nothing else is ever run in its place.

    Raises:
        ModelError: its library is missing, or it cannot run this model.
    """
    name = AUTO if config.backend == "auto" else config.backend
    if name not in BACKENDS:
        raise ModelError(f"unknown backend {name!r}; choose one of {sorted(BACKENDS)}")
    options = (config.precision,) if name == "tensorrt" else ()
    if config.precision != "fp32" and config.backend not in ("auto", "tensorrt"):
        raise ModelError(f"--engine {name} computes in fp32 only; leave engine.precision at fp32 or choose tensorrt")
    backend: Backend = _backend_class(name)(artifact, config.threads, *options)
    return backend


def _backend_class(name: str) -> Any:
    module, kind = BACKENDS[name].split(":")
    return getattr(import_module(f".{module}", __package__), kind)


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How far a backend is from the stored outputs."""

    backend: str
    windows: int
    spot_error: float
    logit_error: float
    """Largest |difference| / (1 + |x|)."""


def check_parity(backend: Backend, artifact: ModelArtifact) -> ParityReport:
    """Compare a backend with the outputs stored in the artifact.

    Raises:
        ParityError: it computes something else.
    """
    vectors = artifact.parity()
    spot, logits = backend.logits(np.ascontiguousarray(vectors.maps, np.float32))
    if spot.shape != vectors.spot.shape or logits.shape != vectors.emotion_logits.shape:
        raise ParityError(
            f"model {artifact.name!r} on {backend.name}: outputs {spot.shape}, {logits.shape} do not fit "
            f"{len(artifact.classes)} classes"
        )
    spot_error = np.abs(spot - vectors.spot).max()
    relative = np.abs(logits - vectors.emotion_logits) / (1 + np.abs(vectors.emotion_logits))
    report = ParityReport(backend.name, len(vectors.maps), float(spot_error), float(relative.max()))
    spot_limit = SPOT_TOLERANCE if backend.precision == "fp32" else HALF_SPOT_TOLERANCE
    logit_limit = LOGIT_TOLERANCE if backend.precision == "fp32" else float("inf")
    # Written so that NaN fails.
    if not (report.spot_error <= spot_limit and (logit_limit == float("inf") or report.logit_error <= logit_limit)):
        raise ParityError(
            f"model {artifact.name!r} on {backend.name} ({backend.precision}) is off its stored outputs: spot by "
            f"{report.spot_error:.2g} (allowed {spot_limit:g}), logits by {report.logit_error:.2g} (allowed "
            f"{logit_limit:g}); do not use this combination, choose another --engine"
        )
    return report


def check_all_backends(artifact: ModelArtifact, threads: int = 1) -> dict[str, dict[str, Any]]:
    """Parity on every backend of this machine, by name: present, ok, and errors or the reason."""
    reports: dict[str, dict[str, Any]] = {}
    for name in BACKENDS:
        try:
            backend: Backend = _backend_class(name)(artifact, threads)
        except MissingBackendError as error:
            reports[name] = {"present": False, "ok": False, "reason": str(error)}
            continue
        except ModelError as error:
            reports[name] = {"present": True, "ok": False, "reason": str(error)}
            continue
        reports[name] = _checked(backend, artifact)
        backend.close()
    return reports


class ParityError(ModelError):
    """A backend does not reproduce the stored outputs."""


class MissingBackendError(ModelError):
    """A backend's library is not installed."""


def _checked(backend: Backend, artifact: ModelArtifact) -> dict[str, Any]:
    try:
        report = check_parity(backend, artifact)
    except ModelError as error:
        return {"present": True, "ok": False, "reason": str(error)}
    errors = {"spot_error": report.spot_error, "logit_error": report.logit_error}
    return {"present": True, "ok": True, "precision": backend.precision, "windows": report.windows, **errors}
