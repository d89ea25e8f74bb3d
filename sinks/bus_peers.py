"""Who subscribes to what on an XPUB socket that takes subscriptions by hand.

ZeroMQ then reports every request as it came: whoever subscribes twice and goes is heard twice and gone once, and
anybody can end what was never begun. So requests are not counted but kept by connection, and the socket's monitor says
which connections there are.
"""

from __future__ import annotations

import zmq
from zmq.utils.monitor import recv_monitor_message

WATCHED = int(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
READABLE = int(zmq.POLLIN)
UNKNOWN = -1
"""Peers of ZeroMQ before version 4, which cannot be told apart: what one of them wants is wanted from then on."""


class BusPeers:
    """The subscriptions that hold now. Made before the socket is bound; not safe for threads."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._held: dict[int, set[bytes]] = {UNKNOWN: set()}
        self._monitor = context.socket(zmq.PAIR)
        self._monitor.setsockopt(zmq.RCVHWM, 0)  # a full queue would hold up the socket's own thread
        address = f"inproc://peers-{id(self):x}"
        socket.monitor(address, WATCHED)
        self._monitor.connect(address)

    def enter(self, request: zmq.Frame, joins: bool, prefix: bytes) -> None:
        """Take the request just received: a subscription to a prefix begins or ends.

        The ends that ZeroMQ reports of a peer that has gone name no connection; the monitor has said so already.
        """
        self.catch_up()
        held = self._held.get(_connection(request))
        if held is None:  # has gone since
            return
        if joins:
            held.add(prefix)
        elif held is not self._held[UNKNOWN]:
            held.discard(prefix)

    def prefixes(self) -> set[bytes]:
        """All that somebody subscribes to."""
        return set().union(*self._held.values())

    def close(self) -> None:
        """Before the socket is closed."""
        self._socket.disable_monitor()
        self._monitor.close(linger=0)

    def catch_up(self) -> None:
        """Take what the monitor says; to be done now and then, since it also tells of those who ask for nothing."""
        while int(self._monitor.getsockopt(zmq.EVENTS)) & READABLE:
            event = recv_monitor_message(self._monitor)
            connection = int(event["value"])
            self._held.pop(connection, None)  # a number is used again by a later connection
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._held[connection] = set()


def _connection(request: zmq.Frame) -> int:
    try:
        return int(request.get("__fd"))
    except zmq.ZMQError:
        return UNKNOWN
