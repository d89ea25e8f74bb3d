"""Memory that a GPU and numpy share, streams and recorded graphs, by cuda-python; the only place that imports it.

Never executed so far: no machine with a GPU has run it.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
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


class CudaError(ModelError):
    """A call of the CUDA runtime failed."""


def checked(result: tuple[Any, ...]) -> Any:
    """The value of a CUDA call; errors: CudaError."""
    status, *values = result
    if status != cuda.cudaError_t.cudaSuccess:
        raise CudaError(f"CUDA: {cuda.cudaGetErrorString(status)[1].decode()}")
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
    return properties.name.decode().rstrip("\0"), f"{properties.major}.{properties.minor}"


class Stream:
    """A CUDA stream that waits for no other."""

    def __init__(self) -> None:
        self.handle = checked(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))

    def wait(self) -> None:
        """Until everything in it is done."""
        checked(cuda.cudaStreamSynchronize(self.handle))

    def record(self, work: Callable[[], None]) -> RecordedGraph:
        """Record what `work` puts into this stream, without running it.

        Raises:
            CudaError: something in it cannot be recorded; the stream can be used on.
        """
        checked(cuda.cudaStreamBeginCapture(self.handle, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal))
        try:
            work()
        except BaseException:
            # Ends the capture; what it fails of is told by the error above.
            cuda.cudaStreamEndCapture(self.handle)
            cuda.cudaGetLastError()
            raise
        status, graph = cuda.cudaStreamEndCapture(self.handle)
        cuda.cudaGetLastError()
        checked((status,))
        try:
            return RecordedGraph(checked(cuda.cudaGraphInstantiate(graph, 0)))
        finally:
            checked(cuda.cudaGraphDestroy(graph))

    def close(self) -> None:
        """Safe to call twice."""
        if self.handle is not None:
            checked(cuda.cudaStreamDestroy(self.handle))
            self.handle = None


class RecordedGraph:
    """Work recorded once, launched as one."""

    def __init__(self, executable: Any) -> None:
        self._executable = executable

    def launch(self, stream: Stream) -> None:
        """Queue all of it."""
        checked(cuda.cudaGraphLaunch(self._executable, stream.handle))

    def close(self) -> None:
        """Safe to call twice."""
        if self._executable is not None:
            checked(cuda.cudaGraphExecDestroy(self._executable))
            self._executable = None


def _numpy_view(address: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    memory = (ctypes.c_float * math.prod(shape)).from_address(address)
    return np.ctypeslib.as_array(memory).reshape(shape)


class MappedArray:
    """float32 memory of this machine that the GPU reads and writes in place: nothing is copied."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._host = int(checked(cuda.cudaHostAlloc(4 * math.prod(shape), cuda.cudaHostAllocMapped)))
        self.address = int(checked(cuda.cudaHostGetDevicePointer(self._host, 0)))
        self.array = _numpy_view(self._host, shape)

    def send(self, stream: Stream) -> None:
        """Nothing to do: the GPU sees what numpy wrote."""

    def fetch(self, stream: Stream) -> None:
        """Nothing to do, once the stream is done."""

    def close(self) -> None:
        """Give the memory back; the array must not be used any more. Safe to call twice."""
        if self._host:
            checked(cuda.cudaFreeHost(self._host))
            self._host = self.address = 0


class MirroredArray:
    """float32 memory on the GPU with a pinned twin that numpy sees."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._bytes = 4 * math.prod(shape)
        self.address = int(checked(cuda.cudaMalloc(self._bytes)))
        self._host = int(checked(cuda.cudaMallocHost(self._bytes)))
        self.array = _numpy_view(self._host, shape)

    def send(self, stream: Stream) -> None:
        """Queue the copy to the GPU."""
        self._copy(self.address, self._host, cuda.cudaMemcpyKind.cudaMemcpyHostToDevice, stream)

    def fetch(self, stream: Stream) -> None:
        """Queue the copy back."""
        self._copy(self._host, self.address, cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream)

    def _copy(self, to: int, source: int, kind: Any, stream: Stream) -> None:
        checked(cuda.cudaMemcpyAsync(to, source, self._bytes, kind, stream.handle))

    def close(self) -> None:
        """Give the memory back; the array must not be used any more. Safe to call twice."""
        if self.address:
            checked(cuda.cudaFree(self.address))
            checked(cuda.cudaFreeHost(self._host))
            self.address = self._host = 0
