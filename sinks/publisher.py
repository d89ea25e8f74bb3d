"""The way onto the bus, which never holds anyone up.

Small messages are sent at once, on the caller's thread: ZeroMQ only queues them, and drops them for a subscriber whose
queue is full, where they show as a gap in `seq`. Handing them to a thread of ours would cost the analysis more than
the sending, for the interpreter lets one thread work at a time. Frame and flow messages, which have to be encoded, do
wait for the publisher's own thread, in a short queue; that thread also greets subscribers while nothing is sent.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from .blind import RESULT_KINDS
from .bus_address import PUBLISH_NOTHING, require_private
from .curve import PublisherKeys
from .greeting_socket import FAREWELL_MS, CameraTopics, GreetingSocket
from .session_info import SessionInfo, SessionState
from .shared_bus import SharedBus
from .sink_error import SinkError
from .turns import Turns
from .wire import KINDS, PAYLOAD_KINDS, Kind, Stamps, WireError, encode_header, topic_of

WAITING_PAYLOADS = 4
"""Frame and flow messages that may wait to be encoded; beyond it they are lost and counted."""
IDLE_S = 0.5
NO_STAMPS = Stamps()
NUMBERED_KINDS = tuple(kind for kind in KINDS if kind != "session" and kind not in PAYLOAD_KINDS)
"""Kinds of which a session message says the next number; frame and flow are numbered before they are sent."""

Payload = bytes | Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class _Outgoing:
    kind: Kind
    seq: int
    fields: Mapping[str, object]
    stamps: Stamps
    payload: Payload


class Publisher:
    """Publishes one camera's session. Safe for threads.

    Args:
        address: `tcp://127.0.0.1:5571`; port `*` takes a free one, see `address` afterwards.
        info: what every `session` message says.
        high_water_mark: messages kept per subscriber; beyond it they are lost.
        insecure: allow an address that other machines can reach without keys.
        keys: encrypt, and let only listed subscribers in; makes any address safe to use.
        payload_kinds: of frame and flow, what the privacy tier lets out.
        payload_rate_hz: frame and flow messages a second at most.
        clock_ns: host monotonic clock, the one `Stamps.t_host_ns` was read from.
        first_seq: first number of each kind, where another publisher of this session came before.
        bus: socket shared with the publishers of other cameras, in place of one of its own.

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
        first_seq: Mapping[str, int] | None = None,
        bus: SharedBus | None = None,
    ) -> None:
        self._info = info
        self._topics = {kind: topic_of(info.camera, kind).encode() for kind in KINDS}
        self._sent_kinds = frozenset(KINDS) - frozenset(PAYLOAD_KINDS) | frozenset(payload_kinds)
        self._turns = {kind: Turns(payload_rate_hz) for kind in PAYLOAD_KINDS}
        self._clock_ns = clock_ns
        self._first_seq = {kind: (first_seq or {}).get(kind, 0) for kind in KINDS}
        self._seq: Counter[str] = Counter(self._first_seq)
        self._lost: Counter[Kind] = Counter()
        self._waiting: deque[_Outgoing] = deque()
        self._closed = False
        self._failure: Exception | None = None
        require_private(address, insecure or keys is not None)
        if bus is None:
            self._camera = CameraTopics(self._topics)
            self._socket = GreetingSocket(address, [self._camera], high_water_mark, keys)
        else:
            self._camera = bus.camera(info.camera)
            self._socket = bus.socket
        self._lock = self._socket.lock
        self.address = self._socket.address
        self._bell, self._bell_heard = socket.socketpair()
        self.session("started", {})
        self._thread = threading.Thread(target=self._serve, name="publisher", daemon=True)
        self._thread.start()

    def publish(
        self, kind: Kind, fields: Mapping[str, object], stamps: Stamps = NO_STAMPS, payload: Payload | None = None
    ) -> None:
        """Number a message and send it, or queue it where it has a payload; never waits for a subscriber.

        Args:
            kind: what it is; frame and flow need a payload.
            fields: header fields of that kind, see `wire_fields`.
            stamps: of the frame behind it.
            payload: bytes, or a function that makes them, called in the publisher's thread a little later: what it
                and `fields` hold must not change in between.

        Raises:
            SinkError: when the publisher was closed, or could not make an earlier payload.
            WireError: when the fields cannot be written, a payload is missing or out of place, or a result would
                leave a blind session.
        """
        if (payload is None) == (kind in PAYLOAD_KINDS):
            raise WireError(f"a {kind} message {'needs a' if payload is None else 'has no'} payload")
        if self._info.blind and (kind in RESULT_KINDS or (kind == "score" and fields.get("spot") is not None)):
            raise WireError(f"a blind session publishes no {kind} with results; this one has to stay in its files")
        with self._lock:
            self._require_open(kind)
            seq = self._seq[kind]
            self._seq[kind] += 1
            if payload is None:
                self._send_small(kind, seq, fields, stamps)
            elif len(self._waiting) < WAITING_PAYLOADS:
                self._waiting.append(_Outgoing(kind, seq, fields, stamps, payload))
                self._bell.send(b"!")
            else:
                self._lost[kind] += 1

    def session(self, state: SessionState, counters: Mapping[str, object]) -> None:
        """Publish where the session stands; later joiners get this message first."""
        self.publish("session", self._info.fields(state, counters))

    def wants(self, kind: Kind) -> bool:
        """True when somebody subscribes to this kind and it may leave."""
        return kind in self._camera.wanted and kind in self._sent_kinds

    def due(self, kind: Kind) -> bool:
        """True when a frame or flow message is wanted and its turn has come; takes the turn."""
        return self.wants(kind) and self._turns[kind].due(self._clock_ns())

    def running(self) -> bool:
        """False once the publisher was closed or has failed."""
        return not self._closed and self._failure is None

    def next_seq(self) -> dict[str, int]:
        """Number of the next message of each kind."""
        with self._lock:
            return dict(self._seq)

    def lost_messages(self) -> dict[str, int]:
        """Messages that did not fit into the publisher's own queue, by kind."""
        with self._lock:
            return {str(kind): count for kind, count in self._lost.items()}

    def close(self, counters: Mapping[str, object] | None = None, state: SessionState = "ended") -> None:
        """Publish the session's end with its totals, give it `FAREWELL_MS` to leave, and close. May be repeated."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._bell.send(b"!")
        self._thread.join(timeout=FAREWELL_MS / 1e3)
        with self._lock:
            self._send_small("session", self._seq["session"], self._info.fields(state, counters or {}), NO_STAMPS)
            self._socket.leave(self._camera)
            self._bell.close()
            self._bell_heard.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close(state="failed" if error is not None else "ended")

    def _require_open(self, kind: Kind) -> None:
        if self._failure is not None:
            raise SinkError(f"publisher on {self.address} has stopped: {self._failure}") from self._failure
        if self._closed:
            raise SinkError(f"publisher on {self.address} is closed; {kind} message not sent")

    def _send_small(self, kind: Kind, seq: int, fields: Mapping[str, object], stamps: Stamps) -> None:
        if kind == "session":
            self._camera.greeting = partial(self._session_parts, seq, fields)
            self._socket.send(self._session_parts(seq, fields))
        elif kind in self._camera.wanted:
            self._socket.send([self._topics[kind], self._header(kind, seq, fields, stamps)])
        else:
            return
        # after, not before: nobody waits for it here, and sending may have swallowed the sign that somebody joined
        self._socket.greet()

    def _session_parts(self, seq: int, fields: Mapping[str, object]) -> list[bytes]:
        """A session message as it stands now, with what tells a subscriber which messages it lacks."""
        next_seq = {kind: self._seq[kind] for kind in NUMBERED_KINDS}
        numbered = {**fields, "first_seq": self._first_seq, "next_seq": next_seq}
        return [self._topics["session"], self._header("session", seq, numbered, NO_STAMPS)]

    def _header(self, kind: Kind, seq: int, fields: Mapping[str, object], stamps: Stamps) -> bytes:
        info = self._info
        return encode_header(kind, info.session, info.camera, seq, stamps, self._clock_ns(), fields)

    def _serve(self) -> None:
        """Greet subscribers and send payloads until the publisher is closed."""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket.descriptor, selectors.EVENT_READ)
                selector.register(self._bell_heard, selectors.EVENT_READ)
                while not self._closed:
                    called = {key.fileobj for key, _ in selector.select(IDLE_S)}
                    self._greet_all()
                    if self._bell_heard in called:
                        self._bell_heard.recv(64)
                        self._send_waiting()
        except Exception as error:  # handed to the next caller of publish()
            self._failure = error

    def _greet_all(self) -> None:
        more = True
        while more and not self._closed:
            with self._lock:
                more = self._socket.greet()

    def _send_waiting(self) -> None:
        while self._waiting:
            message = self._waiting.popleft()
            payload = message.payload() if callable(message.payload) else message.payload
            with self._lock:
                header = self._header(message.kind, message.seq, message.fields, message.stamps)
                self._socket.send([self._topics[message.kind], header, payload])
                self._socket.greet()


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

    def next_seq(self) -> dict[str, int]:
        """Nothing is numbered."""
        return {}

    def lost_messages(self) -> dict[str, int]:
        """Nothing sent, nothing lost."""
        return {}

    def close(self, counters: Mapping[str, object] | None = None, state: SessionState = "ended") -> None:
        """Nothing to close."""

    def __enter__(self) -> NullPublisher:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()


def open_publisher(
    address: str,
    info: SessionInfo,
    *,
    high_water_mark: int = 1000,
    insecure: bool = False,
    keys: PublisherKeys | None = None,
    payload_kinds: Iterable[Kind] = PAYLOAD_KINDS,
    payload_rate_hz: float = 15.0,
    first_seq: Mapping[str, int] | None = None,
    bus: SharedBus | None = None,
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
        first_seq=first_seq,
        bus=bus,
    )
