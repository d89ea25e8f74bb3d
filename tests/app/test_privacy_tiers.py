from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sfam.app.config import Config
from sfam.app.session_description import payload_kinds, retain_until
from sfam.capture.config import CaptureConfig
from sfam.capture.source import open_source
from sfam.sinks.event_clip import clip_path, read_clip
from sfam.sinks.session_reader import read_session
from sfam.sinks.subscriber import subscribe
from sfam.sinks.wire_fields import parse_frame
from sfam.stream.face import FaceSettings, open_detector
from tests.app.command import run, start
from tests.app.free_port import free_address

ENOUGH = 12


@pytest.mark.parametrize(
    ("tier", "mode"), [("results", []), ("flow", []), ("blurred", []), ("blurred", ["--single-process"])]
)
def test_recording_is_refused_below_full(tmp_path: Path, tier: str, mode: list[str]) -> None:
    done = run("sfam-live", "--record", "--privacy", tier, "--publish", "none", "--out", tmp_path / "s", *mode)
    assert done.returncode == 2
    assert f"which privacy tier '{tier}' forbids" in done.stderr
    assert not (tmp_path / "s").exists()


def leaving(tier: str) -> set[str]:
    return set(payload_kinds(Config.model_validate({"sinks": {"privacy": tier}})))


def test_each_tier_lets_out_what_the_one_before_does_and_more() -> None:
    tiers = [leaving(tier) for tier in ("results", "flow", "blurred", "full")]
    assert tiers == [set(), {"flow"}, {"frame", "flow"}, {"frame", "flow"}]


def test_the_last_day_counts_from_the_day_of_the_session() -> None:
    assert retain_until(None, 0) is None
    assert retain_until(30, 1_772_360_100_000_000_000) == "2026-03-31"


@pytest.mark.slow  # a session of several seconds
def test_pictures_of_tier_blurred_show_no_face(tmp_path: Path) -> None:
    address = free_address()
    arguments: list[str | Path] = [
        "--publish",
        address,
        "--privacy",
        "blurred",
        "--duration",
        "60",
        "-q",
        "--out",
        tmp_path / "s",
    ]
    arguments += ["--set", "sinks.retention_days=10", "--set", "sinks.consent=form 7"]
    detector = open_detector(FaceSettings())
    seen = 0
    session = start("sfam-live", *arguments)
    try:
        for message in subscribe(address, ("frame",), timeout_s=60):
            assert message.payload is not None
            grey = cv2.cvtColor(parse_frame(message.header, message.payload), cv2.COLOR_RGB2GRAY)
            assert detector.detect(np.asarray(grey, np.uint8), (), 0) == [], f"frame {message.header['frame']}"
            seen += 1
            if seen == ENOUGH:
                break
    finally:
        session.terminate()
        session.communicate(timeout=60)
    assert seen == ENOUGH
    summary = json.loads((tmp_path / "s" / "session.json").read_text(encoding="utf-8"))
    assert (summary["privacy"], summary["consent"]) == ("blurred", "form 7")
    assert len(summary["retain_until"]) == 10
    files = [path for path in (tmp_path / "s").rglob("*") if path.is_file()]
    stored = {path.suffix for path in files if path.parent.name != "clips"}
    assert stored <= {".csv", ".json", ".jsonl", ".yaml", ".html"}


@pytest.mark.slow  # a session of several seconds
def test_each_event_of_tier_flow_has_a_clip_without_pictures(tmp_path: Path) -> None:
    arguments = ["--speed", "max", "--duration", "9", "--publish", "none", "--single-process", "--privacy", "flow"]
    done = run("sfam-live", "-q", "--out", tmp_path / "s", *arguments)
    assert done.returncode == 0, done.stderr
    record = read_session(tmp_path / "s")
    assert record.events
    for event in record.events:
        clip = read_clip(clip_path(record.path, event.id))
        moved = {frame.score["frame"] for frame in clip.frames if frame.maps is not None}
        assert set(range(event.onset.frame, event.offset.frame + 1)) <= moved
    assert "Motion in frame" in (tmp_path / "s" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow  # a session of several seconds and a replay of its clip
@pytest.mark.parametrize("mode", [[], ["--single-process"]])
def test_each_clip_of_tier_full_is_a_recording_that_plays(tmp_path: Path, mode: list[str]) -> None:
    folder = tmp_path / "s"
    quick: list[str | Path] = ["--publish", "none", "--speed", "max", "--privacy", "full"]
    done = run("sfam-live", "--out", folder, *quick, "--duration", "7", *mode)
    assert done.returncode == 0, done.stderr
    record = read_session(folder)
    assert record.events
    count = len(record.events)
    assert record.summary["counters"]["clips"] == {"written": count, "lost": 0, "truncated": 0}
    if not mode:
        assert f"clips with pictures: {count}\n" in done.stderr
    for event in record.events:
        with open_source(CaptureConfig(camera=str(clip_path(folder, event.id)))) as source:
            frames = [frame.sequence for frame in source.frames()]
        assert set(range(event.onset.frame, event.offset.frame + 1)) <= set(frames)
        assert frames == list(range(frames[0], frames[-1] + 1))
    assert not list((folder / "clips").glob(".*")), "nothing half-written is left"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert ("Face in frame" in page, "Motion in frame" in page) == (True, True)
    clip = clip_path(folder, record.events[0].id)
    again = run("sfam-live", "-q", "--camera", clip, "--out", tmp_path / "again", *quick[:4], *mode)
    assert again.returncode == 0, again.stderr
    table = read_session(tmp_path / "again").scores
    judged = {int(row["frame"]) for row in table if row["cause"] != "not_recorded"}
    first = read_clip(clip).frames[0].score["frame"]
    assert judged == {one.score["frame"] for one in read_clip(clip).frames}
    assert [row["cause"] for row in table[:first]] == ["not_recorded"] * first
