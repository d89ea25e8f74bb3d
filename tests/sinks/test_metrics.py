from __future__ import annotations

import json
import re
import socket
import threading
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sfam.sinks.curve import PublisherKeys, SubscriberKeys, new_keys
from sfam.sinks.metrics import DEAD_S, CameraFigures, SessionCollector, serve_metrics
from sfam.sinks.publisher import Publisher
from sfam.sinks.sink_error import SinkError
from sfam.sinks.wire import Stamps, decode, encode_header, topic_of
from sfam.sinks.wire_fields import event_fields, status_fields
from tests.sinks.session_parts import ANY_PORT, CLASSES, event, session_info
from tests.sinks.talking_session import status
from tests.sinks.waiting import until

DASHBOARD = Path(__file__).resolve().parents[2] / "examples" / "grafana_dashboard.json"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(address: str) -> Samples:
    with urllib.request.urlopen(address, timeout=5) as page:
        text = page.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset({"camera": "demo", **labels}.items())]


@pytest.mark.parametrize("has_keys", [False, True])
def test_prometheus_reads_what_the_session_says(tmp_path: Path, has_keys: bool) -> None:
    stop, opened = threading.Event(), list[str]()
    own = inside = None
    if has_keys:
        new_keys(tmp_path, "overlay")
        own, inside = (
            PublisherKeys.load(tmp_path),
            SubscriberKeys.load(tmp_path / "overlay.key_secret", tmp_path / "server.key"),
        )
    with Publisher(ANY_PORT, session_info(), keys=own) as publisher:
        publisher.session("running", {})
        reader = threading.Thread(
            target=serve_metrics,
            args=(publisher.address, 0),
            kwargs={"running": lambda: not stop.is_set(), "ready": opened.append, "keys": inside},
        )
        reader.start()
        try:
            until(lambda: opened, "the metrics' address")
            until(lambda: publisher.wants("event"), "the subscription")
            publisher.publish("status", status_fields(status(300)))
            for state in ("provisional", "confirmed"):
                publisher.publish("event", event_fields(event(0, state), CLASSES))
            until(lambda: value_or_none(opened[0], "sfam_events_total", kind="micro", state="confirmed"), "the event")
            found = samples(opened[0])
            assert value(found, "sfam_up") == 1
            assert value(found, "sfam_frames_analysed_total") == 300
            assert value(found, "sfam_frames_dropped_total", cause="overrun") == 2
            assert value(found, "sfam_memory_bytes") == 200e6
            assert value(found, "sfam_latency_seconds", stage="total", quantile="0.99") == pytest.approx(7.9e-3)
            assert value(found, "sfam_session_info", session="test", model="synthetic-4") == 1
            publisher.close()
            until(lambda: value_or_none(opened[0], "sfam_up") == 0, "the end of the session")
        finally:
            stop.set()
            reader.join(10)


def value_or_none(address: str, name: str, **labels: str) -> float | None:
    return samples(address).get((name, frozenset({"camera": "demo", **labels}.items())))


def test_a_silent_session_counts_as_down() -> None:
    now = 100.0
    figures = CameraFigures(lambda: now)
    header = encode_header("session", "test", "demo", 0, Stamps(), 0, session_info().fields("running", {}))
    assert not figures.is_up
    figures.take(decode([topic_of("demo", "session").encode(), header]))
    assert figures.is_up
    now += DEAD_S
    assert not figures.is_up


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SinkError, match="--metrics"):
        serve_metrics("tcp://127.0.0.1:5571", other.getsockname()[1])


def test_the_dashboard_asks_only_for_metrics_that_are_served() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    served = {family.name for family in SessionCollector().collect()}
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    names = {name.removesuffix("_total") for query in asked for name in re.findall(r"sfam_\w+", query)}
    assert names
    assert {name.removesuffix("_info") for name in names} <= served
