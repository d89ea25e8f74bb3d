"""Two faces through a whole session: a row per frame and face, and a return check that knows whose motion it asks."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sfam.app.config import load_config
from sfam.app.live import make_plan
from sfam.app.session import Session
from sfam.capture.clock import SessionClock
from sfam.capture.face_sequence import CALIBRATION
from sfam.capture.frame import RGBDFrame
from sfam.capture.source import SourceInfo
from sfam.stream.ring_reader import StreamEnd
from tests.stream.two_heads import both, head

SETTINGS = ["stream.max_faces=2", "sinks.publish=none", "app.policy=lossless", "capture.camera=two.bag"]


@pytest.fixture(scope="module")
def frames() -> list[RGBDFrame]:
    left = head(0, lambda _: (-90.0, 0.0, 0.0))
    right = head(3, lambda t_s: (100.0, 8.0 * t_s, 40.0))
    return [both(left, right, index) for index in range(24)]


def test_scores_csv_has_a_row_for_each_frame_and_face(frames: list[RGBDFrame], tmp_path: Path) -> None:
    config = load_config(assignments=[*SETTINGS, f"sinks.out={tmp_path / 'out'}"])
    session = Session(make_plan(config, SessionClock.start()), lambda kind, text: None)
    session.begin(SourceInfo("two", "recording", False, 30.0, CALIBRATION))
    for frame in frames:
        session.push(frame, {}, {})
    session.finish(StreamEnd("ended"), {})
    session.close()
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    keys = [(int(row["frame"]), int(row["face_id"])) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {frame for frame, _ in keys} == set(range(24))
    assert [row["success"] for row in rows if int(row["frame"]) < 3] == ["0", "0", "0"]
    assert keys[3:] == [(frame, face) for frame in range(3, 24) for face in (0, 1)]
    scored = [row for row in rows if row["spot"] not in ("", "nan")]
    assert {int(row["face_id"]) for row in scored} == {0, 1}
    assert len(scored) == 2 * 15
