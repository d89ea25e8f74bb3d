from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest

from sfam.app.event_times import KEPT_FRAMES, EventTimes
from sfam.capture.marker import Marker, parse_marker
from sfam.capture.marker_file import MARKERS_FILE, read_markers
from sfam.capture.source import SourceError
from sfam.engine.events import Moment
from tests.app.command import run
from tests.shared_data import shared
from tests.sinks.session_parts import FRAME_NS, event, rgbd_frame


def watched(times: EventTimes, frames: range) -> EventTimes:
    for number in frames:
        frame = rgbd_frame(number)
        times.seen(
            dataclasses.replace(frame, t_device_ns=7 * number, t_global_ns=70 * number, t_host_ns=number * FRAME_NS)
        )
    return times


def test_an_event_of_a_live_session_tells_what_every_clock_said() -> None:
    times = watched(EventTimes(live=True, t_error_us=41_000.0, lsl_ahead_ns=100_000_000), range(30))
    done = times.complete(event())
    assert done.onset == Moment(10, 10 * FRAME_NS, 70, 700, 10 * FRAME_NS, round(10 * FRAME_NS / 1e9 - 0.1, 9))
    assert done.apex.t_device_ns == 7 * 15
    assert done.offset.t_global_ns == 70 * 21
    assert done.t_error_us == 41_000.0


def test_without_sync_test_the_error_is_unknown_and_never_zero() -> None:
    assert watched(EventTimes(live=True), range(30)).complete(event()).t_error_us is None


def test_a_replay_says_nothing_of_clocks_that_only_ran_live() -> None:
    done = watched(EventTimes(), range(30)).complete(event())
    assert (done.onset.t_device_ns, done.onset.t_global_ns) == (70, 700)
    assert (done.onset.t_host_ns, done.onset.t_lsl_s, done.t_error_us) == (None, None, None)


def test_frames_are_remembered_for_a_bounded_time() -> None:
    times = watched(EventTimes(live=True), range(KEPT_FRAMES + 20))
    assert times.complete(event()).onset == event().onset
    assert times.complete(event(onset=100)).onset.t_device_ns == 700


def test_an_event_belongs_to_the_trial_at_its_onset() -> None:
    times = EventTimes()
    times.mark(parse_marker('{"trial": 1, "condition": "a"}', 5 * FRAME_NS, "x"))
    times.mark(parse_marker('{"trial": 2, "condition": "b"}', 12 * FRAME_NS, "x"))
    found = [times.complete(event(onset=onset)) for onset in (4, 10, 12)]
    assert [(one.trial, one.condition) for one in found] == [("", ""), ("1", "a"), ("2", "b")]


def test_markers_of_a_recorded_session_tag_the_events_of_its_replay(tmp_path: Path) -> None:
    rest = parse_marker('{"trial": 1, "condition": "rest"}', 0, "lsl:stimuli")
    first = replayed(tmp_path / "first", [rest])
    assert {(row["trial"], row["condition"]) for row in first} == {("1", "rest")}
    film = parse_marker('{"trial": 2, "condition": "film"}', int(first[-1]["t_onset_ns"]), "lsl:stimuli")
    again = replayed(tmp_path / "again", [rest, film], "--single-process")
    assert [row["condition"] for row in again] == ["rest"] * (len(first) - 1) + ["film"]
    assert [row["t_onset_ns"] for row in again] == [row["t_onset_ns"] for row in first]


def replayed(out: Path, markers: list[Marker], *mode: str) -> list[dict[str, str]]:
    """Events of a recording with trial markers; the file of markers ends in a line that a crash cut off."""
    given = out.with_suffix(".jsonl")
    lines = [json.dumps(marker.fields()) for marker in markers]
    given.write_text("\n".join(lines) + "\n" + lines[0][:20])
    done = run("sfam-live", "--camera", shared("recordings/face_a.bag"), "--speed", "max", "--publish", "none",
               "--set", f"app.markers={given}", "--out", out, *mode)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_markers(out / MARKERS_FILE) == markers
    with (out / "events.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) >= 2
    return rows


def test_what_is_no_marker_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"nothing": 1}\n')
    with pytest.raises(SourceError, match=r"x.jsonl: cannot be read as trial markers"):
        read_markers(tmp_path / "x.jsonl")
