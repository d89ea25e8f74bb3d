"""A ZeroMQ XPUB socket that greets each new subscriber with the session's state.

It takes subscriptions by hand (XPUB_MANUAL), for two reasons. With XPUB_MANUAL_LAST_VALUE the message sent right after
a subscription was accepted goes to the new subscriber alone: it gets the current `session` first. And a subscription
to a prefix (`sfam/`) can be answered with the small kinds only: frame and flow go to those who ask for their full
topic, so that whoever wants "everything" does not pull a video by accident.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence

import zmq
from zmq.auth.thread import ThreadAuthenticator

from .bus_address import remove_socket_file, why_not_bound
from .bus_peers import BusPeers
from .curve import PublisherKeys, guard
from .sink_error import SinkError
from .wire import PAYLOAD_KINDS, Kind

FAREWELL_MS = 500
"""How long the last messages of a session may take to leave."""
SUBSCRIPTIONS_AT_ONCE = 32
LONGEST_SUBSCRIPTION = 4096
READABLE = int(zmq.POLLIN)
TO_NOBODY = b"\x00"
"""A topic that no subscription is ever accepted for."""


class CameraTopics:
    """One camera on a socket: who wants what of it, and what newcomers are told."""

    def __init__(self, topics: Mapping[Kind, bytes]) -> None:
        self.topics = dict(topics)
        self.wanted: frozenset[Kind] = frozenset()
        """Kinds that somebody subscribes to."""
        self.greeting: Callable[[], Sequence[bytes]] | None = None
        """Makes what a new subscriber gets first; None before the session of this camera has begun."""

    def covered(self, prefixes: Collection[bytes]) -> frozenset[Kind]:
        """The kinds that subscriptions to these prefixes mean."""
        return frozenset(
            kind for kind, topic in self.topics.items() if any(_covers(one, kind, topic) for one in prefixes)
        )


class GreetingSocket:
    """The socket of one publisher, or of those of several cameras.

    Not safe for threads: whoever uses it holds its `lock`.

    Args:
        address: as ZeroMQ writes it, checked before.
        cameras: all that will ever publish here, for a subscription cannot be widened later.
        high_water_mark: messages kept per subscriber; beyond it they are lost.
        keys: encrypt, and let only listed subscribers in.

    Raises:
        SinkError: when the address cannot be bound.
    """

    def __init__(
        self, address: str, cameras: Sequence[CameraTopics], high_water_mark: int, keys: PublisherKeys | None
    ) -> None:
        self.lock = threading.RLock()
        self.address = address
        self._cameras = list(cameras)
        self._context = zmq.Context()
        self._guardian: ThreadAuthenticator | None = None
        self._socket = self._context.socket(zmq.XPUB)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.SNDHWM, high_water_mark),
            (zmq.MAXMSGSIZE, LONGEST_SUBSCRIPTION),
            (zmq.IPV6, int("[" in address)),
            (zmq.XPUB_MANUAL, 1),
            (zmq.XPUB_MANUAL_LAST_VALUE, 1),
        ):
            self._socket.setsockopt(option, value)
        self._peers = BusPeers(self._context, self._socket)
        if keys is not None:
            self._guardian = guard(self._context, self._socket, keys)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._close()
            raise SinkError(why_not_bound(address, error)) from error
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.descriptor = int(self._socket.getsockopt(zmq.FD))
        """Readable when a subscription may have come; only `greet` makes it unreadable again."""

    def leave(self, camera: CameraTopics) -> None:
        """A camera has ended; the last one closes the socket, which gives what was sent `FAREWELL_MS` to leave."""
        if camera in self._cameras:
            self._cameras.remove(camera)
            if not self._cameras:
                self._close()

    def send(self, parts: Sequence[bytes]) -> None:
        """Send to whoever subscribes to it; never waits."""
        self._socket.send_multipart(parts)

    def greet(self) -> bool:
        """Take subscriptions that have come; True when there may be more."""
        self._peers.catch_up()
        for _ in range(SUBSCRIPTIONS_AT_ONCE):
            if not int(self._socket.getsockopt(zmq.EVENTS)) & READABLE:
                return False
            request = self._socket.recv(zmq.NOBLOCK, copy=False)
            if request.bytes[:1] in (b"\x00", b"\x01"):
                self._answer(request, request.bytes[:1] == b"\x01", request.bytes[1:])
            else:
                self._socket.send(TO_NOBODY)
        return True

    def _close(self) -> None:
        self._peers.close()
        self._socket.close(linger=FAREWELL_MS)
        if self._guardian is not None:
            self._guardian.stop()
        self._context.term()
        remove_socket_file(self.address)  # ZeroMQ leaves it

    def _answer(self, request: zmq.Frame, joins: bool, prefix: bytes) -> None:
        """Accept or end one subscription.

        Whatever is sent next goes to this subscriber alone, so something has to be sent each time: the greeting
        where the session was asked for, else a message that matches nobody. Of several cameras only the first can be
        greeted for alone; the greetings of the others reach their old subscribers once more, as repeats. Leaving a
        small kind is left to the subscriber's own filter: the same peer may still hold another prefix of it.
        """
        asked = [(camera, kind) for camera in self._cameras for kind in camera.covered({prefix})]
        if asked:
            self._peers.enter(request, joins, prefix)
            held = self._peers.prefixes()
            for camera in self._cameras:
                camera.wanted = camera.covered(held)
        for camera, kind in asked:
            if joins:
                self._socket.setsockopt(zmq.SUBSCRIBE, camera.topics[kind])
            elif kind in PAYLOAD_KINDS:
                self._socket.setsockopt(zmq.UNSUBSCRIBE, camera.topics[kind])
        due = [camera.greeting() for camera, kind in asked if joins and kind == "session" and camera.greeting]
        for greeting in due:
            self._socket.send_multipart(greeting)
        if not due:
            self._socket.send(TO_NOBODY)


def _covers(prefix: bytes, kind: Kind, topic: bytes) -> bool:
    return topic == prefix if kind in PAYLOAD_KINDS else topic.startswith(prefix)
