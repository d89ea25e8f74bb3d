"""`--engine auto`: onnxruntime judges from the first window on; a GPU takes over once its engine is built."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from .backend import Backend, Float32, Outputs, ParityError, ParityReport, check_parity, open_backend
from .model import ModelArtifact, ModelError

if TYPE_CHECKING:
    from .config import EngineConfig

FASTER = "tensorrt"
MODULES = ("tensorrt", "tensorrt_rtx")
LONGEST_CLOSE_S = 10.0
"""A build cannot be broken off; the end of a run waits no longer than this for it."""
Say = Callable[[str], None]


def open_auto(config: EngineConfig, artifact: ModelArtifact, may_swap: bool, say: Say) -> Backend:
    """The backend of `--engine auto`, ready at once.

    Args:
        config: with backend `auto`.
        artifact: the model.
        may_swap: whether a faster engine may take over while it runs; not in a replay, whose tables must not depend on
            when that happens.
        say: told which engine runs and why, by the thread that feeds the windows.

    Raises:
        ModelError: not even onnxruntime can run the model.
    """
    first = open_backend(config, artifact)
    against = _against_swapping(may_swap)
    if against:
        first.why = against
        if may_swap:
            say(f"engine: {first.name}; {against}")
        return first
    faster = config.model_copy(update={"backend": FASTER})
    return AutoBackend(artifact, first, lambda: open_backend(faster, artifact), say)


def _against_swapping(may_swap: bool) -> str:
    """Why no other engine is even tried, '' where one is; cheap, for it is asked at every start."""
    if not may_swap:
        return "a replay stays on one engine, so that its tables do not depend on when another is ready"
    if not any(find_spec(module) for module in MODULES):
        return "TensorRT is not installed"
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver for TensorRT"
    return ""


class AutoBackend(Backend):
    """Runs on one backend while another is built in the background, then goes over to it between two batches.

    Args:
        artifact: the model both run.
        first: ready now.
        build: opens the other one, in a thread of its own; an error of ours leaves the first one in place.
        say: told once how it came out.
    """

    def __init__(self, artifact: ModelArtifact, first: Backend, build: Callable[[], Backend], say: Say) -> None:
        super().__init__(artifact)
        self.swaps = 0
        self.parity: ParityReport | None = None
        """Of the backend that took over."""
        self._say = say
        self._build = build
        self.why = f"{FASTER} is being built"
        self._built: Backend | None = None
        self._failure: Exception | None = None
        self._decided = False
        self._take(first)
        self._builder = threading.Thread(target=self._run_build, name="engine build", daemon=True)
        self._builder.start()

    def _take(self, backend: Backend) -> None:
        self.current = backend
        self.name, self.precision, self.steady_batch = backend.name, backend.precision, backend.steady_batch

    def _run_build(self) -> None:
        try:
            self._built = self._build()
        except Exception as error:  # handed to the thread that feeds windows
            self._failure = error

    @property
    def is_building(self) -> bool:
        """Whether the other engine is still on its way."""
        return self._builder.is_alive()

    def before_batch(self) -> None:
        """Go over to the other engine once it is there; see `Backend.before_batch`."""
        if self._decided or self._builder.is_alive():
            return
        self._decided = True
        if self._built is None:
            self._stay()
            return
        self._swap(self._built)

    def _stay(self) -> None:
        error = self._failure
        if isinstance(error, ParityError):
            raise error
        self.why = str(error) if isinstance(error, ModelError) else repr(error)
        self._say(f"engine: {self.name} to the end; {self.why}")

    def _swap(self, built: Backend) -> None:
        before = self.current
        self._take(built)
        self.swaps += 1
        self.parity = check_parity(self.current, self.artifact)
        before.close()
        self.why = f"took over from {before.name}, parity checked"
        self._say(f"engine: {self.name} ({self.precision}) {self.why}")

    def outputs(self, maps: Float32) -> Outputs:
        """See `Backend.outputs`."""
        return self.current.outputs(maps)

    @property
    def summary(self) -> Mapping[str, object]:
        """Who runs the network and why."""
        return {**self.current.summary, **super().summary, "swaps": self.swaps}

    def close(self) -> None:
        """Close both engines; safe to call twice."""
        self._builder.join(LONGEST_CLOSE_S)
        for backend in (self.current, self._built):
            if backend is not None:
                backend.close()
