"""Windows become scores: of one camera at once, of several cameras in one process together."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sfam.stream.flow_window import FlowWindow

from .backend import Backend, Float32
from .events import Score

LONGEST_WAIT_S = 60.0
"""Nobody waits longer than this for another camera's turn to end."""


@dataclass(slots=True, eq=False)
class _Request:
    """One camera's windows on their way to the network."""

    windows: Sequence[FlowWindow]
    scores: list[Score] = field(default_factory=list)
    error: Exception | None = None
    done: bool = False


class Scorer:
    """Judges windows with one backend; a window's score never depends on what is judged beside it.

    With one user the windows go straight to the backend. With several, each in a thread of its own, the first to come
    waits at most `max_batch_delay_ms` for the others and judges for all of them.

    Args:
        backend: any engine; used by one thread at a time.
        model_id: what the scores carry.
        max_batch_delay_ms: how long windows may wait for those of other users.
    """

    def __init__(self, backend: Backend, model_id: str, max_batch_delay_ms: float = 0.0) -> None:
        self.backend = backend
        self.batches = 0
        """Times the windows of all who asked were judged together."""
        self.shared_batches = 0
        """Those of them in which several users' windows went together."""
        self.windows: Counter[str] = Counter()
        """Windows judged, by the name of the engine that did."""
        self._model_id = model_id
        self._delay_s = max_batch_delay_ms / 1e3
        self._users = 0
        self._turn = threading.Condition()
        self._waiting: list[_Request] = []
        self._padded: Float32 = np.zeros((0, 3, 42, 42), np.float32)

    def join(self) -> None:
        """Another camera will ask from now on."""
        with self._turn:
            self._users += 1

    def leave(self) -> None:
        """A camera that joined has ended; nobody waits for it any more."""
        with self._turn:
            self._users -= 1
            self._turn.notify_all()

    @property
    def summary(self) -> Mapping[str, object]:
        """For session.json: who ran the network, and how many windows each judged."""
        return {**self.backend.summary, "windows": dict(self.windows)}

    def score_batch(self, windows: Sequence[FlowWindow]) -> list[Score]:
        """Judge windows of any faces and cameras, in their order.

        Raises:
            ModelError: the backend failed, or a newly taken one computes something else.
        """
        if not windows:
            return []
        with self._turn:
            if self._users <= 1 or not self._delay_s:
                self.batches += 1
                return self._judge(windows)
            return self._judge_with_others(windows)

    def _judge_with_others(self, windows: Sequence[FlowWindow]) -> list[Score]:
        request = _Request(windows)
        self._waiting.append(request)
        self._turn.notify_all()
        first = self._waiting[0] is request
        deadline_s = time.monotonic() + (self._delay_s if first else LONGEST_WAIT_S)
        while not request.done and not (first and len(self._waiting) >= self._users):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            self._turn.wait(left_s)
        if not request.done:
            self._judge_waiting()
        if request.error is not None:
            raise request.error
        return request.scores

    def _judge_waiting(self) -> None:
        requests, self._waiting = self._waiting, []
        self.batches += 1
        self.shared_batches += len(requests) > 1
        try:
            scores = self._judge([window for request in requests for window in request.windows])
        except Exception as error:  # every camera that waits gets it and ends
            for request in requests:
                request.error = error
        else:
            for request in requests:
                count = len(request.windows)
                request.scores, scores = scores[:count], scores[count:]
        for request in requests:
            request.done = True
        self._turn.notify_all()

    def _judge(self, windows: Sequence[FlowWindow]) -> list[Score]:
        self.backend.before_batch()
        self.windows[self.backend.name] += len(windows)
        size = self.backend.steady_batch
        scores: list[Score] = []
        for begin in range(0, len(windows), size):
            scores += self._judge_part(windows[begin : begin + size], size)
        return scores

    def _judge_part(self, windows: Sequence[FlowWindow], size: int) -> list[Score]:
        """At most a steady batch; what is missing is filled up, so that its size never changes."""
        maps = windows[0].maps[None] if size == 1 else self._filled_up(windows, size)
        found = self.backend.judge(maps)
        return [
            Score(
                frame=window.frame,
                t_capture_ns=window.t_capture_ns,
                spot=float(found.spot[k]),
                emotion=tuple(found.probabilities[k].tolist()),
                track_id=window.track_id,
                from_frame=window.from_frame,
                t_from_ns=window.t_from_ns,
                flags=window.flags,
                model_id=self._model_id,
                spread=None if found.spread is None else float(found.spread[k]),
            )
            for k, window in enumerate(windows)
        ]

    def _filled_up(self, windows: Sequence[FlowWindow], size: int) -> Float32:
        if len(self._padded) != size:
            self._padded = np.zeros((size, 3, 42, 42), np.float32)
        self._padded[len(windows) :] = 0
        for k, window in enumerate(windows):
            self._padded[k] = window.maps
        return self._padded
