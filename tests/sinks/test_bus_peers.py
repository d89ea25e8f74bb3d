"""Subscribers that ask twice, end what they never began, speak an old protocol, or talk nonsense."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import zmq

from sfam.sinks.publisher import Publisher
from sfam.sinks.wire_fields import event_fields
from tests.sinks.session_parts import ANY_PORT, CLASSES, event, session_info
from tests.sinks.test_publisher import reader_of, received
from tests.sinks.waiting import until

EVENT, FRAME = b"sfam/demo/event", b"sfam/demo/frame"
SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
GREETINGS = {
    3: SIGNATURE + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32) + bytes([4, len(READY)]) + READY,
    2: SIGNATURE + b"\x01\x02\x00\x00",
}


class RawPeer:
    """A subscriber that sends what it likes: `+topic` and `-topic`, as often as it likes."""

    def __init__(self, address: str, version: int) -> None:
        self._link = socket.create_connection(("127.0.0.1", urlsplit(address).port or 0), timeout=10)
        self._link.sendall(GREETINGS[version])
        if version == 3:  # whoever goes on before both are ready is cut off
            assert self.heard(b"XPUB")

    def subscribe(self, topic: bytes) -> None:
        self.send(b"\x01" + topic)

    def unsubscribe(self, topic: bytes) -> None:
        self.send(b"\x00" + topic)

    def send(self, body: bytes) -> None:
        self._link.sendall(bytes([0, len(body)]) + body)

    def heard(self, topic: bytes) -> bool:
        """Wait for a message of this topic."""
        data = b""
        while topic not in data:
            more = self._link.recv(65536)
            if not more:
                return False
            data += more
        return True

    def close(self) -> None:
        self._link.close()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(ANY_PORT, session_info()) as opened:
        yield opened


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as opened:
        yield opened


def wait_for_the_session(peer: RawPeer) -> None:
    """All that the peer has asked for before has been taken now."""
    peer.subscribe(b"sfam/demo/session")
    assert peer.heard(b"sfam/demo/session")


def test_who_subscribes_twice_and_goes_wants_nothing_any_more(
    publisher: Publisher, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    twice = reader_of(context, publisher.address, FRAME.decode(), FRAME.decode(), "sfam/", "sfam/")
    assert received(twice).kind == "session"
    until(lambda: publisher.wants("frame"), "the subscription", 10)
    twice.close()
    until(lambda: not publisher.wants("frame") and not publisher.wants("event"), "its end", 10)


def surplus(peer: RawPeer) -> None:
    for _ in range(5):
        peer.unsubscribe(EVENT)


def twice_ended(peer: RawPeer) -> None:
    peer.subscribe(EVENT)
    surplus(peer)


def nonsense(peer: RawPeer) -> None:
    for body in [b"hello", b"", b"\x00"] * 5:
        peer.send(body)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("harm", [surplus, twice_ended, nonsense])
def test_nobody_can_end_what_another_one_subscribes_to(
    publisher: Publisher, context: zmq.Context[zmq.Socket[bytes]], harm: Callable[[RawPeer], None], version: int
) -> None:
    with reader_of(context, publisher.address, EVENT.decode()) as stable:
        until(lambda: publisher.wants("event"), "the stable subscriber", 10)
        with closing(RawPeer(publisher.address, version)) as harmful:
            harm(harmful)
            if harm is not nonsense:  # ZeroMQ hands out what follows nonsense as if nobody had sent it
                wait_for_the_session(harmful)
            for number in range(20):
                publisher.publish("event", event_fields(event(number), CLASSES))
                assert received(stable).header["id"] == number
                time.sleep(0.01)
        until(lambda: version == 2 or not publisher.wants("session"), "the end of the harmful one", 10)
        publisher.publish("event", event_fields(event(20), CLASSES))
        assert received(stable).header["id"] == 20


def test_what_an_old_subscriber_wants_is_sent_though_another_old_one_goes(publisher: Publisher) -> None:
    with closing(RawPeer(publisher.address, 2)) as stable:
        for _ in range(2):
            with closing(RawPeer(publisher.address, 2)) as other:
                for peer in (stable, other):
                    peer.subscribe(EVENT)
                    wait_for_the_session(peer)
        with closing(RawPeer(publisher.address, 3)) as later:
            wait_for_the_session(later)
        publisher.publish("event", event_fields(event(0), CLASSES))
        assert stable.heard(EVENT)


def test_a_connection_in_the_place_of_another_is_one_of_its_own(
    publisher: Publisher, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    for number in range(50):  # the system gives each the number of the one before
        with closing(RawPeer(publisher.address, 3)) as peer:
            peer.subscribe(FRAME)
            peer.subscribe(EVENT)
            wait_for_the_session(peer)
            assert publisher.wants("frame")
            publisher.publish("event", event_fields(event(number), CLASSES))
            assert peer.heard(EVENT)
    until(lambda: not publisher.wants("frame") and not publisher.wants("event"), "the end of the last one", 10)


def test_who_only_comes_and_goes_leaves_nothing_behind(publisher: Publisher) -> None:
    for _ in range(100):
        socket.create_connection(("127.0.0.1", urlsplit(publisher.address).port or 0), timeout=10).close()
    time.sleep(0.2)
    peers = publisher._socket._peers

    def forgotten() -> bool:
        with publisher._socket.lock:
            return len(peers._held) == 1 and not peers._monitor.poll(0)

    until(forgotten, "the end of those who asked for nothing", 10)
