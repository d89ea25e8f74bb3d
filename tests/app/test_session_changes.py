"""What takes effect in the middle of a session is written down, published, and done again in its replay."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sfam.app.clock_watch import ClockWatch
from sfam.app.config import load_config
from sfam.app.handover import EVENT_MARGIN, Handover
from sfam.app.live import make_plan
from sfam.app.pause import Hold
from sfam.app.session import Session
from sfam.app.session_accounts import Accounts
from sfam.app.session_plan import EVENTS, Change, Reload, Resume, SessionPlan
from sfam.app.table_difference import first_difference
from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.marker import Marker
from sfam.capture.marker_file import MARKERS_FILE, read_markers
from sfam.capture.source import SourceInfo
from sfam.capture.synthetic import SyntheticSource
from sfam.sinks.incident import Incident
from sfam.sinks.publisher import NullPublisher
from sfam.stream.ring_reader import StreamEnd
from tests.app.test_clock_watch import Clocks
from tests.sinks.waiting import until

SETTINGS = ("sinks.publish=none", "app.selftest=false", "app.policy=latest")
FRAMES = 70
CLOCK = SessionClock.start()
NOTICED = 30
"""The frame before which something happens."""


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[SourceInfo, list[RGBDFrame]]]:
    with SyntheticSource(CaptureConfig()) as source:
        yield source.info, [frame for _, frame in zip(range(FRAMES), source.frames(), strict=False)]


def plan_for(folder: Path, changes: Sequence[Change] = (), lost: Sequence[int] = ()) -> SessionPlan:
    config = load_config(assignments=[*SETTINGS, f"sinks.out={folder}"])
    left_out = dict.fromkeys(lost, "analysis_restart")
    return replace(make_plan(config, CLOCK), changes=tuple(changes), left_out=left_out)


class Played:
    """A session in this process, with a hand on its clocks."""

    def __init__(
        self,
        demo: tuple[SourceInfo, list[RGBDFrame]],
        folder: Path,
        changes: Sequence[Change] = (),
        lost: Sequence[int] = (),
        resume: Resume | None = None,
    ) -> None:
        self.info, self.frames = demo
        self.folder = folder
        self.clocks = Clocks()
        self.told: list[tuple[str, Any]] = []
        plan = replace(plan_for(folder, changes, lost), resume=resume)
        self.session = Session(plan, lambda kind, text: self.told.append((kind, text)))
        self.session._watches.clocks = self.clocks.watch()
        self.session.begin(self.info)

    def push(self, first: int, last: int, but: Sequence[int] = ()) -> None:
        for frame in self.frames[first:last]:
            if frame.sequence not in but:
                self.session.push(frame, {}, {})

    def look(self) -> None:
        """The heartbeat, which otherwise comes once a second."""
        self.session._heartbeat(1e12)

    def finish(self) -> dict[str, Any]:
        self.session.finish(StreamEnd("ended"), {})
        self.session.close()
        return dict(json.loads((self.folder / "session.json").read_text())["counters"])


def causes(folder: Path) -> list[str]:
    with (folder / "scores.csv").open(newline="") as lines:
        return [row["cause"] for row in csv.DictReader(lines)]


def same_tables(first: Path, second: Path) -> bool:
    return all(first_difference(first / table, second / table) is None for table in ("scores.csv", "events.csv"))


def test_a_sleep_breaks_windows_and_is_repeated_in_a_replay(
    demo: tuple[SourceInfo, list[RGBDFrame]], tmp_path: Path
) -> None:
    live = Played(demo, tmp_path / "live")
    live.push(0, NOTICED)
    live.clocks.sleep(90.0)
    live.look()
    live.push(NOTICED, FRAMES)
    counters = live.finish()
    assert [incident["kind"] for incident in counters["incidents"]] == ["suspend"]
    assert counters["incidents"][0]["values"]["slept_s"] == 90.0
    assert counters["changes"] == [{"frame": NOTICED, "kind": "gap", "value": None}]
    assert [text for kind, text in live.told if kind == "warning"] == [counters["incidents"][0]["text"]]
    found = causes(live.folder)
    assert found[NOTICED - 1] == ""
    assert found[NOTICED] == "gap"
    assert found[-1] == ""
    again = Played(demo, tmp_path / "again", [Change(**change) for change in counters["changes"]])
    again.push(0, FRAMES)
    again.finish()
    assert same_tables(live.folder, again.folder)
    unaware = Played(demo, tmp_path / "unaware")
    unaware.push(0, FRAMES)
    unaware.finish()
    assert not same_tables(live.folder, unaware.folder)


def test_a_clock_step_is_recorded_and_changes_no_table(
    demo: tuple[SourceInfo, list[RGBDFrame]], tmp_path: Path
) -> None:
    live, calm = Played(demo, tmp_path / "live"), Played(demo, tmp_path / "calm")
    for played, step_s in ((live, -3600.0), (calm, 0.0)):
        played.push(0, NOTICED)
        played.clocks.set(step_s)
        played.look()
        played.push(NOTICED, FRAMES)
    counters = live.finish()
    assert [incident["kind"] for incident in counters["incidents"]] == ["clock_step"]
    assert counters["incidents"][0]["values"] == {"utc_step_s": -3600.0}
    assert counters["changes"] == []
    assert calm.finish()["incidents"] == []
    assert same_tables(live.folder, calm.folder)


def test_a_new_threshold_decides_from_its_frame_on_also_in_a_replay(
    demo: tuple[SourceInfo, list[RGBDFrame]], tmp_path: Path
) -> None:
    live = Played(demo, tmp_path / "live")
    live.push(0, NOTICED)
    live.session.reload(Reload("settings reloaded: engine.threshold from 0.5 to 0.9", True, 0.9, None, 1))
    live.push(NOTICED, FRAMES)
    counters = live.finish()
    assert counters["changes"] == [{"frame": NOTICED, "kind": "threshold", "value": 0.9}]
    assert counters["incidents"][0]["values"]["threshold"] == 0.9
    again = Played(demo, tmp_path / "again", [Change(**change) for change in counters["changes"]])
    again.push(0, FRAMES)
    assert again.finish()["changes"] == counters["changes"]
    assert same_tables(live.folder, again.folder)


def test_a_restart_is_repeated_in_a_replay_that_leaves_the_lost_frames_out(
    demo: tuple[SourceInfo, list[RGBDFrame]], tmp_path: Path
) -> None:
    lost = range(NOTICED, NOTICED + 8)
    changes = [Change(lost.stop, "restart")]
    tables = []
    for name in ("first", "second"):
        played = Played(demo, tmp_path / name, changes, lost)
        played.push(0, FRAMES, but=lost)
        counters = played.finish()
        assert counters["dropped"] == {"analysis_restart": len(lost)}
        tables.append(played.folder)
    found = causes(tables[0])
    assert found[lost.start : lost.stop] == ["analysis_restart"] * len(lost)
    assert (found[lost.start - 1], found[lost.stop], found[-1]) == ("", "detecting", "")
    assert "gap" in found[lost.stop :]
    assert "warm_up" not in found[lost.stop :]
    assert len(found) == FRAMES
    assert same_tables(*tables)


def test_the_watch_of_a_real_session_is_quiet(demo: tuple[SourceInfo, list[RGBDFrame]], tmp_path: Path) -> None:
    played = Played(demo, tmp_path / "quiet")
    played.session._watches.clocks = ClockWatch(SessionClock.start())
    played.push(0, 10)
    played.look()
    assert played.finish()["incidents"] == []


def test_a_frame_that_a_dead_analysis_had_judged_is_not_judged_again(
    demo: tuple[SourceInfo, list[RGBDFrame]], tmp_path: Path
) -> None:
    """Whoever takes over begins with the newest frame of the ring, and at a stream's end that is an old one."""
    dead = Played(demo, tmp_path / "s")
    dead.push(0, 20)
    until(lambda: len(causes(tmp_path / "s")) == 20, "the rows of the one that dies", 60)
    after = Played(demo, tmp_path / "s", resume=Resume("it was killed", time.monotonic_ns()))
    after.push(19, 22)
    counters = after.finish()
    dead.session.close()
    assert len(causes(tmp_path / "s")) == 22
    assert (counters["offered"], counters["analysed"]) == (22, 22)
    assert [incident["from_frame"] for incident in counters["incidents"]] == [None]


class Heard(NullPublisher):
    """Events as a stable subscriber hears them."""

    def __init__(self) -> None:
        self.events: list[tuple[int, str, tuple[str, ...]]] = []

    def publish(self, kind: str, fields: Mapping[str, Any], *_: object, **__: object) -> None:
        if kind == "event":
            self.events.append((fields["id"], fields["state"], tuple(fields["flags"])))


def test_an_event_that_was_heard_and_never_written_is_withdrawn_and_its_number_not_used_again(tmp_path: Path) -> None:
    """A killed analysis sends what its files get only later: the next one gave that number to another event."""
    with SyntheticSource(CaptureConfig()) as source:
        demo = source.info, [frame for _, frame in zip(range(110), source.frames(), strict=False)]
    dead = Played(demo, tmp_path / "dead")
    dead.push(0, 60)
    until(lambda: len(causes(dead.folder)) == 60, "the rows of the one that dies", 60)
    shutil.copytree(dead.folder, tmp_path / "s")
    dead.push(60, 64)
    handover = Handover()
    (heard_so_far,) = (message for kind, message in dead.told if kind == EVENTS)
    handover.events[""] = heard_so_far
    dead.session.close()
    assert [(event.id, event.state) for event in heard_so_far.open] == [(0, "provisional")]
    after = Played(demo, tmp_path / "s", resume=handover.resume("", "it was killed"))
    heard = after.session._out.publisher = Heard()
    after.push(66, 67)
    after.look()
    assert [event[:2] for event in heard.events] == [(0, "withdrawn")]
    assert "gap" in heard.events[0][2]
    after.push(67, 110)
    counters = after.finish()
    first = 1 + EVENT_MARGIN
    assert min(number for number, _, _ in heard.events[1:]) == first
    assert counters["changes"] == [{"frame": 66, "kind": "restart", "value": first}]
    again = Played(demo, tmp_path / "again", [Change(**change) for change in counters["changes"]], range(60, 66))
    again.push(0, 110, but=range(60, 66))
    again.finish()
    assert same_tables(after.folder, again.folder)
    assert handover.resume("", "again").events.next_id == first + EVENT_MARGIN


def marker(number: int) -> Marker:
    return Marker(number * 1_000_000_000, f"trial {number}", "lsl:stimuli", str(number), "film")


def test_what_a_dead_analysis_was_told_in_vain_reaches_the_next_one_once(
    demo: tuple[SourceInfo, list[RGBDFrame]], tmp_path: Path
) -> None:
    """It lay in the pipe of a process that hung and was killed, or came while none ran."""
    dead = Played(demo, tmp_path / "s")
    handover = Handover()
    known, unknown = (Incident("sink_restart", t_ns, "it is started again") for t_ns in (1, 2))
    handover.incidents += [known, unknown]
    handover.markers += [marker(1), marker(2), marker(3)]
    dead.session.mark(marker(1))
    dead.push(0, 20)
    dead.session.note(known)
    dead.look()
    until(lambda: len(causes(tmp_path / "s")) == 20, "the rows of the one that dies", 60)
    until(lambda: summary(tmp_path / "s")["counters"].get("incidents") == [known.fields()], "its incident", 60)
    handover.reloaded(Reload("settings reloaded: engine.threshold from 0.5 to 0.9", True, 0.9, 250.0, 3))
    handover.reloaded(Reload("settings reloaded: app.latency_budget_ms", False, 0.9, 150.0, 4))
    after = Played(demo, tmp_path / "s", resume=handover.resume("", "it was killed"))
    after.push(22, 40)
    counters = after.finish()
    dead.session.close()
    assert read_markers(tmp_path / "s" / MARKERS_FILE) == [marker(1), marker(2), marker(3)]
    assert [(one["kind"], one["t_ns"]) for one in counters["incidents"][:4]] == [
        ("sink_restart", 1),
        ("sink_restart", 2),
        ("reload", 3),
        ("reload", 4),
    ]
    assert [(one["kind"], one["value"]) for one in counters["changes"][1:]] == [("threshold", 0.9)]
    assert after.session._watches.latency.budget_ms == 150.0


@pytest.mark.parametrize("noted", [True, False])
def test_a_pause_whose_end_a_dead_analysis_never_heard_is_over_for_the_next_one(
    noted: bool, demo: tuple[SourceInfo, list[RGBDFrame]], tmp_path: Path
) -> None:
    dead = Played(demo, tmp_path / "s")
    handover = Handover()
    begin, end = Hold(True, time.monotonic_ns()), Hold(False, time.monotonic_ns() + 5)
    dead.push(0, 20)
    dead.look()
    until(lambda: len(causes(tmp_path / "s")) == 20, "the rows of the one that dies", 60)
    if noted:
        dead.session.pause(begin)
        dead.session.idle()
        until(lambda: summary(tmp_path / "s")["state"] == "paused", "the pause", 60)
    handover.holds[""] += [begin, end]
    after = Played(demo, tmp_path / "s", resume=handover.resume("", "it was killed"))
    until(lambda: summary(tmp_path / "s")["state"] == "running", "the session goes on", 60)
    after.push(20, 30)
    (pause,) = after.finish()["pauses"]
    dead.session.close()
    clock = after.session._plan.clock
    assert pause["after_frame"] == 19
    assert pause["ended_utc_ns"] - pause["began_utc_ns"] == end.at_ns - begin.at_ns
    assert noted or pause["began_utc_ns"] == clock.utc_ns(begin.at_ns)


def test_the_next_analysis_stays_silent_in_a_pause_that_the_dead_one_never_heard_of(
    demo: tuple[SourceInfo, list[RGBDFrame]], tmp_path: Path
) -> None:
    dead = Played(demo, tmp_path / "s")
    dead.push(0, 20)
    until(lambda: len(causes(tmp_path / "s")) == 20, "the rows of the one that dies", 60)
    handover = Handover()
    handover.holds[""].append(Hold(True, time.monotonic_ns()))
    after = Played(demo, tmp_path / "s", resume=handover.resume("", "it was killed"))
    until(lambda: summary(tmp_path / "s")["state"] == "paused", "the pause", 60)
    (pause,) = after.finish()["pauses"]
    dead.session.close()
    assert pause["ended_utc_ns"] is None


def test_a_pause_that_is_over_before_anybody_looked_is_noted(
    demo: tuple[SourceInfo, list[RGBDFrame]], tmp_path: Path
) -> None:
    played = Played(demo, tmp_path / "s")
    played.push(0, 10)
    at_ns = time.monotonic_ns()
    played.session.pause(Hold(True, at_ns))
    played.session.pause(Hold(False, at_ns + 7))
    played.session.idle()
    played.session.pause(Hold(True, at_ns + 9))  # and one in which the session ends at once
    first, last = played.finish()["pauses"]
    assert first["ended_utc_ns"] - first["began_utc_ns"] == 7
    assert last["ended_utc_ns"] is None


def test_markers_that_no_analysis_lived_to_write_stand_in_the_folder_all_the_same(tmp_path: Path) -> None:
    handover = Handover()
    handover.markers += [marker(1), marker(2)]
    handover.write_missing_markers(tmp_path / "never_began")
    assert not (tmp_path / "never_began").exists()
    for _ in range(2):
        handover.write_missing_markers(tmp_path)
    handover.markers.append(marker(3))
    handover.write_missing_markers(tmp_path)
    assert read_markers(tmp_path / MARKERS_FILE) == [marker(1), marker(2), marker(3)]


def summary(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "session.json").read_text()))


def test_a_frame_overwritten_under_decimate_is_not_called_left_out(tmp_path: Path) -> None:
    config = load_config(assignments=[f"sinks.out={tmp_path}", "app.policy=decimate:3"])
    accounts = Accounts(make_plan(config, CLOCK))
    causes = dict(accounts.missing_before(9, {"decimated": 6, "ring_overwritten": 3}))
    assert [number for number, cause in causes.items() if cause == "ring_overwritten"] == [0, 3, 6]
    assert accounts.dropped() == {"decimated": 6, "ring_overwritten": 3}
