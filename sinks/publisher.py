"""The way onto the bus: a ZeroMQ XPUB socket that greets each subscriber with the session and never holds anyone up.

The socket lives in its own thread. `Publisher.publish` only numbers a message and puts it into a bounded queue, so
no subscriber, however slow, can hold up the analysis: what does not fit is lost and shows as a gap in `seq`.

The socket takes subscriptions by hand (XPUB_MANUAL), for two reasons. With XPUB_MANUAL_LAST_VALUE the message sent
right after a subscription was accepted goes to the new subscriber alone: it gets the current `session` first. And a
subscription to a prefix (`sfam/`) can be answered with the small kinds only: frame and flow go to those who ask for
their full topic, so that whoever wants "everything" does not pull a video by accident.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import zmq
from zmq.auth.thread import ThreadAuthenticator

from .bus_address import PUBLISH_NOTHING, require_private, why_not_bound
from .curve import PublisherKeys, guard
from .session_info import SessionInfo, SessionState
from .sink_error import SinkError
from .wire import KINDS, PAYLOAD_KINDS, Kind, Stamps, WireError, encode_header, topic_of

FAREWELL_MS = 500
"""How long the last messages of a session may take to leave."""
SUBSCRIPTIONS_AT_ONCE = 256
LONGEST_SUBSCRIPTION = 4096
NO_STAMPS = Stamps()
TO_NOBODY = b"\x00"
"""A topic that no subscription is ever accepted for."""

Payload = bytes | Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class _Outgoing:
    kind: Kind
    seq: int
    fields: Mapping[str, object]
    stamps: Stamps
    payload: Payload | None


class Publisher:
    """Publishes one camera's session.

    Args:
        address: `tcp://127.0.0.1:5571`; port `*` takes a free one, see `address` afterwards.
        info: what every `session` message says.
        high_water_mark: messages kept per subscriber, and before the socket; beyond it they are lost.
        insecure: allow an address that other machines can reach without keys.
        keys: encrypt, and let only listed subscribers in; makes any address safe to use.
        payload_kinds: of frame and flow, what the privacy tier lets out.
        payload_rate_hz: frame and flow messages a second at most.
        clock_ns: host monotonic clock, the one `Stamps.t_host_ns` was read from.

    Raises:
        SinkError: when the address is malformed, taken, or open to other machines without `insecure`.
    """

    def __init__(
        self,
        address: str,
        info: SessionInfo,
        *,
        high_water_mark: int = 1000,
        insecure: bool = False,
        keys: PublisherKeys | None = None,
        payload_kinds: Iterable[Kind] = PAYLOAD_KINDS,
        payload_rate_hz: float = 15.0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._info = info
        self._topics = {kind: topic_of(info.camera, kind).encode() for kind in KINDS}
        self._sent_kinds = frozenset(KINDS) - frozenset(PAYLOAD_KINDS) | frozenset(payload_kinds)
        self._queue_limit = high_water_mark
        self._payload_gap_ns = round(1e9 / payload_rate_hz)
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._pending: deque[_Outgoing] = deque()
        self._seq: Counter[Kind] = Counter()
        self._lost: Counter[Kind] = Counter()
        self._wanted: Counter[Kind] = Counter()
        self._last_payload_ns: dict[Kind, int] = {}
        self._state: SessionState = "started"
        self._closing = False
        self._rung = False
        self._failure: Exception | None = None
        self._greeting: list[bytes] = []
        require_private(address, insecure or keys is not None)
        self._context = zmq.Context()
        self._guardian: ThreadAuthenticator | None = None
        self._socket = self._bind(address, high_water_mark, keys)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._bell, self._bell_heard = socket.socketpair()
        self.session("started", {})
        self._greet_with_first()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def publish(
        self, kind: Kind, fields: Mapping[str, object], stamps: Stamps = NO_STAMPS, payload: Payload | None = None
    ) -> None:
        """Number a message and queue it; returns at once.

        Args:
            kind: what it is; frame and flow need a payload.
            fields: header fields of that kind, see `wire_fields`; must not be changed afterwards.
            stamps: of the frame behind it.
            payload: bytes, or a function that makes them, called in the publisher's thread a little later: what it
                reads must not change in between.

        Raises:
            SinkError: when the publisher has failed or was closed.
        """
        with self._lock:
            if self._failure is not None:
                raise SinkError(f"publisher on {self.address} has stopped: {self._failure}") from self._failure
            if self._closing:
                raise SinkError(f"publisher on {self.address} is closed; {kind} message not sent")
            self._queue(kind, fields, stamps, payload)
        self._ring()

    def session(self, state: SessionState, counters: Mapping[str, object]) -> None:
        """Publish where the session stands; later joiners get this message first."""
        self._state = state
        self.publish("session", self._info.fields(state, counters))

    def wants(self, kind: Kind) -> bool:
        """True when somebody subscribes to this kind and it may leave."""
        return self._wanted[kind] > 0 and kind in self._sent_kinds

    def due(self, kind: Kind) -> bool:
        """True when a frame or flow message is wanted and the last one lies back far enough; takes the turn."""
        if not self.wants(kind):
            return False
        now = self._clock_ns()
        if now - self._last_payload_ns.get(kind, now - self._payload_gap_ns) < self._payload_gap_ns:
            return False
        self._last_payload_ns[kind] = now
        return True

    def running(self) -> bool:
        """False once the publisher was closed or has failed."""
        return self._thread.is_alive()

    def lost_messages(self) -> dict[str, int]:
        """Messages that did not fit into the publisher's own queue, by kind."""
        with self._lock:
            return {str(kind): count for kind, count in self._lost.items()}

    def close(self, counters: Mapping[str, object] | None = None, state: SessionState = "ended") -> None:
        """Publish the session's end with its totals, give it `FAREWELL_MS` to leave, and close. May be repeated."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._queue("session", self._info.fields(state, counters or {}), NO_STAMPS, None, even_if_full=True)
        self._ring()
        self._thread.join(timeout=FAREWELL_MS / 1e3 + 5.0)
        self._bell.close()
        self._bell_heard.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close(state="failed" if error is not None else "ended")

    def _queue(
        self,
        kind: Kind,
        fields: Mapping[str, object],
        stamps: Stamps,
        payload: Payload | None,
        even_if_full: bool = False,
    ) -> None:
        seq = self._seq[kind]
        self._seq[kind] += 1
        if len(self._pending) >= self._queue_limit and not even_if_full:
            self._lost[kind] += 1
            return
        self._pending.append(_Outgoing(kind, seq, fields, stamps, payload))

    def _ring(self) -> None:
        with self._lock:
            if self._rung:
                return
            self._rung = True
        self._bell.send(b"!")

    def _bind(self, address: str, high_water_mark: int, keys: PublisherKeys | None) -> zmq.Socket[bytes]:
        xpub = self._context.socket(zmq.XPUB)
        xpub.setsockopt(zmq.LINGER, 0)
        xpub.setsockopt(zmq.SNDHWM, high_water_mark)
        xpub.setsockopt(zmq.MAXMSGSIZE, LONGEST_SUBSCRIPTION)
        xpub.setsockopt(zmq.IPV6, int("[" in address))
        xpub.setsockopt(zmq.XPUB_MANUAL, 1)
        xpub.setsockopt(zmq.XPUB_MANUAL_LAST_VALUE, 1)
        if keys is not None:
            self._guardian = guard(self._context, xpub, keys)
        try:
            xpub.bind(address)
        except zmq.ZMQError as error:
            self._leave(xpub)
            raise SinkError(why_not_bound(address, error)) from error
        return xpub

    def _greet_with_first(self) -> None:
        first = self._pending[0]
        self._greeting = self._encoded(first)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._bell_heard, zmq.POLLIN)
        try:
            while True:
                ready = dict(poller.poll(1000))
                if self._socket in ready:
                    self._take_subscriptions()
                if self._bell_heard.fileno() in ready and self._send_pending():
                    break
        except Exception as error:  # handed to the next caller of publish()
            with self._lock:
                self._failure = error
        finally:
            self._leave(self._socket)

    def _leave(self, xpub: zmq.Socket[bytes]) -> None:
        xpub.close(linger=FAREWELL_MS)
        if self._guardian is not None:
            self._guardian.stop()
        self._context.term()

    def _send_pending(self) -> bool:
        """Send all that is queued; True when the last message of a closing publisher went out."""
        with self._lock:
            self._bell_heard.recv(1)
            self._rung = False
            batch = list(self._pending)
            self._pending.clear()
            closing = self._closing
        for message in batch:
            parts = self._encoded(message)
            if message.kind == "session":
                self._greeting = parts
            self._socket.send_multipart(parts)
        return closing

    def _encoded(self, message: _Outgoing) -> list[bytes]:
        payload = message.payload() if callable(message.payload) else message.payload
        if (payload is None) == (message.kind in PAYLOAD_KINDS):
            raise WireError(f"a {message.kind} message {'needs a' if payload is None else 'has no'} payload")
        header = encode_header(
            message.kind,
            self._info.session,
            self._info.camera,
            message.seq,
            message.stamps,
            self._clock_ns(),
            message.fields,
        )
        parts = [self._topics[message.kind], header]
        return parts if payload is None else [*parts, payload]

    def _take_subscriptions(self) -> None:
        for _ in range(SUBSCRIPTIONS_AT_ONCE):
            try:
                request = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if request[:1] in (b"\x00", b"\x01"):
                self._answer(request[:1] == b"\x01", request[1:])
            else:
                self._socket.send(TO_NOBODY)

    def _answer(self, joins: bool, prefix: bytes) -> None:
        """Accept or end one subscription.

        Whatever is sent next goes to this subscriber alone, so something has to be sent each time: the session
        where it was asked for, else a message that matches nobody. Leaving a small kind is left to the subscriber's
        own filter: the same peer may still hold a longer or shorter prefix of it.
        """
        asked = [kind for kind, topic in self._topics.items() if _covers(prefix, kind, topic)]
        for kind in asked:
            self._wanted[kind] = max(0, self._wanted[kind] + (1 if joins else -1))
            if joins:
                self._socket.setsockopt(zmq.SUBSCRIBE, self._topics[kind])
            elif kind in PAYLOAD_KINDS:
                self._socket.setsockopt(zmq.UNSUBSCRIBE, self._topics[kind])
        if joins and "session" in asked:
            self._socket.send_multipart(self._greeting)
        else:
            self._socket.send(TO_NOBODY)


class NullPublisher:
    """Stands in for a bus that was switched off (`--publish none`)."""

    address = PUBLISH_NOTHING

    def publish(
        self, kind: Kind, fields: Mapping[str, object], stamps: Stamps = NO_STAMPS, payload: Payload | None = None
    ) -> None:
        """Send nothing."""

    def session(self, state: SessionState, counters: Mapping[str, object]) -> None:
        """Send nothing."""

    def wants(self, kind: Kind) -> bool:
        """Nobody listens."""
        return False

    def due(self, kind: Kind) -> bool:
        """Nobody listens."""
        return False

    def lost_messages(self) -> dict[str, int]:
        """Nothing sent, nothing lost."""
        return {}

    def close(self, counters: Mapping[str, object] | None = None, state: SessionState = "ended") -> None:
        """Nothing to close."""

    def __enter__(self) -> NullPublisher:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()


def _covers(prefix: bytes, kind: Kind, topic: bytes) -> bool:
    return topic == prefix if kind in PAYLOAD_KINDS else topic.startswith(prefix)


def open_publisher(
    address: str,
    info: SessionInfo,
    *,
    high_water_mark: int = 1000,
    insecure: bool = False,
    keys: PublisherKeys | None = None,
    payload_kinds: Iterable[Kind] = PAYLOAD_KINDS,
    payload_rate_hz: float = 15.0,
) -> Publisher | NullPublisher:
    """The publisher for an address; `none` gives one that sends nothing."""
    if address == PUBLISH_NOTHING:
        return NullPublisher()
    return Publisher(
        address,
        info,
        high_water_mark=high_water_mark,
        insecure=insecure,
        keys=keys,
        payload_kinds=payload_kinds,
        payload_rate_hz=payload_rate_hz,
    )
