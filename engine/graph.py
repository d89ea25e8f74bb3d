"""SFAMNet as an ONNX graph written node by node: fixed 42x42, dynamic batch, equal bytes for equal weights.

One graph for one network and for an ensemble. onnxruntime spends its time on thin convolutions (3 channels), which
fill neither its blocked kernels nor the processor's vectors. So the maps are rearranged once: every 3x3 pixels become
9 channels of a 14x14 image, a convolution on the maps becomes a wider 3x3 convolution on that image, every stream of
every network becomes one group of it, and the 3x3 max-pool at the end is a maximum over channels. Groups are padded
with zero channels to multiples of 16. Measured on one core at batch 1: 0.23x of torch eager (the exporter's graph:
0.37x); 8 networks cost 4.5x to 5.6x one, 96 cost 58x (all side by side: 69x).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .normalisation import NO_GAIN, Normalisation
from .weights import SMALLEST_PROBABILITY, Weights

OPSET = 18
IR_VERSION = 9
SIDE = 42
STREAMS = ("c1.0.", "c2.0.", "c3.0.")
CHANNELS = 3
PHASES = 9
"""Pixels of a 3x3 block."""
CELLS = (SIDE // 3) ** 2
WIDE = 32
"""Channels of one stream in the blocked image: 3 x 9, padded."""
SIDE_BY_SIDE = 8
"""So many networks are written as groups of the same nodes."""
HEAD_IN, HEAD_OUT = 16, 16
"""Channels of one network's heads: 9 pooled streams, padded, to both heads' 8."""
Array = NDArray[np.float32]


class GraphWriter:
    """Collects nodes and constants; every method returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.prefix = ""
        """Of the names of what is made from now on."""

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A named constant, stored once."""
        name = f"{self.prefix}{name}"
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def integers(self, *values: int) -> str:
        """A constant shape, axis or bound."""
        return self.constant("int_" + "_".join(str(v) for v in values), np.array(values, np.int64))

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """One node with one output."""
        output = f"{self.prefix}{output}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def reshape(self, x: str, *sizes: int) -> str:
        """Another shape, batch first."""
        return self.node("Reshape", [x, self.integers(-1, *sizes)], f"{x}_as_{'_'.join(str(s) for s in sizes)}")

    def split(self, x: str, names: Sequence[str], sizes: Sequence[int], axis: int) -> None:
        """Cut along an axis."""
        inputs = [x, self.integers(*sizes)]
        self.nodes.append(helper.make_node("Split", inputs, list(names), name=f"{x}_split", axis=axis))

    def conv(self, x: str, weight: Array, output: str, pad: int, group: int = 1, bias: Array | None = None) -> str:
        """A convolution; weight (out, in / group, kh, kw)."""
        inputs = [x, self.constant(f"{output}.weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"{output}.bias", bias))
        return self.node("Conv", inputs, output, kernel_shape=weight.shape[2:], pads=[pad] * 4, group=group)


def blocked(weight: Array, out: int, inside: int) -> Array:
    """Weights of a k x k convolution on the map -> 3x3 convolution on the blocked image, padded with zero channels.

    Channel c * 9 + p of the blocked image is channel c of the map at pixel p of each 3x3 block.
    """
    o, i, k, _ = weight.shape
    result = np.zeros((o, PHASES, i, PHASES, 3, 3), np.float32)
    for p in range(PHASES):
        for ky in range(k):
            for kx in range(k):
                cell_y, y = divmod(p // 3 + ky - k // 2, 3)
                cell_x, x = divmod(p % 3 + kx - k // 2, 3)
                result[:, p, :, y * 3 + x, cell_y + 1, cell_x + 1] = weight[:, :, ky, kx]
    return padded(result.reshape(o * PHASES, i * PHASES, 3, 3), out, inside)


def padded(weight: Array, out: int, inside: int) -> Array:
    """Weights with zero channels added up to (out, inside)."""
    result = np.zeros((out, inside, *weight.shape[2:]), np.float32)
    result[: weight.shape[0], : weight.shape[1]] = weight
    return result


class _Networks:
    """Writes some networks side by side; groups are ordered stream by stream, within a stream network by network.

    Args:
        graph: to write into.
        maps: names of the blocked images of u, v, w.
        folds: weights of the networks.
    """

    def __init__(self, graph: GraphWriter, maps: list[str], folds: Sequence[Weights]) -> None:
        self.graph = graph
        self.folds = folds
        self.groups = len(STREAMS) * len(folds)
        self._maps = maps

    def _each(self, name: str) -> list[Array]:
        """A weight of every group."""
        return [np.asarray(fold[stream + name]) for stream in STREAMS for fold in self.folds]

    def _row(self, name: str, constant: str, *shape: int, factor: float = 1.0) -> str:
        values = np.stack(self._each(name)) * np.float32(factor)
        return self.graph.constant(constant, values.reshape(1, self.groups, *shape))

    def write_streams(self) -> str:
        """-> (N, groups * 3, 196): the attention streams, max-pooled."""
        graph, groups = self.graph, self.groups
        per_map, first = self._each("conv1.weight"), []
        for k, x in enumerate(self._maps):
            weights = [blocked(w, WIDE, PHASES) for w in per_map[k * len(self.folds) : (k + 1) * len(self.folds)]]
            first.append(graph.node("Relu", [graph.conv(x, np.concatenate(weights), f"first_{k}", 1)], f"relu_{k}"))
        x = graph.node("Concat", first, "first", axis=1)
        second = np.concatenate([blocked(w, WIDE, WIDE) for w in self._each("conv2.weight")])
        x = graph.reshape(graph.conv(x, second, "second", 1, groups), groups, WIDE, CELLS)
        bounds = [graph.integers(0), graph.integers(CHANNELS * PHASES), graph.integers(2)]
        x = graph.reshape(graph.node("Slice", [x, *bounds], "second_real"), groups, CHANNELS, PHASES * CELLS)
        x = self._write_spatial_gate(self._write_channel_gate(x))
        total = graph.node("Add", [x, self._write_projection()], "sum")
        total = graph.reshape(total, groups * CHANNELS, PHASES, CELLS)
        # A maximum and a ReLU may change places; fewer numbers are left for the second.
        return graph.node("Relu", [graph.node("ReduceMax", [total, graph.integers(2)], "top", keepdims=0)], "streams")

    def _write_channel_gate(self, x: str) -> str:
        """x * sigmoid(mlp(average) + mlp(maximum)), (N, groups, 3, 1764)."""
        graph, axis = self.graph, self.graph.integers(3)
        average = graph.node("ReduceMean", [x, axis], "average", keepdims=1)
        maximum = graph.node("ReduceMax", [x, axis], "maximum", keepdims=1)
        pooled = graph.node("Concat", [average, maximum], "pooled", axis=3)
        down = graph.node(
            "MatMul", [self._row("cbam.ChannelGate.mlp.1.weight", "down", 1, CHANNELS), pooled], "squeeze"
        )
        hidden = graph.node("Add", [down, self._row("cbam.ChannelGate.mlp.1.bias", "down_bias", 1, 1)], "hidden")
        # The last layer is linear: adding the two hidden values first saves one product; its bias counts twice.
        both = graph.node("ReduceSum", [graph.node("Relu", [hidden], "hidden_relu"), axis], "both", keepdims=1)
        up = graph.node("Mul", [both, self._row("cbam.ChannelGate.mlp.3.weight", "up", CHANNELS, 1)], "excite")
        bias = self._row("cbam.ChannelGate.mlp.3.bias", "up_bias", CHANNELS, 1, factor=2.0)
        gate = graph.node("Sigmoid", [graph.node("Add", [up, bias], "gate_logit")], "channel_gate")
        return graph.node("Mul", [x, gate], "channel_gated")

    def _write_spatial_gate(self, x: str) -> str:
        """x * sigmoid(conv7x7([maximum, mean] across channels)), (N, groups, 3, 1764)."""
        graph, groups, axis = self.graph, self.groups, self.graph.integers(2)
        maximum = graph.reshape(graph.node("ReduceMax", [x, axis], "high", keepdims=1), groups, PHASES, CELLS)
        mean = graph.reshape(graph.node("ReduceMean", [x, axis], "mean", keepdims=1), groups, PHASES, CELLS)
        both = graph.node("Concat", [maximum, mean], "high_mean", axis=2)
        filled = graph.node("Pad", [both, graph.integers(0, 0, 0, 0, 0, 0, WIDE - 2 * PHASES, 0)], "high_mean_wide")
        weight = np.concatenate([blocked(w, 16, WIDE) for w in self._each("cbam.SpatialGate.spatial.conv.weight")])
        gate = graph.conv(graph.reshape(filled, groups * WIDE, SIDE // 3, SIDE // 3), weight, "spatial", 1, groups)
        bounds = [graph.integers(0), graph.integers(PHASES), axis]
        gate = graph.node("Slice", [graph.reshape(gate, groups, 16, CELLS), *bounds], "spatial_real")
        gate = graph.reshape(graph.node("Sigmoid", [gate], "spatial_gate"), groups, 1, PHASES * CELLS)
        return graph.node("Mul", [x, gate], "gated")

    def _write_projection(self) -> str:
        """The 1x1 convolution of the input, (N, groups, 3, 1764): a product with one number per channel."""
        graph, count = self.graph, len(self.folds)
        weights = np.stack(self._each("downsample.0.weight")).reshape(len(STREAMS), 1, count, CHANNELS, 1)
        parts = []
        for k, x in enumerate(self._maps):
            flat = graph.reshape(x, 1, 1, PHASES * CELLS)
            parts.append(graph.node("Mul", [flat, graph.constant(f"side_{k}", weights[k])], f"projection_{k}"))
        return graph.node("Concat", parts, "projection", axis=1)

    def write_heads(self, x: str) -> str:
        """Pooled streams -> name of the spotting logit and the emotion logits, (N, F, 1, 1 + C)."""
        graph, count = self.graph, len(self.folds)
        x = graph.reshape(x, len(STREAMS), count, CHANNELS * CELLS)
        x = graph.reshape(graph.node("Transpose", [x], "by_network", perm=[0, 2, 1, 3]), count, 9, CELLS)
        x = graph.node("Pad", [x, graph.integers(0, 0, 0, 0, 0, 0, HEAD_IN - 9, 0)], "head_maps")
        x = graph.reshape(x, count * HEAD_IN, SIDE // 3, SIDE // 3)
        both = [np.concatenate([fold["conv1.weight"], fold["conv2.weight"]]) for fold in self.folds]
        bias = np.concatenate([np.concatenate([fold["conv1.bias"], fold["conv2.bias"]]) for fold in self.folds])
        weight = np.concatenate([padded(w, HEAD_OUT, HEAD_IN) for w in both])
        x = graph.conv(x, weight, "heads", 2, count, bias)
        x = graph.node("MaxPool", [x], "head_top", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        features = graph.reshape(x, count, 1, HEAD_OUT * 49)
        linear, offset = zip(*(_linear(fold) for fold in self.folds), strict=True)
        product = graph.node("MatMul", [features, graph.constant("linear", np.stack(linear))], "product")
        return graph.node("Add", [product, graph.constant("linear_bias", np.stack(offset)[:, None])], "outputs")


def _write_input(graph: GraphWriter, normalisation: Normalisation) -> list[str]:
    """Maps u, v, w, normalised, as blocked images (N, 9, 14, 14)."""
    names = ["u", "v", "w"]
    if normalisation != Normalisation():
        x = graph.node("Concat", names, "maps", axis=1)
        if normalisation.gain != NO_GAIN:
            x = graph.node("Mul", [x, graph.constant("gain", _channels(normalisation.gain))], "gained")
        if normalisation.scale is not None:
            x = _write_compression(graph, x, np.float32(1) / _channels(normalisation.scale))
        names = ["u_normalised", "v_normalised", "w_normalised"]
        graph.split(x, names, [1, 1, 1], 1)
    return [graph.node("SpaceToDepth", [name], f"{name}_blocked", blocksize=3) for name in names]


def _write_compression(graph: GraphWriter, x: str, inverse: Array) -> str:
    size = graph.node("Mul", [graph.node("Abs", [x], "size"), graph.constant("inverse_scale", inverse)], "scaled")
    raised = graph.node("Add", [size, graph.constant("one", np.ones(1, np.float32))], "raised")
    return graph.node("Mul", [graph.node("Log", [raised], "log"), graph.node("Sign", [x], "sign")], "compressed")


def _write_networks(graph: GraphWriter, maps: list[str], folds: Sequence[Weights]) -> str:
    """All networks -> (N, F, 1, 1 + C); many go in turns, so that what they pass on stays in the processor's cache."""
    if len(folds) <= SIDE_BY_SIDE:
        networks = _Networks(graph, maps, folds)
        return networks.write_heads(networks.write_streams())
    parts = []
    for begin in range(0, len(folds), SIDE_BY_SIDE):
        graph.prefix = f"from_{begin}/"
        networks = _Networks(graph, maps, folds[begin : begin + SIDE_BY_SIDE])
        parts.append(networks.write_heads(networks.write_streams()))
    graph.prefix = ""
    return graph.node("Concat", parts, "outputs", axis=1)


def _linear(weights: Weights) -> tuple[Array, Array]:
    """Both linear layers as one: (784, 1 + C) and (1 + C,); the spotting output first."""
    classes, features = weights["fc_recog.weight"].shape
    linear = np.zeros((2 * features, 1 + classes), np.float32)
    linear[:features, 0] = weights["fc_spot.weight"][0]
    linear[features:, 1:] = weights["fc_recog.weight"].T
    return linear, np.concatenate([weights["fc_spot.bias"], weights["fc_recog.bias"]])


def write_graph(folds: Sequence[Weights], normalisation: Normalisation) -> bytes:
    """The ONNX file of one network or of an ensemble.

    Inputs u, v, w (N, 1, 42, 42). Outputs spot (N,) and emotion_logits (N, C); of several networks the mean score, the
    logarithm of the mean probabilities and, as `spread` (N,), the standard deviation of the scores.
    """
    graph = GraphWriter()
    classes = len(folds[0]["fc_recog.bias"])
    both = _write_networks(graph, _write_input(graph, normalisation), folds)
    graph.split(both, ["spot_logit", "logits"], [1, classes], 3)
    scores, logits = graph.node("Sigmoid", ["spot_logit"], "scores"), "logits"
    outputs: dict[str, list[str | int]] = {"spot": ["N"], "emotion_logits": ["N", classes]}
    if len(folds) == 1:
        graph.node("Reshape", [scores, graph.integers(-1)], "spot")
        graph.node("Reshape", [logits, graph.integers(-1, classes)], "emotion_logits")
    else:
        _write_mean(graph, scores, logits)
        outputs["spread"] = ["N"]
    return _finish(graph, outputs)


def _write_mean(graph: GraphWriter, scores: str, logits: str) -> None:
    networks = graph.integers(1, 2, 3)
    graph.node("ReduceMean", [scores, networks], "spot", keepdims=0)
    mean = graph.node("ReduceMean", [scores, networks], "mean_score", keepdims=1)
    apart = graph.node("Sub", [scores, mean], "apart")
    square = graph.node("Mul", [apart, apart], "square")
    graph.node("Sqrt", [graph.node("ReduceMean", [square, networks], "variance", keepdims=0)], "spread")
    probabilities = graph.node("Softmax", [logits], "probabilities", axis=3)
    mean = graph.node("ReduceMean", [probabilities, graph.integers(1, 2)], "mean_probability", keepdims=0)
    floor = graph.constant("floor", np.array(SMALLEST_PROBABILITY, np.float32))
    graph.node("Log", [graph.node("Max", [mean, floor], "probability")], "emotion_logits")


def _finish(graph: GraphWriter, outputs: dict[str, list[str | int]]) -> bytes:
    maps = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1, SIDE, SIDE]) for name in "uvw"]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    body = helper.make_graph(graph.nodes, "sfamnet", maps, values, list(graph.constants.values()))
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="sfam-live"
    )
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _channels(values: tuple[float, float, float]) -> Array:
    return np.asarray(values, np.float32)[None, :, None, None]
