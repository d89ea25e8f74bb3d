"""Results on Lab Streaming Layer: a real bus, the sink in a process of its own, real inlets."""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from sfam.capture.lsl_markers import OWN_SOURCE
from sfam.engine.events import Moment
from sfam.sinks.lsl_out import LslOutput, age_of, event_text, serve_lsl
from sfam.sinks.publisher import Publisher
from sfam.sinks.wire import Kind, Message, Stamps, decode, encode_header, topic_of
from sfam.sinks.wire_fields import event_fields, score_fields
from tests.lsl_lab import require_lsl
from tests.sinks.session_parts import ANY_PORT, CLASSES, PROBABILITIES, event, frame_result, session_info

PATIENCE_S = 60.0
CAMERA = "lsltest"
AGE_NS = 40_000_000


@pytest.fixture(autouse=True)
def lab() -> None:
    require_lsl()


@contextmanager
def sink_of(address: str) -> Iterator[Any]:
    """The sink in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=serve_lsl, args=(address,))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def inlet(name: str) -> Any:
    import pylsl

    streams = pylsl.resolve_byprop("name", name, 1, PATIENCE_S)
    assert streams, f"no stream {name}"
    found = pylsl.StreamInlet(streams[0], recover=False)
    found.open_stream(PATIENCE_S)
    return found


def pulled(found: Any, publish: Callable[[], None], wanted: int) -> tuple[list[list[Any]], list[float]]:
    """Samples and stamps; publishes until so many have come."""
    samples: list[list[Any]] = []
    stamps: list[float] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(samples) < wanted:
        publish()
        more, times = found.pull_chunk(timeout=0.05, max_samples=1000)
        samples += more or []
        stamps += times or []
        assert time.monotonic() < deadline, f"{len(samples)} of {wanted} samples came"
    return samples, stamps


def labels(found: Any) -> list[tuple[str, str, str]]:
    channel = found.info(PATIENCE_S).desc().child("channels").child("channel")
    listed = []
    while not channel.empty():
        listed.append(tuple(channel.child_value(name) for name in ("label", "unit", "type")))
        channel = channel.next_sibling("channel")
    return listed


def test_scores_and_events_arrive_in_another_program_with_the_time_of_their_frame() -> None:
    import pylsl

    info = dataclasses.replace(session_info(camera=CAMERA), devices={"fps": 30.0})
    number = 0
    with Publisher(ANY_PORT, info) as publisher, sink_of(publisher.address):
        scores, events = inlet(f"sfam-{CAMERA}-scores"), inlet(f"sfam-{CAMERA}-events")
        assert scores.info().nominal_srate() == 30.0
        assert scores.info().channel_format() == pylsl.cf_float32
        assert (events.info().type(), events.info().nominal_srate()) == ("Markers", pylsl.IRREGULAR_RATE)
        assert scores.info().source_id().startswith(OWN_SOURCE)
        assert scores.info().source_id().endswith(f"/{CAMERA}/scores")
        names = ["frame", "face_id", "success", "confidence", "spot", *(f"p_{name}" for name in CLASSES)]
        assert [label for label, _, _ in labels(scores)] == names
        assert all(unit and kind for _, unit, kind in labels(scores))
        assert labels(events) == [("event", "json", "Markers")]

        captured_s: dict[int, float] = {}

        def publish() -> None:
            nonlocal number
            result = dataclasses.replace(frame_result(20 + number % 3), frame=number)
            captured_s[number] = pylsl.local_clock() - AGE_NS / 1e9
            stamps = Stamps.of(frame_at(number, time.monotonic_ns() - AGE_NS))
            publisher.publish("score", score_fields(result, CLASSES), stamps)
            publisher.publish("event", event_fields(event(number), CLASSES), stamps)
            number += 1

        samples, stamps = pulled(scores, publish, 20)
        for sample, stamp in zip(samples, stamps, strict=True):
            assert stamp == pytest.approx(captured_s[round(sample[0])], abs=0.05)
            assert sample[5:] == pytest.approx(PROBABILITIES, abs=1e-6)
        frames = [sample[0] for sample in samples]
        assert frames == [frames[0] + place for place in range(len(frames))]
        assert stamps == sorted(stamps)
        markers, marker_stamps = pulled(events, publish, 5)
        told = json.loads(markers[0][0])
        assert (told["kind"], told["state"], told["onset"]["frame"]) == ("micro", "confirmed", 10)
        assert marker_stamps[0] == pytest.approx(captured_s[told["id"]], abs=0.05)


def frame_at(number: int, t_host_ns: int) -> Any:
    from tests.sinks.session_parts import rgbd_frame

    return dataclasses.replace(rgbd_frame(number), t_host_ns=t_host_ns)


def test_the_sink_ends_with_its_session() -> None:
    info = session_info(camera=f"{CAMERA}-short")
    with Publisher(ANY_PORT, info) as publisher, sink_of(publisher.address) as process:
        inlet(f"sfam-{CAMERA}-short-scores")
        publisher.close()
        process.join(PATIENCE_S)
        assert process.exitcode == 0


def message(kind: Kind, fields: dict[str, object], t_publish_ns: int, age_us: float | None) -> Message:
    latency = {} if age_us is None else {"total": age_us}
    header = encode_header(kind, "test", CAMERA, 0, Stamps(latency_us=latency), t_publish_ns, fields)
    return decode([topic_of(CAMERA, kind).encode(), header])


class Pushed:
    """The module pylsl with outlets that keep what is pushed: its clock is ours here."""

    def __init__(self) -> None:
        import pylsl

        self._lsl = pylsl
        self.samples: list[tuple[list[Any], float]] = []
        self.streams: dict[str, list[list[Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lsl, name)

    def StreamOutlet(self, info: Any) -> Any:  # noqa: N802  pylsl's name
        outlet, samples = self._lsl.StreamOutlet(info), self.samples
        mine = self.streams.setdefault(info.source_id().rpartition("/")[2], [])

        class Outlet:
            def push_sample(self, sample: list[Any], stamp: float) -> None:
                samples.append((sample, stamp))
                mine.append(sample)
                outlet.push_sample(sample, stamp)

            def have_consumers(self) -> bool:
                return False

        return Outlet()


def output(now_s: list[float], max_faces: int = 1) -> tuple[LslOutput, list[tuple[list[Any], float]]]:
    lsl = Pushed()
    info = dataclasses.replace(session_info(), max_faces=max_faces)
    session = {"session": "test", "camera": f"{CAMERA}-unit", **info.fields("running", {})}
    made = LslOutput(session, lsl, lambda: now_s[0], lambda: round(now_s[0] * 1e9))
    return made, lsl.samples


def test_a_stamp_that_goes_back_is_held_back_and_counted_but_no_event_is() -> None:
    now_s = [100.0]
    made, samples = output(now_s)
    for frame, age_us in ((6, 30e3), (7, 50e3), (8, 10e3)):
        fields = score_fields(dataclasses.replace(frame_result(6), frame=frame), CLASSES)
        made.take(message("score", fields, round(now_s[0] * 1e9), age_us))
    assert [(sample[0], stamp) for sample, stamp in samples] == [(6.0, 99.97), (8.0, 99.99)]
    assert made.counts == {"score": 2, "score_not_monotonic": 1}
    samples.clear()
    for number, age_us in ((0, 30e3), (1, 50e3)):
        made.take(message("event", event_fields(event(number), CLASSES), round(now_s[0] * 1e9), age_us))
    assert [(json.loads(sample[0])["id"], stamp) for sample, stamp in samples] == [(0, 99.97), (1, 99.97)]
    assert made.counts["event_not_monotonic"] == 1


def test_rows_without_time_and_further_faces_are_counted_and_unknowns_are_nan() -> None:
    made, samples = output([100.0])
    rows = [frame_result(3), dataclasses.replace(frame_result(3), face_id=1), frame_result(9)]
    for row, age_us in zip(rows, (1e3, 1e3, None), strict=True):
        made.take(message("score", score_fields(row, CLASSES), 100_000_000_000, age_us))
    [(sample, _)] = samples
    assert sample[:3] == [3.0, 0.0, 1.0]
    assert all(math.isnan(value) for value in sample[4:])
    assert made.counts == {"score": 1, "further_faces": 1, "score_without_time": 1}


def judged(made: LslOutput, frame: int, faces: Sequence[int]) -> None:
    """The rows of one frame; without faces, the one that says so."""
    rows = [dataclasses.replace(frame_result(6), frame=frame, face_id=face) for face in faces]
    for row in rows or [dataclasses.replace(frame_result(5), frame=frame)]:
        made.take(message("score", score_fields(row, CLASSES), 100_000_000_000, 1e3))


def faces_of(samples: list[list[Any]]) -> list[tuple[int, int | None]]:
    """Frame and face of each sample, None without one."""
    return [(int(one[0]), int(one[1]) if one[2] else None) for one in samples]


def test_each_face_keeps_a_stream_of_its_own_which_has_every_frame() -> None:
    lsl = Pushed()
    info = dataclasses.replace(session_info(), max_faces=2)
    session = {"session": "test", "camera": f"{CAMERA}-two", **info.fields("running", {})}
    made = LslOutput(session, lsl, lambda: 100.0, lambda: 100_000_000_000)
    assert list(lsl.streams) == ["scores", "scores-2", "events"]
    seen = [[0], [0, 1], [1], [], [1, 0], [2, 1], [2, 1, 7], [2], [2, 3], [1, 2]]
    for frame, faces in enumerate(seen):
        judged(made, frame, faces)
    made.close()
    first, second = (faces_of(lsl.streams[name]) for name in ("scores", "scores-2"))
    assert [face for _, face in first] == [0, 0, None, None, 0, 2, 2, 2, 2, 2]
    assert [face for _, face in second] == [None, 1, 1, None, 1, 1, 1, None, 3, 1]
    assert [frame for frame, _ in first] == [frame for frame, _ in second] == list(range(len(seen)))
    assert made.counts == {"score": 2 * len(seen), "further_faces": 1}
    absent = lsl.streams["scores-2"][0]
    assert absent[2] == 0.0
    assert all(math.isnan(value) for value in (absent[1], *absent[3:]))


def test_two_faces_arrive_in_another_program_on_two_streams() -> None:
    camera, number = f"{CAMERA}-pair", 0
    info = dataclasses.replace(session_info(camera=camera), devices={"fps": 30.0}, max_faces=2)
    with Publisher(ANY_PORT, info) as publisher, sink_of(publisher.address):
        inlets = [inlet(f"sfam-{camera}-{name}") for name in ("scores", "scores-2")]
        ids = [one.info().source_id() for one in inlets]
        assert [one.rpartition("/")[2] for one in ids] == ["scores", "scores-2"]
        assert all(one.startswith(OWN_SOURCE) for one in ids)
        assert labels(inlets[0]) == labels(inlets[1])

        def publish() -> None:
            nonlocal number
            stamps = Stamps.of(frame_at(number, time.monotonic_ns() - AGE_NS))
            for face in (4, 9) if number % 3 else (4,):
                result = dataclasses.replace(frame_result(20), frame=number, face_id=face)
                publisher.publish("score", score_fields(result, CLASSES), stamps)
            number += 1

        for one, face in zip(inlets, (4, 9), strict=True):
            found = faces_of(pulled(one, publish, 12)[0])
            assert [frame for frame, _ in found] == list(range(found[0][0], found[0][0] + len(found)))
            assert {who for frame, who in found if frame % 3} == {face}
            assert {who for frame, who in found if frame % 3 == 0} == {4 if face == 4 else None}


def test_the_age_of_a_frame_is_measured_from_its_arrival() -> None:
    header = message("score", {}, 1_000_000, 250.0).header
    assert age_of(header, 1_500_000) == 750_000
    assert age_of(message("score", {}, 1_000_000, None).header, 1_500_000) is None


def test_an_event_tells_its_moments_on_the_clock_of_lsl_where_it_was_live() -> None:
    live = dataclasses.replace(event(), onset=Moment(10, 5_000_000_000, t_host_ns=5_000_000_000))
    header = message("event", event_fields(live, CLASSES), 0, None).header
    assert event_text(header, 1_000_000_000)["lsl"] == {"onset": 4.0}
    replayed = message("event", event_fields(event(), CLASSES), 0, None).header
    assert event_text(replayed, 0)["lsl"] is None
