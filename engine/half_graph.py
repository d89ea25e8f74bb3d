"""A model's graph with the network in half precision, for GPUs; scaling of the maps and means of scores stay fp32."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .model import ModelError

ENTRY = "SpaceToDepth"
"""The kind of the nodes behind which the network begins, see `graph.py`."""
EXIT = "outputs"
"""The last value computed in half precision: both heads' linear layer."""


def half_graph(graph: bytes) -> bytes:
    """Round the network's weights and values to fp16; inputs, normalisation and outputs stay fp32.

    A strongly typed TensorRT network computes in the types of its graph, so this is how fp16 is asked for.

    Raises:
        ModelError: a graph that this program did not write, or a weight beyond the range of fp16.
    """
    model = onnx.load_from_string(graph)
    nodes = list(model.graph.node)
    entries = [i for i, node in enumerate(nodes) if node.op_type == ENTRY]
    exits = [i for i, node in enumerate(nodes) if EXIT in node.output]
    if len(entries) != 3 or len(exits) != 1 or exits[0] <= entries[-1]:
        raise ModelError("fp16 needs a graph written by this program; use fp32, or import the model's checkpoint anew")
    network = nodes[entries[-1] + 1 : exits[0] + 1]
    _round_constants(model.graph, network)
    maps = {nodes[i].output[0]: f"{nodes[i].output[0]}_half" for i in entries}
    for node in network:
        node.input[:] = [maps.get(name, name) for name in node.input]
        node.output[:] = [f"{EXIT}_half" if name == EXIT else name for name in node.output]
    casts = [helper.make_node("Cast", [name], [half], name=half, to=TensorProto.FLOAT16) for name, half in maps.items()]
    back = helper.make_node("Cast", [f"{EXIT}_half"], [EXIT], name=f"{EXIT}_back", to=TensorProto.FLOAT)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[: entries[-1] + 1], *casts, *network, back, *nodes[exits[0] + 1 :]])
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _round_constants(graph: onnx.GraphProto, network: list[onnx.NodeProto]) -> None:
    used = {name for node in network for name in node.input}
    for constant in graph.initializer:
        if constant.name not in used or constant.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(constant)
        if np.abs(value).max(initial=0) > np.finfo(np.float16).max:
            raise ModelError(f"fp16 cannot hold the weights {constant.name!r}; use fp32")
        constant.CopyFrom(numpy_helper.from_array(value.astype(np.float16), constant.name))
