"""A model of seven emotions and neutral, live: imported checkpoints, tables, messages, overlay and exports."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from sfam.sinks.export_bids import export_bids
from sfam.sinks.export_boris import export_boris
from sfam.sinks.export_elan import export_elan
from sfam.sinks.export_mcap import export_mcap
from sfam.sinks.export_megc import export_megc
from sfam.sinks.export_openface import export_openface
from sfam.sinks.overlay_picture import render_overlay
from sfam.sinks.overlay_state import OverlayState
from sfam.sinks.report import write_report
from sfam.sinks.session_reader import read_session
from sfam.sinks.wire import Kind, Message, Stamps, decode, encode_header, load_schema, topic_of
from sfam.sinks.wire_fields import event_fields, score_fields
from tests.app.command import run
from tests.shared_data import shared
from tests.sinks.schemas import require_valid
from tests.sinks.session_parts import frame_result

CLASSES = ["disgust", "surprise", "others", "fear", "anger", "sad", "happy", "neutral"]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """face_a.bag, judged by two of the authors' 7-class networks; gain and level as they give events here."""
    folder = tmp_path_factory.mktemp("seven")
    weights = shared("sfamnet/pretrained_weights/7emo")
    done = run("sfam", "model", "import", weights, "--name", "seven", "--folds", "2", "--gain", "0.3", "--gain-w",
               "0.05", "--out", folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(f"skipped subject_{subject}.pkl" in done.stderr for subject in (3, 10, 40, 144))
    live = run("sfam-live", "--camera", shared("recordings/face_a.bag"), "--speed", "max", "--publish", "none",
               "--single-process", "--model", folder / "seven", "--set", "engine.threshold=0.2",
               "--out", folder / "session")  # fmt: skip
    assert live.returncode == 0, live.stderr
    return folder / "session"


def test_tables_have_a_column_for_each_class_and_the_spread_of_the_networks(session: Path) -> None:
    with (session / "scores.csv").open(newline="") as file:
        scores = list(csv.DictReader(file))
    with (session / "events.csv").open(newline="") as file:
        events = list(csv.DictReader(file))
    assert len(scores) == 180
    assert events
    for rows in (scores, events):
        assert [name for name in rows[0] if name.startswith("p_")] == [f"p_{name}" for name in CLASSES]
    for row in (row for row in scores if row["spot"]):
        assert sum(float(row[f"p_{name}"]) for name in CLASSES) == pytest.approx(1, abs=1e-4)
        assert float(row["spread"]) >= 0
    assert all(row["emotion"] in CLASSES for row in events)
    assert {row["emotion"] for row in events} - {"negative", "positive", "surprise", "others", "neutral"}


def messages(session: Path) -> list[Message]:
    """What the bus carries of this session: its session message, a score and every event."""
    record = read_session(session)
    summary = json.loads((session / "session.json").read_text())
    schema: dict[str, object] = load_schema("session")["properties"]
    described = {name: value for name, value in summary.items() if name in schema}
    score = frame_result(20)
    assert score.score is not None
    probabilities = tuple(float(v) for v in np.full(8, 0.125))
    result = dataclasses.replace(score, score=dataclasses.replace(score.score, emotion=probabilities, spread=0.1))
    contents: list[tuple[Kind, dict[str, object]]] = [("session", described), ("score", score_fields(result, CLASSES))]
    contents += [("event", event_fields(event, record.classes)) for event in record.events]
    stamps = Stamps(t_capture_ns=1, t_device_ns=1, t_utc_ns=1)
    return [
        decode([topic_of("face_a", kind).encode(), encode_header(kind, "s", "face_a", k, stamps, 2, fields)])
        for k, (kind, fields) in enumerate(contents)
    ]


def test_messages_fit_their_schemas_and_the_overlay_shows_them(session: Path) -> None:
    state = OverlayState()
    for message in messages(session):
        require_valid(message.header, message.kind)
        if message.kind != "session":
            found = message.header["emotion" if message.kind == "score" else "probabilities"]
            assert list(found) == CLASSES
        state.take(message)
    assert state.events
    assert state.scores[-1].score is not None
    assert len(state.scores[-1].score.emotion) == 8
    picture = render_overlay(state)
    empty = OverlayState()
    empty.header = state.header
    assert np.any(picture != render_overlay(empty))


def test_exports_carry_the_classes(session: Path, tmp_path: Path) -> None:
    record = read_session(session)
    emotions = {event.emotion for event in record.events}
    micro = {event.emotion for event in record.events if event.kind == "micro" and event.state == "confirmed"}
    table, *_ = export_megc(record, tmp_path / "megc")
    with table.open(newline="") as file:
        assert {row["emotion"] for row in csv.DictReader(file)} == micro
    for written in (export_boris(record, tmp_path), export_elan(record, tmp_path), export_bids(record, tmp_path)):
        text = "".join(path.read_text() for path in written if path.suffix in (".boris", ".tsv", ".eaf"))
        assert all(emotion in text for emotion in emotions)
    assert export_openface(record, tmp_path)[0].stat().st_size > 1000
    assert export_mcap(record, tmp_path)[0].stat().st_size > 1000
    report = write_report(session, pictures=False).read_text()
    assert all(emotion in report for emotion in emotions)
