"""Messages that wait for somebody to take them: in order, bounded, and what has to be given up is counted."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Final

KEPT_MESSAGES = 4096
"""A process may take minutes to load a model, and some twenty come each second."""
MESSAGES_LOST: Final = "messages_lost"
"""Kind of message and of incident: a process did not take what it was sent in time; the text says how many of what."""


class MessageQueue:
    """Where more than `most` would wait, the oldest of the kind that has most of them is given up.

    So hundreds of results never push out the one command that everything waits for.
    """

    def __init__(self, most: int = KEPT_MESSAGES) -> None:
        self._most = most
        self._waiting: deque[tuple[str, Any]] = deque()
        self._lost: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def put(self, kind: str, message: object) -> None:
        """Let one more wait."""
        self._waiting.append((kind, message))
        if len(self._waiting) > self._most:
            ((commonest, _),) = Counter(kind for kind, _ in self._waiting).most_common(1)
            oldest = next(place for place, (kind, _) in enumerate(self._waiting) if kind == commonest)
            del self._waiting[oldest]
            self._lost[commonest] += 1

    def take(self) -> tuple[str, Any]:
        """The one that has waited longest.

        Raises:
            IndexError: none waits.
        """
        return self._waiting.popleft()

    def losses(self) -> str:
        """What was given up since this was asked last, such as '3 marker, 12 analyzer'; '' = nothing."""
        lost = ", ".join(f"{count} {kind}" for kind, count in sorted(self._lost.items()))
        self._lost.clear()
        return lost
