"""Trial markers from other programs: real streams and sockets, real processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
import zmq

from sfam.capture.clock import SessionClock
from sfam.capture.lsl import load_lsl, monotonic_ahead_ns
from sfam.capture.lsl_markers import OWN_SOURCE, LslMarkers
from sfam.capture.marker import Marker
from sfam.capture.source import SourceError
from sfam.capture.zmq_markers import ZmqMarkers
from tests.lsl_lab import MarkerProgram, marker_program, require_lsl

PATIENCE_S = 60.0
SAME_MS = 50.0
"""Two readings of one clock in two processes, with room for a busy machine between them."""


def received(
    markers: LslMarkers | ZmqMarkers, send: Callable[[], object], until: Callable[[Marker], bool] = lambda marker: True
) -> Marker:
    """The first marker that arrives and is the one meant, while `send` is called again and again."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        send()
        for marker in markers.read(0.1):
            if until(marker):
                return marker
    raise AssertionError("no marker came")


@pytest.fixture
def lab() -> None:
    require_lsl()


@pytest.mark.usefixtures("lab")
def test_a_stream_that_appears_late_and_vanishes_is_taken_up_each_time() -> None:
    with LslMarkers("stimuli") as markers:
        assert markers.read(0.3) == []
        assert not markers.sources
        for life, source_id in enumerate(("stable", "stable", "another")):
            with marker_program("stimuli", source_id) as program:
                sent: list[int] = []

                def send(program: MarkerProgram = program, sent: list[int] = sent, life: int = life) -> None:
                    pushed_ns = program.send(json.dumps({"trial": life, "condition": "smile"}))
                    sent.extend([] if pushed_ns is None else [pushed_ns])

                def is_new(marker: Marker, life: int = life) -> bool:
                    return marker.trial == str(life)

                marker = received(markers, send, until=is_new)
                assert (marker.trial, marker.condition, marker.source) == (str(life), "smile", "lsl:stimuli")
                assert min(abs(marker.t_capture_ns - pushed_ns) for pushed_ns in sent) / 1e6 < SAME_MS
                assert markers.sources == ("stimuli",)
                program.kill()
            deadline = time.monotonic() + PATIENCE_S
            while markers.sources:
                markers.read(0.05)
                assert time.monotonic() < deadline, "that the stream vanished was not noticed"


@pytest.mark.usefixtures("lab")
def test_without_a_name_every_stream_but_our_own_is_read() -> None:
    with (
        LslMarkers() as markers,
        marker_program("sfam-demo-events", f"{OWN_SOURCE}here/demo/events") as own,
        marker_program("first", "a") as first,
        marker_program("second") as second,
    ):
        for program, name in ((first, "first"), (second, "second")):

            def is_its(marker: Marker, name: str = name) -> bool:
                return marker.source == f"lsl:{name}"

            def send(program: MarkerProgram = program) -> None:
                program.send("smile")

            assert received(markers, send, until=is_its).condition == "smile"
        assert markers.sources == ("first", "second")
        assert own.send("event") is None


@pytest.mark.usefixtures("lab")
def test_the_clock_of_lsl_is_measured_against_ours() -> None:
    ahead_ns = monotonic_ahead_ns(load_lsl().local_clock)
    assert abs(load_lsl().local_clock() * 1e9 + ahead_ns - time.monotonic_ns()) / 1e6 < SAME_MS


def test_the_reading_taken_fastest_decides() -> None:
    readings = iter([0, 100, 200, 210, 300, 900])
    assert monotonic_ahead_ns(lambda: 0.0, lambda: next(readings), readings=3) == 205


@pytest.fixture
def publisher() -> Iterator[tuple[zmq.Socket[bytes], str]]:
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        socket.setsockopt(zmq.LINGER, 0)
        yield socket, f"tcp://127.0.0.1:{port}"


CLOCK = SessionClock(5_000, 1_700_000_000_000_000_000)


def test_markers_come_over_zeromq_with_the_time_they_say(publisher: tuple[zmq.Socket[bytes], str]) -> None:
    socket, address = publisher
    with ZmqMarkers(address, CLOCK) as markers:
        before_ns = time.monotonic_ns()
        plain = received(markers, lambda: socket.send_string("smile"))
        assert plain.condition == "smile"
        assert before_ns <= plain.t_capture_ns <= time.monotonic_ns()
        assert markers.sources == (address,)
        for said in ({"t_monotonic_ns": 123}, {"t_utc_ns": 1_700_000_000_000_000_000 - 5_000 + 123}):
            text = json.dumps({"trial": 4, **said})
            marker = received(
                markers,
                lambda text=text: socket.send_multipart([b"markers", text.encode()]),  # type: ignore[misc]
                until=lambda marker: marker.trial == "4",
            )
            assert marker.t_capture_ns == 123


def test_what_is_no_text_harms_nothing(publisher: tuple[zmq.Socket[bytes], str]) -> None:
    socket, address = publisher
    with ZmqMarkers(address, CLOCK) as markers:
        marker = received(markers, lambda: socket.send(b"\xff\x00\xfe"))
        assert marker.source == f"zmq:{address}"


def bind_again(socket: zmq.Socket[bytes], address: str) -> None:
    """Bind where another socket has just been closed, which ZeroMQ does a little later."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.bind(address)
        except zmq.ZMQError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


def test_a_publisher_of_markers_may_come_late_and_again() -> None:
    with zmq.Context() as context:
        with context.socket(zmq.PUB) as socket:
            port = socket.bind_to_random_port("tcp://127.0.0.1")
        address = f"tcp://127.0.0.1:{port}"
        with ZmqMarkers(address, CLOCK) as markers:
            assert markers.read(0.05) == []
            for life in ("1", "2"):
                with context.socket(zmq.PUB) as socket:
                    socket.setsockopt(zmq.LINGER, 0)
                    bind_again(socket, address)
                    text = json.dumps({"trial": life})
                    marker = received(
                        markers,
                        lambda socket=socket, text=text: socket.send_string(text),  # type: ignore[misc]
                        until=lambda marker, life=life: marker.trial == life,  # type: ignore[misc]
                    )
                    assert marker.trial == life


def test_a_malformed_address_is_refused() -> None:
    with pytest.raises(SourceError, match="cannot read markers from 'nonsense'"):
        ZmqMarkers("nonsense", CLOCK)
