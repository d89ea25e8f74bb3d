"""Memory on the GPU and pinned memory beside it, by cuda-python; the only place that imports it.

Never executed so far: no machine with a GPU has run it.
"""

from __future__ import annotations

import ctypes
import math
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import MissingBackendError
from .model import ModelError

try:
    cuda: Any = import_module("cuda.bindings.runtime")
except ImportError as error:
    raise MissingBackendError(f"cuda-python cannot be imported ({error}); pip install cuda-python") from error


def checked(result: tuple[Any, ...]) -> Any:
    """The value of a CUDA call; errors: ModelError."""
    status, *values = result
    if status != cuda.cudaError_t.cudaSuccess:
        raise ModelError(f"CUDA: {cuda.cudaGetErrorString(status)[1].decode()}")
    return values[0] if values else None


def describe_gpu() -> tuple[str, str]:
    """Name and compute capability of the first GPU; MissingBackendError where there is none."""
    status, count = cuda.cudaGetDeviceCount()
    if status != cuda.cudaError_t.cudaSuccess or not count:
        reason = cuda.cudaGetErrorString(status)[1].decode()
        raise MissingBackendError(
            f"CUDA finds no GPU that it can use ({reason}); install a driver or choose --engine auto"
        )
    properties = checked(cuda.cudaGetDeviceProperties(0))
    return properties.name.decode(), f"{properties.major}.{properties.minor}"


class Stream:
    """A CUDA stream."""

    def __init__(self) -> None:
        self.handle = checked(cuda.cudaStreamCreate())

    def wait(self) -> None:
        """Until everything in it is done."""
        checked(cuda.cudaStreamSynchronize(self.handle))

    def close(self) -> None:
        """Safe to call twice."""
        if self.handle is not None:
            checked(cuda.cudaStreamDestroy(self.handle))
            self.handle = None


class MirroredArray:
    """float32 memory on the GPU with a pinned twin that numpy sees."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        count = math.prod(shape)
        self._bytes = 4 * count
        self.address = int(checked(cuda.cudaMalloc(self._bytes)))
        self._host = int(checked(cuda.cudaMallocHost(self._bytes)))
        memory = (ctypes.c_float * count).from_address(self._host)
        self.array: NDArray[np.float32] = np.ctypeslib.as_array(memory).reshape(shape)

    def send(self, stream: Stream, share: float = 1.0) -> None:
        """Queue the copy to the GPU of the first share of the array."""
        self._copy(self.address, self._host, cuda.cudaMemcpyKind.cudaMemcpyHostToDevice, stream, share)

    def fetch(self, stream: Stream, share: float = 1.0) -> None:
        """Queue the copy back."""
        self._copy(self._host, self.address, cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream, share)

    def _copy(self, to: int, source: int, kind: Any, stream: Stream, share: float) -> None:
        checked(cuda.cudaMemcpyAsync(to, source, round(self._bytes * share), kind, stream.handle))

    def close(self) -> None:
        """Give the memory back; the array must not be used any more. Safe to call twice."""
        if self.address:
            checked(cuda.cudaFree(self.address))
            checked(cuda.cudaFreeHost(self._host))
            self.address = self._host = 0
