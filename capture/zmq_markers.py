"""Trial markers from a ZeroMQ publisher, for stimulus programs without Lab Streaming Layer."""

from __future__ import annotations

import time

import zmq
from zmq.utils.monitor import recv_monitor_message

from .clock import SessionClock
from .marker import Marker, json_object, parse_marker
from .source import SourceError

QUEUE_LIMIT = 1000
LARGEST_MESSAGE = 64 * 1024


class ZmqMarkers:
    """Reads a PUB socket; its last message part is the marker's text in UTF-8.

    A JSON object may carry its own time: `t_monotonic_ns` of this machine's monotonic clock, or `t_utc_ns`, as exact
    as the two machines' clocks agree. Without one the moment of arrival counts.

    Args:
        address: of the publisher, `tcp://127.0.0.1:5590`; it may start later, end and come back.
        clock: of the session.

    Raises:
        SourceError: the address is malformed.
    """

    def __init__(self, address: str, clock: SessionClock) -> None:
        self._clock = clock
        self._address = address
        self._context = zmq.Context()
        self._reader = self._context.socket(zmq.SUB)
        self._monitor = self._reader.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RCVHWM, QUEUE_LIMIT),
            (zmq.MAXMSGSIZE, LARGEST_MESSAGE),
            (zmq.RECONNECT_IVL, 100),
            (zmq.RECONNECT_IVL_MAX, 500),
        ):
            self._reader.setsockopt(option, value)
        try:
            self._reader.connect(address)
        except zmq.ZMQError as error:
            self.close()
            raise SourceError(
                f"cannot read markers from {address!r}: {error.strerror}; expected tcp://HOST:PORT of their publisher"
            ) from error
        self._reader.subscribe("")
        self._is_connected = False

    @property
    def sources(self) -> tuple[str, ...]:
        """The address while its publisher is connected."""
        while self._monitor.poll(0):
            self._is_connected = recv_monitor_message(self._monitor)["event"] == zmq.EVENT_CONNECTED
        return (self._address,) if self._is_connected else ()

    def read(self, timeout_s: float) -> list[Marker]:
        """Markers that have come, in their order; empty after `timeout_s` without any."""
        found: list[Marker] = []
        if self._reader.poll(round(timeout_s * 1e3)):
            while len(found) < QUEUE_LIMIT and self._reader.poll(0):
                arrived_ns = time.monotonic_ns()
                text = self._reader.recv_multipart()[-1].decode("utf-8", errors="replace")
                found.append(parse_marker(text, self._time_of(text, arrived_ns), f"zmq:{self._address}"))
        return found

    def close(self) -> None:
        """Leave."""
        self._reader.disable_monitor()
        self._monitor.close()
        self._reader.close()
        self._context.term()

    def __enter__(self) -> ZmqMarkers:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def _time_of(self, text: str, arrived_ns: int) -> int:
        said = json_object(text) or {}
        monotonic, utc = said.get("t_monotonic_ns"), said.get("t_utc_ns")
        if isinstance(monotonic, int):
            return monotonic
        if isinstance(utc, int):
            return utc - self._clock.anchor_utc_ns + self._clock.anchor_monotonic_ns
        return arrived_ns
