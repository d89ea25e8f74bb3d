from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from sfam.sinks.publisher import Publisher
from sfam.sinks.sink_error import SilenceError, SinkError
from sfam.sinks.subscriber import subscribe
from sfam.sinks.wire import KINDS, Kind, Message, Stamps, WireError, decode, encode_header
from sfam.sinks.wire_fields import event_fields, frame_fields, frame_payload, score_fields
from tests.sinks.session_parts import ANY_PORT, CLASSES, event, frame_result, rgbd_frame, session_info
from tests.sinks.test_publisher import wait_until_wanted

ROOT = Path(__file__).resolve().parents[2]
ENDLESS_PUBLISHER = """
import sys, time
from sfam.sinks.publisher import Publisher
from sfam.sinks.wire_fields import event_fields
from tests.sinks.session_parts import CLASSES, event, session_info
publisher = Publisher(sys.argv[1], session_info("one"))
for number in range(3000):
    publisher.publish("event", event_fields(event(number), CLASSES))
    time.sleep(0.01)
"""


class Reader(threading.Thread):
    """Reads a subscription to its end."""

    def __init__(self, messages: Iterator[Message]) -> None:
        super().__init__(daemon=True)
        self.messages = messages
        self.found: list[Message] = []
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            for message in self.messages:
                self.found.append(message)
        except Exception as error:
            self.error = error

    def ended(self) -> list[Message]:
        self.join(timeout=10)
        assert not self.is_alive(), "the subscription did not end"
        if self.error is not None:
            raise self.error
        return self.found


@pytest.mark.parametrize("camera", [None, "demo"])
def test_events_come_until_the_session_ends(camera: str | None) -> None:
    with Publisher(ANY_PORT, session_info()) as publisher:
        reader = Reader(subscribe(publisher.address, camera=camera, timeout_s=10))
        wait_until_wanted(publisher, "event")
        for number in range(5):
            publisher.publish("event", event_fields(event(number), CLASSES))
            publisher.publish("score", score_fields(frame_result(number), CLASSES))
        publisher.close()
        found = reader.ended()
    assert [message.header["id"] for message in found] == [0, 1, 2, 3, 4]
    assert {(message.lost, message.repeat) for message in found} == {(0, False)}


def test_several_kinds_and_the_session_itself_can_be_asked_for() -> None:
    kinds: tuple[Kind, ...] = ("session", "score", "frame")
    frame = rgbd_frame(0)
    with Publisher(ANY_PORT, session_info()) as publisher:
        reader = Reader(subscribe(publisher.address, kinds, timeout_s=10))
        wait_until_wanted(publisher, "frame")
        publisher.publish("score", score_fields(frame_result(0), CLASSES), Stamps(0))
        publisher.publish("frame", frame_fields(frame), Stamps(), frame_payload(frame.color))
        publisher.close({"n": 1})
        found = reader.ended()
    assert [message.kind for message in found] == ["session", "score", "frame", "session"]
    assert found[2].payload is not None
    assert found[-1].header["counters"] == {"n": 1}


def test_a_gap_in_seq_counts_as_loss() -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as leaky:
        leaky.setsockopt(zmq.LINGER, 500)
        port = leaky.bind_to_random_port("tcp://127.0.0.1")
        reader = Reader(subscribe(f"tcp://127.0.0.1:{port}", ("score", "session"), timeout_s=10))
        leaky.recv()
        for seq in (5, 6, 10, 11, 25):
            fields = score_fields(frame_result(seq), CLASSES)
            leaky.send_multipart([b"sfam/demo/score", encode_header("score", "test", "demo", seq, Stamps(), 0, fields)])
        fields = session_info().fields("ended", {})
        leaky.send_multipart([b"sfam/demo/session", encode_header("session", "test", "demo", 3, Stamps(), 0, fields)])
        found = reader.ended()
    assert [(message.header["seq"], message.lost) for message in found] == [
        *((5, 0), (6, 0), (10, 3), (11, 3), (25, 16), (3, 16)),
    ]


@pytest.mark.parametrize("camera", [None, "demo"])
def test_losses_at_both_ends_of_a_topic_count_and_what_came_before_does_not(
    camera: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {("event", 0), ("score", 50), ("score", 51), ("score", 58), ("score", 59)}
    with Publisher(ANY_PORT, session_info()) as publisher:
        send = publisher._socket.send

        def leaky(parts: Sequence[bytes]) -> None:
            message = decode(parts)
            if (message.kind, message.header["seq"]) not in lost:
                send(parts)

        monkeypatch.setattr(publisher._socket, "send", leaky)
        for number in range(60):
            if number == 50:
                reader = Reader(subscribe(publisher.address, ("session", "score", "event"), camera, timeout_s=10))
                wait_until_wanted(publisher, "score")
            publisher.publish("score", score_fields(frame_result(number), CLASSES))
        publisher.publish("event", event_fields(event(0), CLASSES))
        publisher.close()
        found = reader.ended()
    assert [message.kind for message in found] == ["session", *["score"] * 6, "session"]
    assert [message.lost for message in found] == [0, *[2] * 6, 5]


def test_a_session_seen_before_is_marked_as_repeat() -> None:
    with Publisher(ANY_PORT, session_info()) as publisher, zmq.Context() as context:
        reader = Reader(subscribe(publisher.address, ("session", "frame"), timeout_s=10))
        wait_until_wanted(publisher, "frame")
        with context.socket(zmq.SUB) as second:
            second.connect(publisher.address)
            second.subscribe("sfam/")
            assert second.poll(5000)
        publisher.session("running", {})
        publisher.close()
        found = reader.ended()
    assert [message.header["state"] for message in found if not message.repeat] == ["started", "running", "ended"]


@pytest.mark.parametrize(
    ("live", "kept"),
    [(True, [(0, 0), (1, 0), (5, 3)]), (False, [(0, 0), (1, 0), (3, 1), (4, 1), (5, 1)])],
)
def test_stale_results_are_left_out_and_counted(live: bool, kept: list[tuple[int, int]]) -> None:
    """What is live counts from capture; a replay's capture lies in its file, so there publishing counts."""
    info = replace(session_info(), devices={"live": live})
    now = [0]
    offset_ns = info.clock.anchor_utc_ns - info.clock.anchor_monotonic_ns
    published_and_captured_ms_ago = [(0, 0), (40, 45), (60, 70), (10, 60), (0, 51), (20, None)]
    with Publisher(ANY_PORT, info, clock_ns=lambda: now[0]) as publisher:
        messages = subscribe(publisher.address, timeout_s=10, max_age_ms=50, utc_ns=lambda: offset_ns + 100_000_000)
        reader = Reader(messages)
        wait_until_wanted(publisher, "event")
        for number, (published, captured) in enumerate(published_and_captured_ms_ago):
            now[0] = (100 - published) * 1_000_000
            stamps = Stamps() if captured is None else Stamps((100 - captured) * 1_000_000)
            publisher.publish("event", event_fields(event(number), CLASSES), stamps)
        publisher.close()
        found = reader.ended()
    assert [(message.header["id"], message.stale) for message in found] == kept


def test_silence_ends_with_a_clear_error() -> None:
    with pytest.raises(SilenceError, match=r"nothing from tcp://127\.0\.0\.1:9 for 0\.2 s"):
        next(subscribe("tcp://127.0.0.1:9", timeout_s=0.2))


def test_a_malformed_address_is_refused() -> None:
    with pytest.raises(SinkError, match="expected tcp://HOST:PORT"):
        next(subscribe("nonsense"))


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    with pytest.raises(WireError, match="no such kind: events; choose from session, score, event"):
        next(subscribe("tcp://127.0.0.1:9", ("events",)))  # type: ignore[arg-type]


def test_somebody_elses_messages_are_refused() -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        port = stranger.bind_to_random_port("tcp://127.0.0.1")
        reader = Reader(subscribe(f"tcp://127.0.0.1:{port}", timeout_s=10))
        deadline = time.monotonic() + 5
        while reader.is_alive() and time.monotonic() < deadline:
            stranger.send_multipart([b"sfam/demo/event", b"hello"])
            time.sleep(0.01)
        with pytest.raises(WireError, match="no UTF-8 JSON"):
            reader.ended()


def test_a_publisher_that_was_killed_and_comes_back_is_found_again() -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    address = f"tcp://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-c", ENDLESS_PUBLISHER, address], cwd=ROOT) as first:
        messages = subscribe(address, timeout_s=20)
        assert next(messages).header["session"] == "one"
        first.kill()
    reader = Reader(messages)
    with Publisher(address, session_info("two")) as second:
        wait_until_wanted(second, "event")
        second.publish("event", event_fields(event(7), CLASSES))
        second.close()
    found = [message for message in reader.ended() if message.header["session"] == "two"]
    assert [(message.header["id"], message.lost) for message in found] == [(7, 0)]


def test_the_jump_in_numbers_of_a_publisher_in_the_place_of_a_dead_one_is_no_loss() -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    address = f"tcp://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-c", ENDLESS_PUBLISHER, address], cwd=ROOT) as first:
        messages = subscribe(address, timeout_s=20)
        assert next(messages).lost == 0
        first.kill()
    reader = Reader(messages)
    numbers: dict[str, int] = dict.fromkeys(KINDS, 50_000)
    with Publisher(address, session_info("one"), first_seq=numbers) as second:
        wait_until_wanted(second, "event")
        second.publish("event", event_fields(event(7), CLASSES))
        second.close()
    found = reader.ended()
    assert (found[-1].header["seq"], found[-1].header["id"]) == (50_000, 7)
    assert {message.lost for message in found} == {0}


def test_leaving_early_closes_the_connection() -> None:
    with Publisher(ANY_PORT, session_info()) as publisher:
        messages = subscribe(publisher.address, ("session",), timeout_s=5)
        assert next(messages).kind == "session"
        wait_until_wanted(publisher, "session")
        messages.close()
        deadline = time.monotonic() + 5
        while publisher.wants("session"):
            assert time.monotonic() < deadline
            time.sleep(0.005)
