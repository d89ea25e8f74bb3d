"""Encoded frames of the last seconds, held until it is known whether an event makes them worth storing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .mcap_chunk import PackedChunk

LONGEST_EVENT_S = 12.0
"""An event is decided at the latest so long after it began: it lasts up to 8 s, then the face must come to rest."""
_STAMPS_KEPT = 2**14
"""Frames given up whose times are remembered: three minutes at 90 fps."""


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """How much to store around an event."""

    before_s: float = 1.0
    after_s: float = 1.0
    memory_bytes: int = 512 * 2**20
    """What is held at most; beyond it the oldest frames go."""


@dataclass(frozen=True, slots=True)
class _Held:
    t_ns: int
    chunks: list[PackedChunk]
    bytes: int


class ClipMemory:
    """Blocks of one frame each; those inside a wanted stretch of capture time come out, the others age and go."""

    def __init__(self, settings: ClipSettings) -> None:
        self._settings = settings
        self._held: deque[_Held] = deque()
        self._bytes = 0
        self._wanted: list[tuple[int, int]] = []
        self._gone: deque[int] = deque(maxlen=_STAMPS_KEPT)
        """Capture times of frames given up, oldest first."""
        self.left_out = 0
        """Frames that no clip asked for."""
        self.too_late = 0
        """Frames that a clip asked for when they were no longer held."""

    def keep(self, from_ns: int, to_ns: int) -> None:
        """Want what was captured between these times, and the configured seconds around them."""
        before_ns, after_ns = round(self._settings.before_s * 1e9), round(self._settings.after_s * 1e9)
        stretch = (from_ns - before_ns, to_ns + after_ns)
        self._wanted.append(stretch)
        still_unasked = [t_ns for t_ns in self._gone if not _lies_in(stretch, t_ns)]
        missed = len(self._gone) - len(still_unasked)
        self._gone = deque(still_unasked, _STAMPS_KEPT)
        self.too_late += missed
        self.left_out -= missed

    def add(self, t_ns: int, chunks: list[PackedChunk]) -> None:
        """Hold a frame captured at `t_ns`."""
        held = _Held(t_ns, chunks, sum(len(chunk.data) for chunk in chunks))
        self._held.append(held)
        self._bytes += held.bytes

    def due(self) -> list[list[PackedChunk]]:
        """Frames to be written now, oldest first; forgets what is too old."""
        due = [held for held in self._held if self._is_wanted(held.t_ns)]
        if due:
            self._held = deque(held for held in self._held if not self._is_wanted(held.t_ns))
            self._bytes -= sum(held.bytes for held in due)
        self._forget()
        return [held.chunks for held in due]

    def forget_all(self) -> None:
        """No event can come any more."""
        self.left_out += len(self._held)
        self._held.clear()
        self._bytes = 0

    def _is_wanted(self, t_ns: int) -> bool:
        return any(_lies_in(stretch, t_ns) for stretch in self._wanted)

    def _forget(self) -> None:
        if not self._held:
            return
        oldest_ns = self._held[-1].t_ns - round((self._settings.before_s + LONGEST_EVENT_S) * 1e9)
        while self._held and (self._bytes > self._settings.memory_bytes or self._held[0].t_ns < oldest_ns):
            held = self._held.popleft()
            self._bytes -= held.bytes
            self._gone.append(held.t_ns)
            self.left_out += 1
        self._wanted = [(first, last) for first, last in self._wanted if last >= oldest_ns]


def _lies_in(stretch: tuple[int, int], t_ns: int) -> bool:
    return stretch[0] <= t_ns <= stretch[1]
