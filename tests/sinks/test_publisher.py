from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import zmq

from sfam.sinks.blind import without_result
from sfam.sinks.bus_address import require_private
from sfam.sinks.publisher import WAITING_PAYLOADS, NullPublisher, Publisher, open_publisher
from sfam.sinks.sink_error import SinkError
from sfam.sinks.status import Status
from sfam.sinks.wire import KINDS, Kind, Message, Stamps, WireError, decode
from sfam.sinks.wire_fields import (
    event_fields,
    face_fields,
    flow_fields,
    flow_payload,
    frame_fields,
    frame_payload,
    score_fields,
    status_fields,
)
from tests.sinks.schemas import require_valid
from tests.sinks.session_parts import (
    ANY_PORT,
    CLASSES,
    event,
    face_track,
    frame_result,
    rgbd_frame,
    scene_flow,
    session_info,
)

PLAIN_SUBSCRIBER = """
import json, sys, zmq
reader = zmq.Context().socket(zmq.SUB)
reader.connect(sys.argv[1])
reader.subscribe("sfam/")
while True:
    topic, header = reader.recv_multipart()[:2]
    print(header.decode(), flush=True)
    header = json.loads(header)
    if header["schema"].startswith("sfam.session/") and header["state"] == "ended":
        break
"""


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(ANY_PORT, session_info()) as opened:
        yield opened


def reader_of(context: zmq.Context[zmq.Socket[bytes]], address: str, *topics: str) -> zmq.Socket[bytes]:
    reader = context.socket(zmq.SUB)
    reader.setsockopt(zmq.LINGER, 0)
    reader.connect(address)
    for topic in topics:
        reader.subscribe(topic)
    return reader


def received(reader: zmq.Socket[bytes], timeout_ms: int = 5000) -> Message:
    assert reader.poll(timeout_ms), "nothing came"
    return decode(reader.recv_multipart())


def wait_until_wanted(publisher: Publisher, kind: Kind) -> None:
    deadline = time.monotonic() + 60
    while not publisher.wants(kind):
        assert time.monotonic() < deadline, f"nobody wants {kind}"
        time.sleep(0.002)


def wait_until_stopped(publisher: Publisher) -> None:
    deadline = time.monotonic() + 5
    while publisher.running() and time.monotonic() < deadline:
        time.sleep(0.005)


def publish_scores(publisher: Publisher, first: int, last: int) -> None:
    for number in range(first, last):
        publisher.publish("score", score_fields(frame_result(number), CLASSES), Stamps(number))


def test_every_late_joiner_gets_the_session_first(publisher: Publisher) -> None:
    publisher.session("running", {"frames": 1})
    number = 0
    with zmq.Context() as context:
        stable = reader_of(context, publisher.address, "sfam/demo/score")
        wait_until_wanted(publisher, "score")
        for _ in range(60):
            with reader_of(context, publisher.address, "sfam/") as late:
                deadline = time.monotonic() + 5
                while not late.poll(1):
                    publish_scores(publisher, number, number + 5)
                    number += 5
                    assert time.monotonic() < deadline
                first = decode(late.recv_multipart())
                assert (first.kind, first.header["state"], first.header["seq"]) == ("session", "running", 1)
        seqs = [received(stable).header["seq"] for _ in range(number)]
        stable.close()
    assert seqs == list(range(number))


def test_each_topic_counts_for_itself_from_0(publisher: Publisher) -> None:
    with zmq.Context() as context, reader_of(context, publisher.address, "") as reader:
        wait_until_wanted(publisher, "event")
        publish_scores(publisher, 0, 3)
        publisher.publish("event", event_fields(event(), CLASSES))
        publish_scores(publisher, 3, 5)
        found = [received(reader) for _ in range(7)]
    assert [(message.kind, message.header["seq"]) for message in found] == [
        ("session", 0),
        ("score", 0),
        ("score", 1),
        ("score", 2),
        ("event", 0),
        ("score", 3),
        ("score", 4),
    ]


def test_all_kinds_arrive_valid_against_their_schemas(publisher: Publisher) -> None:
    frame, flow = rgbd_frame(20), scene_flow(20)
    with zmq.Context() as context:
        topics = [f"sfam/demo/{kind}" for kind in KINDS]
        with reader_of(context, publisher.address, *topics) as reader:
            wait_until_wanted(publisher, "flow")
            stamps = Stamps.of(frame, {"flow": 5000.0, "engine": float("nan")})
            publisher.publish("score", score_fields(frame_result(20), CLASSES), stamps)
            publisher.publish("event", event_fields(event(), CLASSES), stamps)
            publisher.publish("face", face_fields(face_track(), 20), stamps)
            publisher.publish("status", status_fields(Status(20, 30.0, 21, 20)))
            publisher.publish("frame", frame_fields(frame), stamps, lambda: frame_payload(frame.color))
            publisher.publish("flow", flow_fields(flow), stamps, flow_payload(flow))
            publisher.publish("analyzer", {"frame": 20, "name": "grey", "values": {"mean": 0.5}}, stamps)
            found = [received(reader) for _ in KINDS]
    assert {message.kind for message in found} == set(KINDS)
    for message in found:
        require_valid(message.header, message.kind)
        assert (message.payload is not None) == (message.kind in ("frame", "flow"))


def test_a_prefix_gets_everything_but_frame_and_flow(publisher: Publisher) -> None:
    frame = rgbd_frame(1)
    with zmq.Context() as context:
        everything = reader_of(context, publisher.address, "")
        wait_until_wanted(publisher, "event")
        assert not publisher.wants("frame")
        viewer = reader_of(context, publisher.address, "sfam/demo/frame")
        wait_until_wanted(publisher, "frame")
        assert not publisher.wants("flow")
        publisher.publish("frame", frame_fields(frame), Stamps(), frame_payload(frame.color))
        publisher.publish("event", event_fields(event(), CLASSES))
        assert [received(everything).kind for _ in range(2)] == ["session", "event"]
        assert received(viewer).kind == "frame"
        viewer.close()
        everything.close()
        deadline = time.monotonic() + 5
        while publisher.wants("frame") or publisher.wants("event"):
            assert time.monotonic() < deadline, "leaving was not noticed"
            time.sleep(0.002)


def test_what_the_privacy_tier_holds_back_is_never_wanted() -> None:
    with (
        Publisher(ANY_PORT, session_info(), payload_kinds=("flow",)) as publisher,
        zmq.Context() as context,
        reader_of(context, publisher.address, "sfam/demo/frame", "sfam/demo/flow"),
    ):
        wait_until_wanted(publisher, "flow")
        assert not publisher.wants("frame")


def test_payloads_are_rate_limited() -> None:
    now = [0]
    with Publisher(ANY_PORT, session_info(), payload_rate_hz=10, clock_ns=lambda: now[0]) as publisher:
        assert not publisher.due("frame")
        with zmq.Context() as context, reader_of(context, publisher.address, "sfam/demo/frame"):
            wait_until_wanted(publisher, "frame")
            turns = []
            for millisecond in range(0, 1000, 33):
                now[0] = millisecond * 1_000_000
                turns.append(publisher.due("frame"))
    assert sum(turns) == pytest.approx(10, abs=1)


@pytest.mark.parametrize(("fps", "sent"), [(30, 15), (15, 15), (14.9, 15), (20, 15), (60, 15), (10, 10)])
def test_pictures_come_as_often_as_asked_for_whatever_the_rate_of_the_camera(fps: float, sent: int) -> None:
    jitter = np.random.default_rng(1)
    now = [0]
    with (
        Publisher(ANY_PORT, session_info(), payload_rate_hz=15, clock_ns=lambda: now[0]) as publisher,
        zmq.Context() as context,
        reader_of(context, publisher.address, "sfam/demo/frame"),
    ):
        wait_until_wanted(publisher, "frame")
        turns = []
        for number in range(round(20 * fps)):
            now[0] = round((number / fps + jitter.uniform(0, 0.006)) * 1e9)
            turns.append(publisher.due("frame"))
    assert sum(turns) / 20 == pytest.approx(sent, abs=0.15)


def test_missed_turns_are_not_made_up_for() -> None:
    now = [0]
    with (
        Publisher(ANY_PORT, session_info(), payload_rate_hz=10, clock_ns=lambda: now[0]) as publisher,
        zmq.Context() as context,
        reader_of(context, publisher.address, "sfam/demo/frame"),
    ):
        wait_until_wanted(publisher, "frame")
        assert publisher.due("frame")
        turns = []
        for millisecond in range(60_000, 60_200, 10):
            now[0] = millisecond * 1_000_000
            turns.append(publisher.due("frame"))
    assert sum(turns) <= 3


def test_a_publisher_of_a_blind_session_refuses_results() -> None:
    with Publisher(ANY_PORT, dataclasses.replace(session_info(), blind=True)) as publisher:
        publisher.publish("score", score_fields(without_result(frame_result(6)), CLASSES))
        with pytest.raises(WireError, match="no score with results"):
            publisher.publish("score", score_fields(frame_result(6), CLASSES))
        with pytest.raises(WireError, match="no event with results"):
            publisher.publish("event", event_fields(event(), CLASSES))
        with pytest.raises(WireError, match="no flow with results"):
            publisher.publish("flow", flow_fields(scene_flow(9)), payload=flow_payload(scene_flow(9)))


@pytest.mark.slow  # lets many subscribers come and go for seconds
def test_a_stable_subscriber_loses_nothing_while_others_come_and_go(publisher: Publisher) -> None:
    leaving = threading.Event()
    joins: list[int] = []

    def come_and_go() -> None:
        with zmq.Context() as context:
            while not leaving.is_set():
                with reader_of(context, publisher.address, "sfam/", "sfam/demo/flow") as reader:
                    joins.append(received(reader).header["seq"])

    visitors = [threading.Thread(target=come_and_go, daemon=True) for _ in range(8)]
    with zmq.Context() as context:
        stable = reader_of(context, publisher.address, "sfam/demo/event")
        wait_until_wanted(publisher, "event")
        for visitor in visitors:
            visitor.start()
        for number in range(400):
            publisher.publish("event", event_fields(event(number), CLASSES))
            assert received(stable).header["id"] == number
            time.sleep(0.005)
        leaving.set()
        for visitor in visitors:
            visitor.join(timeout=10)
        stable.close()
    assert len(joins) > 100
    assert publisher.running()


@pytest.mark.slow  # needs enough traffic to fill every buffer between two processes
def test_a_subscriber_that_never_reads_costs_bounded_memory_and_no_time() -> None:
    info = session_info()
    with Publisher(ANY_PORT, info, high_water_mark=200) as publisher, zmq.Context() as context:
        stuck = reader_of(context, publisher.address, "sfam/demo/flow", "sfam/demo/score")
        stable = reader_of(context, publisher.address, "sfam/demo/score")
        wait_until_wanted(publisher, "flow")
        flow = scene_flow(20)
        fields, payload = flow_fields(flow), flow_payload(flow)
        process = psutil.Process()
        longest = 0.0
        resident = []
        for number in range(3000):
            before = time.perf_counter()
            publisher.publish("flow", fields, Stamps(), payload)
            publish_scores(publisher, number, number + 1)
            longest = max(longest, time.perf_counter() - before)
            assert received(stable).header["seq"] == number
            sent_flows = number + 1 - publisher.lost_messages().get("flow", 0)
            if number % 500 == 499:
                resident.append(process.memory_info().rss)
        stuck.setsockopt(zmq.LINGER, 0)
        kept = 0
        while stuck.poll(200):
            stuck.recv_multipart()
            kept += 1
        stuck.close()
        stable.close()
        assert longest < 0.5
        assert resident[-1] - resident[1] < 20 * 2**20
        assert 200 <= kept < sent_flows


def test_losses_of_a_slow_subscriber_show_as_gaps() -> None:
    with Publisher(ANY_PORT, session_info(), high_water_mark=20) as publisher, zmq.Context() as context:
        slow = context.socket(zmq.SUB)
        slow.setsockopt(zmq.RCVHWM, 5)
        slow.setsockopt(zmq.RCVBUF, 4096)
        slow.connect(publisher.address)
        slow.subscribe("sfam/demo/flow")
        wait_until_wanted(publisher, "flow")
        flow = scene_flow(20)
        for _ in range(400):
            publisher.publish("flow", flow_fields(flow), Stamps(), flow_payload(flow))
            time.sleep(0.0005)
        publisher.publish("flow", flow_fields(flow), Stamps(), flow_payload(flow))
        seqs = []
        while slow.poll(300):
            seqs.append(decode(slow.recv_multipart()).header["seq"])
        slow.close()
        assert seqs == sorted(set(seqs))
        assert len(seqs) < 401


def test_payloads_that_cannot_be_encoded_in_time_are_lost_and_counted() -> None:
    jpeg = frame_payload(rgbd_frame(0).color)
    encoding = threading.Event()

    def slow_payload() -> bytes:
        assert encoding.wait(10)
        return jpeg

    with (
        Publisher(ANY_PORT, session_info()) as publisher,
        zmq.Context() as context,
        reader_of(context, publisher.address, "sfam/demo/frame", "sfam/demo/score") as reader,
    ):
        wait_until_wanted(publisher, "score")
        for number in range(30):
            publisher.publish("frame", frame_fields(rgbd_frame(number)), Stamps(), slow_payload)
            publish_scores(publisher, number, number + 1)
        assert 30 - WAITING_PAYLOADS - 1 <= publisher.lost_messages()["frame"] <= 30 - WAITING_PAYLOADS
        assert [received(reader).header["seq"] for _ in range(30)] == list(range(30))
        encoding.set()
        seqs = [received(reader).header["seq"] for _ in range(30 - publisher.lost_messages()["frame"])]
        assert seqs == sorted(set(seqs))
        publisher.publish("frame", frame_fields(rgbd_frame(30)), Stamps(), jpeg)
        assert received(reader).header["seq"] == 30


def test_a_taken_port_is_named_with_what_to_do(publisher: Publisher) -> None:
    port = publisher.address.rpartition(":")[2]
    with pytest.raises(SinkError, match=rf"127\.0\.0\.1:{port}: port {port} is in use.*--publish"):
        Publisher(publisher.address, session_info())


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:5571", "tcp://*:5571", "tcp://192.168.1.4:5571", "tcp://[::]:5571"])
def test_an_address_open_to_others_is_refused(address: str) -> None:
    with pytest.raises(SinkError, match="other machines could read it"):
        require_private(address, insecure=False)
    require_private(address, insecure=True)


@pytest.mark.parametrize("address", ["", "5571", "udp://127.0.0.1:5571", "tcp://127.0.0.1", "tcp://127.0.0.1:99999999"])
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(SinkError, match="expected tcp://HOST:PORT"):
        Publisher(address, session_info())


@pytest.mark.parametrize("address", ["tcp://localhost:*", "tcp://[::1]:*"])
def test_every_loopback_address_is_taken(address: str) -> None:
    with Publisher(address, session_info()) as publisher:
        assert publisher.address.startswith("tcp://")


@pytest.mark.skipif(sys.platform == "win32", reason="has no files of sockets")
def test_a_socket_file_is_there_as_long_as_the_publisher_is(tmp_path: Path) -> None:
    with Publisher(f"ipc://{tmp_path / 'bus'}", session_info()) as publisher:
        assert publisher.address == f"ipc://{tmp_path / 'bus'}"
        assert (tmp_path / "bus").is_socket()
    assert list(tmp_path.iterdir()) == []


def test_none_publishes_nothing() -> None:
    with open_publisher("none", session_info()) as publisher:
        assert isinstance(publisher, NullPublisher)
        publisher.publish("event", event_fields(event(), CLASSES))
        assert not any(publisher.wants(kind) for kind in KINDS)


def test_a_message_that_cannot_be_written_is_refused_at_once(publisher: Publisher) -> None:
    with zmq.Context() as context, reader_of(context, publisher.address, "sfam/") as reader:
        wait_until_wanted(publisher, "event")
        with pytest.raises(WireError, match="cannot hold object"):
            publisher.publish("event", {"what": object()})
        publisher.publish("event", event_fields(event(), CLASSES))
        assert [received(reader).kind for _ in range(2)] == ["session", "event"]


@pytest.mark.parametrize(("kind", "payload"), [("frame", None), ("event", b"jpeg")])
def test_a_payload_stands_where_it_belongs(publisher: Publisher, kind: Kind, payload: bytes | None) -> None:
    with pytest.raises(WireError, match="payload"):
        publisher.publish(kind, {}, Stamps(), payload)


def test_a_payload_that_cannot_be_made_stops_the_publisher_aloud(publisher: Publisher) -> None:
    def broken_payload() -> bytes:
        raise ValueError("no picture")

    publisher.publish("frame", frame_fields(rgbd_frame(0)), Stamps(), broken_payload)
    wait_until_stopped(publisher)
    with pytest.raises(SinkError, match="has stopped: no picture"):
        publisher.publish("event", event_fields(event(), CLASSES))


def test_closing_is_bounded_even_with_a_stuck_subscriber() -> None:
    with zmq.Context() as context:
        publisher = Publisher(ANY_PORT, session_info())
        stuck = context.socket(zmq.SUB)
        stuck.setsockopt(zmq.LINGER, 0)
        stuck.setsockopt(zmq.RCVHWM, 1)
        stuck.connect(publisher.address)
        stuck.subscribe("sfam/demo/flow")
        wait_until_wanted(publisher, "flow")
        flow = scene_flow(20)
        for _ in range(200):
            publisher.publish("flow", flow_fields(flow), Stamps(), flow_payload(flow))
        before = time.monotonic()
        publisher.close()
        assert time.monotonic() - before < 3.0
        with pytest.raises(SinkError, match="closed"):
            publisher.publish("event", {})
        publisher.close()
        stuck.close()


def test_a_program_without_our_package_reads_everything_until_the_end() -> None:
    with Publisher(ANY_PORT, session_info()) as publisher:
        command = [sys.executable, "-I", "-c", PLAIN_SUBSCRIBER, publisher.address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as plain:
            wait_until_wanted(publisher, "event")
            publish_scores(publisher, 0, 50)
            publisher.publish("event", event_fields(event(), CLASSES))
            publisher.close({"frames": 50})
            output, _ = plain.communicate(timeout=20)
    headers = [json.loads(line) for line in output.splitlines()]
    assert [header["schema"] for header in headers] == [
        "sfam.session/1",
        *["sfam.score/1"] * 50,
        "sfam.event/1",
        "sfam.session/1",
    ]
    assert (headers[-1]["state"], headers[-1]["counters"]) == ("ended", {"frames": 50})
    for header in headers:
        kind = header["schema"].removeprefix("sfam.").removesuffix("/1")
        require_valid(header, kind)


def test_a_publisher_in_the_place_of_another_numbers_on_so_that_nothing_looks_like_a_repeat() -> None:
    with Publisher(ANY_PORT, session_info()) as first:
        publish_scores(first, 0, 5)
        assert first.next_seq() == {**dict.fromkeys(KINDS, 0), "session": 1, "score": 5}
        so_far = {kind: seq + 10 for kind, seq in first.next_seq().items()}
    with Publisher(ANY_PORT, session_info(), first_seq=so_far) as second, zmq.Context() as context:
        reader = reader_of(context, second.address, "sfam/demo/session", "sfam/demo/score")
        greeting = received(reader).header
        assert greeting["seq"] == so_far["session"]
        assert greeting["first_seq"] == so_far
        assert greeting["next_seq"] == {**dict.fromkeys(greeting["next_seq"], 10), "score": 15}
        publish_scores(second, 8, 9)
        assert received(reader).header["seq"] == 15
        reader.close()
