"""A bus that is read beside other work, one session after the other or one alone."""

from __future__ import annotations

import threading
from collections import deque

from .curve import SubscriberKeys
from .subscriber import subscribe
from .wire import Kind, Message

SHOWN_KINDS: tuple[Kind, ...] = ("session", "score", "event", "status", "face", "frame", "flow")
KEPT_MESSAGES = 2048
AGAIN_S = 0.5
LEAVING_S = 2.0


class BusListener(threading.Thread):
    """Reads what is shown of one bus, so that neither it nor whoever shows it waits for the other."""

    def __init__(
        self, address: str, keys: SubscriberKeys | None, camera: str | None = None, *, one_session: bool = False
    ) -> None:
        super().__init__(name=f"bus {address}", daemon=True)
        self._address = address
        self._keys = keys
        self._camera = camera
        self._one_session = one_session
        self._leaving = threading.Event()
        self._found: deque[Message] = deque(maxlen=KEPT_MESSAGES)
        self.failure: Exception | None = None

    def run(self) -> None:
        """Until `leave`, or the end of the one session; why it ended before stands in `failure`."""
        try:
            while not self._leaving.is_set():
                for message in subscribe(
                    self._address,
                    SHOWN_KINDS,
                    self._camera,
                    keys=self._keys,
                    running=lambda: not self._leaving.is_set(),
                ):
                    self._found.append(message)
                if self._one_session:
                    break
                self._leaving.wait(AGAIN_S)
        except Exception as error:  # handed to whoever asks for news
            self.failure = error

    def news(self) -> list[Message]:
        """What has come since the last call, oldest first."""
        return [self._found.popleft() for _ in range(len(self._found))]

    def leave(self) -> None:
        """End the subscription."""
        self._leaving.set()
        self.join(timeout=LEAVING_S)
