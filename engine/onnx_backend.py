"""onnxruntime on the CPU: the default, and the only place that imports it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Backend, Float32, MissingBackendError, Outputs
from .model import ModelArtifact, ModelError

try:
    import onnxruntime as ort
except ImportError as error:
    raise MissingBackendError(f"onnxruntime cannot be imported ({error}); pip install onnxruntime") from error


class OnnxBackend(Backend):
    """Threads are pinned and never spin: a replay must give equal bytes, and capture needs the other core."""

    name = "onnxruntime"

    def __init__(self, artifact: ModelArtifact, threads: int = 1) -> None:
        super().__init__(artifact)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(artifact.graph_path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own classes, which share no base but this
            raise ModelError(f"onnxruntime cannot open {artifact.graph_path}: {error}") from error
        self._check_ports()
        self._single: Any = None

    def _check_ports(self) -> None:
        inputs = {port.name for port in self._session.get_inputs()}
        outputs = {port.name for port in self._session.get_outputs()}
        if inputs != {"u", "v", "w"} or not {"spot", "emotion_logits"} <= outputs:
            raise ModelError(
                f"{self.artifact.graph_path}: inputs {sorted(inputs)}, outputs {sorted(outputs)}; wanted u, v, w and "
                "spot, emotion_logits"
            )
        self._names = ["spot", "emotion_logits"] + ["spread"] * ("spread" in outputs)

    def outputs(self, maps: Float32) -> Outputs:
        """See `Backend.outputs`; one window runs through buffers bound once."""
        if len(maps) == 1:
            return self._one(maps)
        feeds = {name: np.ascontiguousarray(maps[:, i : i + 1]) for i, name in enumerate("uvw")}
        return Outputs(*self._session.run(self._names, feeds))

    def _one(self, maps: Float32) -> Outputs:
        if self._single is None:
            self._single = _SingleWindow(self._session, self._names, len(self.artifact.classes))
        return self._single.run(maps)  # type: ignore[no-any-return]


class _SingleWindow:
    """Inputs and outputs of batch 1, allocated and bound once."""

    def __init__(self, session: Any, names: list[str], classes: int) -> None:
        self._session = session
        self._maps = np.zeros((3, 1, 1, 42, 42), np.float32)
        shapes = {"emotion_logits": (1, classes)}
        self._outputs = [np.zeros(shapes.get(name, 1), np.float32) for name in names]
        self._binding = session.io_binding()
        for name, array in zip("uvw", self._maps, strict=True):
            self._binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in zip(names, self._outputs, strict=True):
            self._binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)

    def run(self, maps: Float32) -> Outputs:
        self._maps[:, 0, 0] = maps[0]
        self._session.run_with_iobinding(self._binding)
        return Outputs(*(array.copy() for array in self._outputs))
