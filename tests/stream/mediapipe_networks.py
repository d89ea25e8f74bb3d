"""Google's own face networks as a model file for MediaPipe, whose address no test machine reaches.

Its wheels of 2025 still held a detector and a mesh of 468 points, one generation before those of the file. MediaPipe
of today takes them where ten more points follow, the irises, which nothing of ours reads.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WHEEL = ("mediapipe==0.10.21", "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")
DETECTOR = "mediapipe/modules/face_detection/face_detection_short_range.tflite"
MESH = "mediapipe/modules/face_landmark/face_landmark.tflite"
IRIS_VALUES = 10 * 3


def model_of_networks(folder: Path) -> Path:
    """Makes the model file in `folder`; skips the test where the wheel cannot be fetched, fails where it must be."""
    fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", *WHEEL]
    done = subprocess.run([*fetch, "-d", str(folder)], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        if "SFAM_REQUIRE_MEDIAPIPE" in os.environ:
            pytest.fail(f"the wheel that holds the networks was not fetched: {done.stderr}")
        pytest.skip("the wheel that holds the networks was not fetched")
    (wheel,) = folder.glob("*.whl")
    path = folder / "face_landmarker.task"
    with zipfile.ZipFile(wheel) as networks, zipfile.ZipFile(path, "w") as model:
        model.writestr("face_detector.tflite", networks.read(DETECTOR))
        model.writestr("face_landmarks_detector.tflite", with_irises(networks.read(MESH)))
    return path


def with_irises(network: bytes) -> bytes:
    """The mesh network, zeros appended to its points."""
    schema: Any = import_module("mediapipe.tasks.metadata.schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(network, 0))
    (graph,) = model.subgraphs
    points, presence = graph.outputs
    values = graph.tensors[points].shape[-1]

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.array([[0, 0]] * 3 + [[0, IRIS_VALUES]], np.int32).tobytes(), np.uint8)
    model.buffers.append(buffer)
    widths = _tensor(schema, graph, [4, 2], schema.TensorType.INT32, len(model.buffers) - 1)
    padded = _tensor(schema, graph, [1, 1, 1, values + IRIS_VALUES], schema.TensorType.FLOAT32, 0)

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.PAD
    model.operatorCodes.append(code)
    pad = schema.OperatorT()
    pad.opcodeIndex = len(model.operatorCodes) - 1
    pad.inputs, pad.outputs = np.array([points, widths], np.int32), np.array([padded], np.int32)
    pad.builtinOptionsType, pad.builtinOptions = schema.BuiltinOptions.PadOptions, schema.PadOptionsT()
    graph.operators.append(pad)
    graph.outputs = np.array([padded, presence], np.int32)
    return _packed(model)


def _tensor(schema: Any, graph: Any, shape: list[int], kind: int, buffer: int) -> int:
    """Number of a new tensor in the graph."""
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = f"appended {len(graph.tensors)}", shape, kind, buffer
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _packed(model: Any) -> bytes:
    builder: Any = import_module("flatbuffers").Builder(1 << 21)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
