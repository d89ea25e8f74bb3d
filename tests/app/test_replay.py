"""From a recording to published events: the whole path on the reference recording."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zmq

from sfam.sinks.wire import KINDS, PAYLOAD_KINDS
from tests.app.command import run, start
from tests.shared_data import shared
from tests.sinks.schemas import require_valid

Row = dict[str, str]


def rows(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def overlap(event: Row, truth: dict[str, Any]) -> float:
    onset, offset = int(event["onset"]), int(event["offset"])
    first, last = int(truth["onset"]), int(truth["offset"])
    return (min(offset, last) - max(onset, first) + 1) / (max(offset, last) - min(onset, first) + 1)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """face_a.bag through several processes, as fast as possible."""
    folder = tmp_path_factory.mktemp("replay") / "session"
    done = run("sfam-live", "--camera", shared("recordings/face_a.bag"), "--speed", "max", "--publish", "none",
               "--out", folder, "--subject", "s01", "--video", "take 1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_every_frame_has_a_row_and_both_micro_expressions_are_found(session: Path) -> None:
    truth = json.loads(shared("recordings/face_a.truth.json").read_text())
    scores = rows(session / "scores.csv")
    assert [int(row["frame"]) for row in scores] == list(range(180))
    assert list(scores[0])[:5] == ["frame", "face_id", "timestamp", "confidence", "success"]
    assert list(scores[0])[5:8] == ["t_capture_ns", "t_device_ns", "spot"]
    for row, frame in zip(scores, truth["frames"], strict=True):
        assert abs(int(row["t_capture_ns"]) - frame["t_color_ms"] * 1e6) < 1e3

    events = rows(session / "events.csv")
    assert list(events[0])[:9] == ["subject", "video", "onset", "offset", "emotion", "kind", "apex", "score", "state"]
    assert {(row["subject"], row["video"]) for row in events} == {("s01", "take 1")}
    micros = [row for row in events if row["kind"] == "micro" and row["state"] == "confirmed"]
    wanted = [event for event in truth["events"] if event["kind"] == "micro"]
    hits = [max(overlap(row, event) for row in micros) for event in wanted]
    assert all(hit >= 0.5 for hit in hits), hits
    assert len(micros) <= len(wanted) + 1


def test_one_process_gives_the_same_bytes(session: Path, tmp_path: Path) -> None:
    done = run("sfam-live", "--camera", shared("recordings/face_a.bag"), "--speed", "max", "--publish", "none",
               "--out", tmp_path / "one", "--single-process", "--subject", "s01", "--video", "take 1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for table in ("scores.csv", "events.csv", "events.jsonl"):
        assert (tmp_path / "one" / table).read_bytes() == (session / table).read_bytes(), table


def test_the_session_accounts_for_every_frame_and_names_its_model(session: Path) -> None:
    content = json.loads((session / "session.json").read_text())
    counters = content["counters"]
    assert content["state"] == "ended"
    assert counters["offered"] == counters["analysed"] == 180
    assert sum(counters["dropped"].values()) == 0
    assert len(content["model_sha256"]) == 64
    assert "synthetic" in content["model"]["training_data"]
    assert any("not evaluated on any real face" in limit for limit in content["model"]["limits"])
    assert (session / "config.yaml").read_text().startswith("# Every setting")


def test_a_plain_zmq_program_gets_valid_messages_of_every_kind(tmp_path: Path) -> None:
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, b"sfam/")
    socket.setsockopt(zmq.RCVTIMEO, 240_000)
    port = _free_port()
    socket.connect(f"tcp://127.0.0.1:{port}")
    live = start("sfam-live", "--camera", shared("recordings/face_a.bag"), "--speed", "2", "--out", tmp_path / "s",
                 "--publish", f"tcp://127.0.0.1:{port}", "--privacy", "full", "--set", "sinks.clips=false")  # fmt: skip
    seen: dict[str, list[dict[str, Any]]] = {}
    try:
        while True:
            topic, header, *payload = socket.recv_multipart()
            room, _, kind = topic.decode().rpartition("/")
            message = json.loads(header)
            require_valid(message, kind)
            _require_payload(kind, message, payload)
            if not seen:
                for asked in PAYLOAD_KINDS:
                    socket.setsockopt(zmq.SUBSCRIBE, f"{room}/{asked}".encode())
            seen.setdefault(kind, []).append(message)
            if kind == "session" and message["state"] == "ended":
                break
    finally:
        _, errors = live.communicate(timeout=240)
        socket.close()
        context.term()
    assert live.returncode == 0, errors
    assert set(seen) == set(KINDS) - {"analyzer"}, "analyzers are plug-ins and have a test of their own"
    confirmed = [event for event in seen["event"] if event["state"] == "confirmed"]
    assert len(confirmed) == len(rows(tmp_path / "s" / "events.csv"))
    assert [score["frame"] for score in seen["score"]] == list(range(seen["score"][0]["frame"], 180))
    assert next(iter(seen)) == "session"
    assert seen["session"][-1]["counters"]["analysed"] == 180


def _require_payload(kind: str, header: dict[str, Any], payload: list[bytes]) -> None:
    """Fail where a payload is not what its header says, or stands where none belongs."""
    assert len(payload) == (kind in PAYLOAD_KINDS)
    if kind == "frame":
        image = cv2.imdecode(np.frombuffer(payload[0], np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (header["height"], header["width"], 3)
    elif kind == "flow":
        assert np.isfinite(np.frombuffer(payload[0], "<f2").reshape(header["shape"])[:2]).all()


def _free_port() -> int:
    with zmq.Context() as context, context.socket(zmq.REP) as probe:
        return probe.bind_to_random_port("tcp://127.0.0.1")
