"""Several cameras on one address: topics of their own, one greeting each, and an end when the last one ends."""

from __future__ import annotations

import threading

import pytest
import zmq

from sfam.sinks.publisher import Publisher
from sfam.sinks.shared_bus import SharedBus
from sfam.sinks.sink_error import SinkError
from sfam.sinks.subscriber import subscribe
from sfam.sinks.wire import Message, Stamps
from sfam.sinks.wire_fields import score_fields
from tests.sinks.session_parts import ANY_PORT, CLASSES, frame_result, session_info
from tests.sinks.test_publisher import reader_of, received


def opened(bus: SharedBus, camera: str) -> Publisher:
    return Publisher(bus.socket.address, session_info(camera=camera), bus=bus)


def test_a_newcomer_is_greeted_for_each_camera_that_has_begun() -> None:
    bus = SharedBus(ANY_PORT, ("left", "right", "late"))
    with opened(bus, "left") as left, opened(bus, "right"), zmq.Context() as context:
        reader = reader_of(context, left.address, "sfam/")
        assert [received(reader).topic for _ in range(2)] == ["sfam/left/session", "sfam/right/session"]
        with opened(bus, "late"):
            assert received(reader).topic == "sfam/late/session"
            left.publish("score", score_fields(frame_result(8), CLASSES), Stamps(8))
            assert received(reader).topic == "sfam/left/score"
        assert received(reader).header["state"] == "ended"
        reader.close()


def test_whoever_wants_one_camera_hears_nothing_of_the_other() -> None:
    bus = SharedBus(ANY_PORT, ("left", "right"))
    with opened(bus, "left") as left, opened(bus, "right") as right, zmq.Context() as context:
        reader = reader_of(context, left.address, "sfam/right/session", "sfam/right/score")
        assert received(reader).topic == "sfam/right/session"
        for publisher in (left, right):
            publisher.publish("score", score_fields(frame_result(8), CLASSES), Stamps(8))
        assert received(reader).topic == "sfam/right/score"
        reader.close()


def test_an_iteration_ends_with_the_last_camera() -> None:
    bus = SharedBus(ANY_PORT, ("left", "right"))
    left, right = opened(bus, "left"), opened(bus, "right")
    heard: list[Message] = []
    both = threading.Event()

    def listen() -> None:
        for message in subscribe(left.address, ("session", "score"), timeout_s=60):
            heard.append(message)
            if {one.topic for one in heard} >= {"sfam/left/session", "sfam/right/session"}:
                both.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert both.wait(60)
    left.close()
    right.publish("score", score_fields(frame_result(8), CLASSES), Stamps(8))
    right.close()
    listener.join(60)
    assert not listener.is_alive()
    assert [one.topic for one in heard if one.header.get("state") == "ended"] == [
        "sfam/left/session",
        "sfam/right/session",
    ]
    assert heard[-2].topic == "sfam/right/score"


def test_a_camera_that_was_not_named_is_refused_and_a_closed_bus_frees_its_address() -> None:
    bus = SharedBus(ANY_PORT, ("left", "right"))
    with pytest.raises(SinkError, match="'middle' cannot publish on a bus made for left, right"):
        opened(bus, "middle")
    address = bus.socket.address
    for name in ("left", "right", "right"):
        bus.leave(name)
    with Publisher(address, session_info()):
        pass
