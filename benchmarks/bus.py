"""The bus under its promises: `python -m benchmarks.bus latency|churn|deaf|sinks`.

latency  what the bus adds from `publish` to a subscriber in another process, beside plain ZeroMQ sockets, in one run
churn    subscribers that come and go for so many subscriber-seconds beside one that stays
deaf     a live session with and without a subscriber that never reads: memory, drops and frames, in turns
sinks    a live session with and without every sink: drops and the analysis' latency, in turns
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from benchmarks.live_session import LiveSession
from benchmarks.soak import all_sinks
from sfam.capture.clock import SessionClock
from sfam.engine.events import Event, Moment
from sfam.sinks.publisher import Publisher
from sfam.sinks.session_info import SessionInfo
from sfam.sinks.subscriber import subscribe
from sfam.sinks.wire_fields import event_fields

CLASSES = ("negative", "positive", "surprise", "others", "neutral")
RATE_HZ = 90.0
STAYS_S = (0.2, 3.0)
SPAWN = multiprocessing.get_context("spawn")
JOINING_S = 300.0


def session_info() -> SessionInfo:
    return SessionInfo("bench", "bench", CLASSES, clock=SessionClock.start())


def an_event(number: int) -> dict[str, object]:
    moment = Moment(number, number * 33_333_333)
    return event_fields(
        Event(number, "micro", "confirmed", moment, moment, moment, "positive", (0.1, 0.6, 0.1, 0.1, 0.1), 0.9, 166.7),
        CLASSES,
    )


def heard(address: str, to_parent: Connection) -> None:
    """Subscriber of a publisher: arrival and number of each event, until the session ends."""
    found: list[tuple[int, int]] = []
    lost, joined = 0, False
    for message in subscribe(address, kinds=("session", "event")):
        if message.kind == "event":
            found.append((message.header["id"], time.monotonic_ns()))
        elif not joined:
            to_parent.send("joined")
            joined = True
        lost = message.lost
    to_parent.send((found, lost))


def heard_plainly(address: str, to_parent: Connection) -> None:
    """The same with nothing of ours."""
    found = []
    with zmq.Context() as context, context.socket(zmq.SUB) as reader:
        reader.connect(address)
        reader.subscribe("")
        to_parent.send("joined")
        while True:
            header = json.loads(reader.recv_multipart()[1])
            if header["id"] is None:
                break
            if header["id"] >= 0:
                found.append((header["id"], time.monotonic_ns()))
    to_parent.send((found, 0))


def start(target: Any, address: str) -> tuple[Any, Connection]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(address, theirs))
    process.start()
    assert ours.poll(JOINING_S)
    ours.recv()
    return process, ours


def milliseconds(sent: dict[int, int], found: list[tuple[int, int]]) -> dict[str, float]:
    took = np.array([arrived - sent[number] for number, arrived in found]) / 1e6
    p50, p99, worst = np.percentile(took, (50, 99, 100))
    return {"n": len(took), "p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "max_ms": round(worst, 3)}


def latency(seconds: float) -> dict[str, Any]:
    ours: dict[int, int] = {}
    plain: dict[int, int] = {}
    with (
        Publisher("tcp://127.0.0.1:*", session_info()) as publisher,
        zmq.Context() as context,
        context.socket(zmq.PUB) as socket,
    ):
        socket.setsockopt(zmq.LINGER, 1000)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        process, pipe = start(heard, publisher.address)
        other, other_pipe = start(heard_plainly, f"tcp://127.0.0.1:{port}")
        for _ in range(50):  # until the plain one has joined too
            socket.send_multipart([b"event", json.dumps({"id": -1}).encode()])
            time.sleep(0.02)
        due = time.monotonic()
        for number in range(round(seconds * RATE_HZ)):
            due += 1 / RATE_HZ
            time.sleep(max(0.0, due - time.monotonic()))
            fields = an_event(number)
            ours[number] = time.monotonic_ns()
            publisher.publish("event", fields)
            time.sleep(0.5 / RATE_HZ)
            plain[number] = time.monotonic_ns()
            socket.send_multipart([b"event", json.dumps(fields).encode()])
        socket.send_multipart([b"event", json.dumps({"id": None}).encode()])
        publisher.close()
        (found, lost), (found_plainly, _) = pipe.recv(), other_pipe.recv()
    process.join()
    other.join()
    bus, bare = milliseconds(ours, found), milliseconds(plain, found_plainly)
    ratios = {name: round(bus[name] / bare[name], 2) for name in ("p50_ms", "p99_ms")}
    return {"rate_hz": RATE_HZ, "bus": bus, "plain_zmq": bare, "ratio": ratios, "lost": lost}


def come_and_go(address: str, subscriber_seconds: float, seed: int, to_parent: Connection) -> None:
    """Join for a random time, again and again; every third one asks for flow as well, every fifth reads nothing."""
    chance, spent, joins = random.Random(seed), 0.0, 0
    to_parent.send("joined")
    with zmq.Context() as context:
        while spent < subscriber_seconds:
            stay = min(chance.uniform(*STAYS_S), max(subscriber_seconds - spent, 0.05))
            with context.socket(zmq.SUB) as reader:
                reader.setsockopt(zmq.LINGER, 0)
                reader.connect(address)
                reader.subscribe("sfam/")
                if joins % 3 == 0:
                    reader.subscribe("sfam/bench/flow")
                until = time.monotonic() + stay
                while (left := until - time.monotonic()) > 0:
                    if joins % 5 == 0:
                        time.sleep(left)
                    elif reader.poll(round(left * 1e3) + 1):
                        reader.recv_multipart()
            spent, joins = spent + stay, joins + 1
    to_parent.send(joins)


def churn(subscriber_seconds: float, visitors: int = 10) -> dict[str, Any]:
    with Publisher("tcp://127.0.0.1:*", session_info()) as publisher:
        process, pipe = start(heard, publisher.address)
        guests = []
        for seed in range(visitors):
            ours, theirs = SPAWN.Pipe()
            share = subscriber_seconds / visitors
            guest = SPAWN.Process(target=come_and_go, args=(publisher.address, share, seed, theirs))
            guest.start()
            guests.append((guest, ours))
        for _, ours in guests:
            assert ours.poll(JOINING_S)
            ours.recv()
        sent = 0
        while any(guest.is_alive() for guest, _ in guests):
            publisher.publish("event", an_event(sent))
            sent += 1
            time.sleep(1 / RATE_HZ)
        publisher.close()
        found, lost = pipe.recv()
        joins = sum(ours.recv() for _, ours in guests)
    process.join()
    complete = [number for number, _ in found] == list(range(sent))
    return {
        "subscriber_seconds": subscriber_seconds,
        "joins": joins,
        "sent": sent,
        "heard": len(found),
        "lost": lost,
        "every_event_heard": complete,
    }


def live(seconds: float, folder: Path, options: tuple[str, ...], deaf: bool = False) -> dict[str, Any]:
    """A live session; `deaf` = somebody subscribes to everything and never reads."""
    session = LiveSession(folder, ("--duration", f"{seconds:g}", "-q", *options))
    with zmq.Context() as context, context.socket(zmq.SUB) as reader:
        reader.setsockopt(zmq.LINGER, 0)
        reader.setsockopt(zmq.RCVHWM, 1)
        if deaf:
            reader.connect(session.address)
            for topic in ("sfam/", "sfam/demo/frame", "sfam/demo/flow"):
                reader.subscribe(topic)
        session.wait_rows(90)
        began = session.memory_bytes()["analysis"]
        peak, halfway, at = began, began, time.monotonic()
        while session.running:
            peak = max(peak, session.memory_bytes().get("analysis", 0))
            if time.monotonic() - at < seconds / 2:
                halfway = peak
            time.sleep(0.5)
        session.end()
    totals = json.loads((folder / "session.json").read_text())["counters"]
    return {
        "analysed": totals["analysed"],
        "dropped": totals["dropped"],
        "latency_p99_ms": round(totals["latency_us"]["total"]["p99"] / 1e3, 2),
        "analysis_mb": {"begin": began // 2**20, "halfway": halfway // 2**20, "peak": peak // 2**20},
    }


def deaf(seconds: float) -> dict[str, Any]:
    """At tier full, so that pictures pile up too."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            name: live(seconds, Path(folder) / name, ("--privacy", "full"), name == "deaf")
            for name in ("alone", "deaf")
        }
    return {"seconds": seconds, **runs}


def sinks(seconds: float, turns: int = 3) -> dict[str, Any]:
    """Off and on in turns, so that what else runs on the machine hits both alike."""
    found: dict[str, list[dict[str, Any]]] = {"off": [], "on": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(turns):
            place = Path(folder) / str(turn)
            place.mkdir()
            found["off"].append(live(seconds, place / "off", ("--privacy", "full")))
            found["on"].append(live(seconds, place / "on", ("--privacy", "full", *all_sinks(place))))
    p99 = {name: float(np.median([run["latency_p99_ms"] for run in runs])) for name, runs in found.items()}
    return {"seconds": seconds, "p99_ms": p99, "ratio": round(p99["on"] / p99["off"], 3), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("latency", "churn", "deaf", "sinks"))
    parser.add_argument("--seconds", type=float, help="latency 60, churn 1000 subscriber-seconds, deaf 600, sinks 60")
    asked = parser.parse_args()
    runs: dict[str, tuple[Callable[[float], dict[str, Any]], float]] = {
        "latency": (latency, 60.0),
        "churn": (churn, 1000.0),
        "deaf": (deaf, 600.0),
        "sinks": (sinks, 60.0),
    }
    run, usual_s = runs[asked.what]
    print(json.dumps(run(asked.seconds or usual_s), indent=2))


if __name__ == "__main__":
    main()
