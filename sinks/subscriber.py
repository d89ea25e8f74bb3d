"""The way off the bus: `for message in subscribe(address): ...`."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import zmq

from .curve import SubscriberKeys
from .sink_error import SilenceError, SinkError
from .wire import KINDS, PAYLOAD_KINDS, ROOT, Kind, Message, WireError, decode, topic_of

EVENTS: tuple[Kind, ...] = ("event",)
QUEUE_LIMIT = 1000
"""Messages kept for a reader that falls behind; beyond it they are lost and counted."""
POLL_MS = 500
LARGEST_MESSAGE = 64 * 2**20


class _Ledger:
    """Counts what this subscriber missed, by topic.

    Args:
        kinds: subscribed to.
    """

    def __init__(self, kinds: frozenset[Kind]) -> None:
        self._kinds = kinds
        self._next_seq: dict[tuple[str, str], int] = {}
        self.lost = 0
        self.stale = 0

    def enter(self, message: Message) -> Message:
        """The message with the losses so far; of a topic, they count from the first session message on."""
        header, seq = message.header, int(message.header["seq"])
        session, camera = str(header["session"]), message.topic.rpartition("/")[0]
        if message.kind == "session":
            for kind, first in header.get("first_seq", {}).items():
                self._skip_to((session, f"{camera}/{kind}"), first)
        key = (session, message.topic)
        repeat = seq < self._next_seq.get(key, 0)
        self._come_to(key, seq)
        self._next_seq[key] = max(self._next_seq[key], seq + 1)
        if message.kind == "session":
            for kind in self._kinds & header.get("next_seq", {}).keys():
                self._come_to((session, f"{camera}/{kind}"), header["next_seq"][kind])
        return Message(message.topic, message.kind, header, message.payload, self.lost, self.stale, repeat)

    def _come_to(self, key: tuple[str, str], seq: int) -> None:
        """A topic has reached this number: what was due before it and has not come is lost."""
        due = self._next_seq.get(key, seq)
        self.lost += max(0, seq - due)
        self._next_seq[key] = max(due, seq)

    def _skip_to(self, key: tuple[str, str], first: int) -> None:
        """Numbers between those of a publisher that has died and of the one in its place were never given."""
        if key in self._next_seq:
            self._next_seq[key] = max(self._next_seq[key], first)


@dataclass(frozen=True, slots=True)
class _SessionClock:
    """Tells how old a session's messages are."""

    utc_ahead_ns: int
    live: bool
    """Frames carry the time they arrive at."""

    @classmethod
    def of(cls, session: Mapping[str, Any]) -> _SessionClock:
        clock = session["clock"]
        ahead_ns = clock["anchor_utc_ns"] - clock["anchor_monotonic_ns"]
        return cls(ahead_ns, bool(session["devices"].get("live", False)))

    def born_utc_ns(self, header: Mapping[str, Any]) -> int:
        """When the frame behind a message was captured, else when the message was published."""
        captured_ns = header["t_capture_ns"]
        born_ns = captured_ns if self.live and captured_ns is not None else header["t_publish_ns"]
        return int(born_ns) + self.utc_ahead_ns


def subscribe(
    address: str,
    kinds: Iterable[Kind] = EVENTS,
    camera: str | None = None,
    timeout_s: float | None = None,
    max_age_ms: float | None = None,
    keys: SubscriberKeys | None = None,
    utc_ns: Callable[[], int] = time.time_ns,
    running: Callable[[], bool] = lambda: True,
) -> Generator[Message, None, None]:
    """Messages of a session as they arrive, until the session says that it ended; of several cameras, the last one.

    Connects when the first message is asked for. A publisher that is not there yet is waited for, a lost connection
    is taken up again. Losses on the way stand in `Message.lost`, once a later message of the topic or of the session
    tells of them; what was sent before this subscriber came is not lost. Close the iterator (or just drop it) to
    leave early.

    Args:
        address: where the publisher is, `tcp://127.0.0.1:5571`.
        kinds: what to receive; `session` is always read, but only handed out when asked for.
        camera: name in the topic; None = every camera on this address.
        timeout_s: give up after so many seconds without any message of any kind; None = wait for ever.
        max_age_ms: leave out messages whose frame was captured longer ago than this, and count them in
            `Message.stale`; of a replay, and where no frame is meant, those published longer ago. Between two machines
            it is as exact as their clocks agree.
        keys: for a publisher that lets only listed keys in; with a wrong key nothing ever arrives.
        utc_ns: clock for `max_age_ms`.
        running: asked after every message and at least twice a second; False ends the iteration.

    Raises:
        SilenceError: nothing came for `timeout_s`.
        SinkError: the address is malformed.
        WireError: an unknown kind was asked for, the publisher speaks another major version, or something else
            publishes there.
    """
    asked = frozenset(kinds)
    if not asked <= frozenset(KINDS):
        raise WireError(f"no such kind: {', '.join(sorted(asked - frozenset(KINDS)))}; choose from {', '.join(KINDS)}")
    with zmq.Context() as context, context.socket(zmq.SUB) as reader:
        _ask_for(reader, asked, camera)
        _connect(reader, address, keys)
        yield from _receive(reader, address, asked, camera, timeout_s, max_age_ms, utc_ns, running)


def _connect(reader: zmq.Socket[bytes], address: str, keys: SubscriberKeys | None) -> None:
    for option, value in (
        (zmq.LINGER, 0),
        (zmq.RCVHWM, QUEUE_LIMIT),
        (zmq.MAXMSGSIZE, LARGEST_MESSAGE),
        (zmq.RECONNECT_IVL, 100),
        (zmq.RECONNECT_IVL_MAX, 400),  # who waits for a session misses no more than that of it
        (zmq.HEARTBEAT_IVL, 2000),
        (zmq.HEARTBEAT_TIMEOUT, 6000),
        (zmq.IPV6, int("[" in address)),
    ):
        reader.setsockopt(option, value)
    if keys is not None:
        keys.apply(reader)
    try:
        reader.connect(address)
    except zmq.ZMQError as error:
        raise SinkError(
            f"cannot subscribe to {address!r}: {error.strerror}; expected tcp://HOST:PORT, such as tcp://127.0.0.1:5571"
        ) from error


def _ask_for(reader: zmq.Socket[bytes], kinds: frozenset[Kind], camera: str | None) -> None:
    """Subscribe before there is a connection: all arrives at once, so that nothing is sent between two of them."""
    if camera is None:
        reader.subscribe(ROOT)
        return
    reader.subscribe(topic_of(camera, "session"))
    for kind in kinds:
        if kind != "session":
            reader.subscribe(topic_of(camera, kind))


def _receive(
    reader: zmq.Socket[bytes],
    address: str,
    kinds: frozenset[Kind],
    camera: str | None,
    timeout_s: float | None,
    max_age_ms: float | None,
    utc_ns: Callable[[], int],
    running: Callable[[], bool],
) -> Generator[Message, None, None]:
    ledger = _Ledger(frozenset(KINDS) if camera is None else kinds)
    clocks: dict[str, _SessionClock] = {}
    publishing: set[str] = set()
    heard = time.monotonic()
    wait_ms = POLL_MS if timeout_s is None else min(POLL_MS, round(timeout_s * 1e3) + 1)
    reader.setsockopt(zmq.RCVTIMEO, wait_ms)  # a poll before each message would cost as much as the message
    while running():
        try:
            parts = reader.recv_multipart()
        except zmq.Again:
            if timeout_s is not None and time.monotonic() - heard > timeout_s:
                raise SilenceError(
                    f"nothing from {address} for {timeout_s:g} s; is a session running and publishing there?"
                ) from None
            continue
        message = ledger.enter(decode(parts))
        heard = time.monotonic()
        session = str(message.header["session"])
        if message.kind == "session":
            if message.topic not in publishing and camera is None:
                for kind in kinds & set(PAYLOAD_KINDS):
                    reader.subscribe(topic_of(str(message.header["camera"]), kind))
            clocks[session] = _SessionClock.of(message.header)
        elif max_age_ms is not None and session in clocks:
            age_ns = utc_ns() - clocks[session].born_utc_ns(message.header)
            if age_ns > max_age_ms * 1e6:
                ledger.stale += 1
                continue
        if message.kind in kinds:
            yield message
        if message.kind == "session":
            publishing.add(message.topic)
            if message.header["state"] in ("ended", "failed"):
                publishing.discard(message.topic)
                if not publishing:
                    return
