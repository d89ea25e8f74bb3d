"""Whoever listens to a session while it is disturbed: one that must hear all, one that never reads."""

from __future__ import annotations

import json
import threading

import zmq

QUIET_MS = 200
"""A subscriber that has heard nothing for so long after the end has heard everything."""


class Listener(threading.Thread):
    """A subscriber that reads everything; it must hear each confirmed event."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._over = threading.Event()
        self.confirmed: set[int] = set()

    def run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.linger = 0
            socket.connect(self._address)
            socket.subscribe(b"sfam/")
            while True:
                if not socket.poll(QUIET_MS):
                    if self._over.is_set():
                        return
                    continue
                topic, header, *_ = socket.recv_multipart()
                if topic.endswith(b"/event"):
                    event = json.loads(header)
                    if event["state"] == "confirmed":
                        self.confirmed.add(event["id"])

    def stop(self) -> None:
        """End once nothing more comes, for the session has ended and its last words may still be on their way."""
        self._over.set()
        self.join()


class StuckSubscriber:
    """Subscribes to everything and never reads."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = 1
        self._socket.connect(address)
        self._socket.subscribe(b"")

    def close(self) -> None:
        """Go away."""
        self._context.destroy(linger=0)
