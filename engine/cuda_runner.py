"""One batch size of a compiled engine: its own context and buffers, recorded as a CUDA graph.

A context of its own, because a recorded graph holds only as long as its context sees no other shape. Never executed so
far: no machine with a GPU has run it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .backend import Float32
from .cuda_buffers import CudaError, MappedArray, MirroredArray, RecordedGraph, Stream
from .model import ModelError

LOG = logging.getLogger(__name__)
LARGEST_MAPPED = 8
"""Up to this many windows the GPU reads this machine's memory in place; beyond, one copy is faster."""
WARM_UPS = 2
"""TensorRT for RTX compiles kernels for a shape when it first meets it, which cannot be recorded."""


class BatchRunner:
    """Runs up to `size` windows.

    Args:
        engine: a deserialised TensorRT engine.
        stream: all work goes there.
        size: of the batch that the engine sees; what is missing is filled with zeros.
        shapes: name of each output -> its shape behind the batch.
    """

    def __init__(self, engine: Any, stream: Stream, size: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._stream = stream
        self._size = size
        memory = MappedArray if size <= LARGEST_MAPPED else MirroredArray
        self._inputs: dict[str, MappedArray | MirroredArray] = {name: memory((size, 1, 42, 42)) for name in "uvw"}
        self._outputs: dict[str, MappedArray | MirroredArray] = {
            name: memory((size, *shape)) for name, shape in shapes.items()
        }
        self._context = engine.create_execution_context()
        for name in self._inputs:
            self._context.set_input_shape(name, (size, 1, 42, 42))
        for name, buffer in {**self._inputs, **self._outputs}.items():
            self._context.set_tensor_address(name, buffer.address)
            buffer.array[:] = 0
        for _ in range(WARM_UPS):
            self._enqueue()
            stream.wait()
        self._graph = self._recorded()

    @property
    def has_graph(self) -> bool:
        """Whether the batch runs as one recorded graph."""
        return self._graph is not None

    def _recorded(self) -> RecordedGraph | None:
        try:
            return self._stream.record(self._enqueue)
        except (CudaError, ModelError) as error:
            LOG.warning("batch of %d runs without a CUDA graph: %s", self._size, error)
            return None

    def _enqueue(self) -> None:
        for buffer in self._inputs.values():
            buffer.send(self._stream)
        if not self._context.execute_async_v3(int(self._stream.handle)):
            raise ModelError("TensorRT failed to run the compiled engine")
        for buffer in self._outputs.values():
            buffer.fetch(self._stream)

    def run(self, maps: Float32) -> dict[str, Float32]:
        """Maps (n, 3, 42, 42) with n up to the batch's size -> outputs by name, n rows each."""
        count = len(maps)
        for channel, buffer in enumerate(self._inputs.values()):
            buffer.array[:count, 0] = maps[:, channel]
            buffer.array[count:] = 0
        if self._graph is not None:
            self._graph.launch(self._stream)
        else:
            self._enqueue()
        self._stream.wait()
        return {name: buffer.array[:count].copy() for name, buffer in self._outputs.items()}

    def close(self) -> None:
        """Give graph and memory back; safe to call twice."""
        if self._graph is not None:
            self._graph.close()
        for buffer in (*self._inputs.values(), *self._outputs.values()):
            buffer.close()
