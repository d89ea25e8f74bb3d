"""From a participant's baseline to a session whose events say how often such alarms are false."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from sfam.engine.decoding import RunsSpec
from sfam.engine.model import load_model
from tests.app.command import run
from tests.shared_data import shared

REPLAY = ("--speed", "max", "--publish", "none", "--single-process")


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """face_a.bag taken for a baseline: far too short, and its expressions count as false alarms."""
    path = tmp_path_factory.mktemp("calibration") / "anna.json"
    done = run("sfam", "calibrate", "--camera", shared("recordings/face_a.bag"), "--seconds", "60", "--per-hour", "20",
               "--subject", "anna", "--out", path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "too short to promise 20 per hour: that takes at least 539 s" in done.stdout
    return path


def test_a_calibration_says_what_the_baseline_says(baseline: Path) -> None:
    found = json.loads(baseline.read_text())
    assert (found["subject"], found["holds"], found["decoding"]) == ("anna", False, "runs")
    assert 5 < found["baseline_s"] < 6
    assert found["per_hour"]["lower"] < found["per_hour"]["expected"] < found["per_hour"]["upper"]
    # Nothing holds, so it stays at the model's own threshold or above.
    spec = load_model("synthetic-4").spec
    assert isinstance(spec, RunsSpec)
    assert found["threshold"] >= spec.hi - 1e-9


def test_events_of_a_calibrated_session_carry_their_false_alarm_rate(baseline: Path, tmp_path: Path) -> None:
    done = run("sfam-live", "--camera", shared("recordings/face_a.bag"), *REPLAY, "--out", tmp_path / "s",
               "--calibration", baseline)  # fmt: skip
    assert done.returncode == 0, done.stderr
    calibration = json.loads(baseline.read_text())
    session = json.loads((tmp_path / "s" / "session.json").read_text())
    assert session["threshold"] == calibration["threshold"]
    assert session["calibration"]["text"] == calibration["text"]
    with (tmp_path / "s" / "events.csv").open(newline="") as file:
        events = list(csv.DictReader(file))
    assert events
    for event in events:
        # The baseline is this very recording: each event is among its alarms.
        alarms = float(event["false_alarms_per_hour"]) * calibration["hours"] - 0.5
        assert 1 <= round(alarms, 3) <= len(events)
        assert float(event["false_alarms_per_hour"]) < float(event["false_alarms_per_hour_upper"])
    lines = [json.loads(line) for line in (tmp_path / "s" / "events.jsonl").read_text().splitlines()]
    assert all(line["false_alarms_per_hour"] > 0 for line in lines)


def test_a_calibration_of_another_model_is_refused(baseline: Path, tmp_path: Path) -> None:
    found = json.loads(baseline.read_text())
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**found, "model_id": "liong-4", "model_sha256": "0" * 64}))
    for path, text in ((other, "calibrate again"), (tmp_path / "none.json", "no calibration")):
        done = run("sfam-live", "--camera", shared("recordings/face_a.bag"), *REPLAY, "--out", tmp_path / "s",
                   "--calibration", path)  # fmt: skip
        assert done.returncode == 4
        assert text in done.stderr
