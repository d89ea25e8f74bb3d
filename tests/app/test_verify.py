from __future__ import annotations

import json
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.live_session import LiveSession
from sfam.app.config import ConfigError, load_config, render_yaml
from sfam.app.replay import Replay, replay_config, run_replay
from sfam.app.table_difference import ACROSS_BACKENDS
from sfam.app.verify import compare, subject
from sfam.capture.config import CaptureConfig
from sfam.capture.recorder import Recorder, RecorderSettings
from sfam.capture.source import SourceError, open_source
from tests.app.command import run
from tests.shared_data import shared
from tests.sinks.waiting import until

RING_SLOTS = load_config().app.ring_slots
LOST = {20: "ring_overwritten", 21: "ring_overwritten", 33: "decimated"}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a recording, of which the session did not analyse three frames."""
    folder = tmp_path_factory.mktemp("verify") / "session"
    config = load_config(flags={"capture.camera": str(shared("recordings/face_a.bag")), "capture.to_s": 2.0})
    run_replay(Replay(replay_config(config, single_process=True, subject="s01"), LOST, last_frame=55), folder)
    return folder


@pytest.mark.slow  # four replays and the start of torch
def test_a_session_with_lost_frames_replays_to_its_own_tables(session: Path) -> None:
    done = run("sfam", "verify", session, "--speed", "4", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert [row["name"] for row in report["comparisons"]][:3] == [
        "the session's own tables",
        "at 4 times real time",
        "in one process",
    ]
    assert all(row["ok"] and (row["skipped"] or row["frames"] == 56) for row in report["comparisons"])
    assert "3 frames that the session did not analyse" in report["notes"][0]


@pytest.mark.slow  # four replays and the start of torch
def test_a_planted_difference_is_found_and_shown(session: Path, tmp_path: Path) -> None:
    planted = shutil.copytree(session, tmp_path / "planted")
    table = (planted / "scores.csv").read_text().splitlines(keepends=True)
    cells = table[41].split(",")
    cells[7] = "0.123456"
    (planted / "scores.csv").write_text("".join([*table[:41], ",".join(cells), *table[42:]]))
    done = run("sfam", "verify", planted)
    assert done.returncode == 6, done.stdout
    assert "DIFFERS, scores.csv line 42, column spot: '0.123456' against" in done.stdout
    assert "in one process: equal" in done.stdout


def test_frames_that_a_session_lost_are_read_from_its_table(session: Path) -> None:
    what = subject(session, load_config())
    assert what.replay.left_out == LOST
    assert what.replay.last_frame == 55
    assert what.replay.config.app.subject == "s01"


def test_a_session_recorded_in_several_parts_replays_from_all_of_them(session: Path, tmp_path: Path) -> None:
    parts = shutil.copytree(session, tmp_path / "parts")
    with open_source(CaptureConfig(camera=str(shared("recordings/face_a.bag")), to_s=2.0)) as source:
        frames = list(source.frames())
        for name, held in (("recording.mcap", frames[:30]), ("recording_2.mcap", frames[30:])):
            recorder = Recorder(RecorderSettings(parts / name, lossless=True))
            recorder.begin(source.info)
            for frame in held:
                recorder.push(frame)
            recorder.finish()
    what = subject(parts, load_config())
    assert what.replay.config.capture.camera == str(parts)
    assert what.replay.config.capture.to_s is None
    run_replay(replace(what.replay, config=replay_config(what.replay.config, single_process=True)), tmp_path / "all")
    assert compare(parts, tmp_path / "all") is None
    moved = subject(session, load_config(), parts).replay.config.capture
    assert (moved.camera, moved.to_s) == (str(parts), None)


@pytest.mark.slow  # four replays and the start of torch
def test_a_recording_of_other_pixels_than_were_analysed_is_named_as_the_cause(session: Path, tmp_path: Path) -> None:
    lossy = shutil.copytree(session, tmp_path / "lossy")
    record(lossy / "recording.mcap", {"record": "all", "record_color": "jpeg"})
    done = run("sfam", "verify", lossy)
    assert done.returncode == 6, done.stdout
    own, *others = done.stdout.splitlines()
    assert own.startswith("the session's own tables: DIFFERS")
    assert "JPEG color (capture.record_color), not the pixels that were analysed" in own
    assert not any("DIFFERS" in other for other in others)


@pytest.mark.parametrize(
    ("recorded", "unlike"),
    [
        ({"record": "events"}, "only events were recorded (--record events)"),
        ({"record": "all"}, ""),
    ],
)
def test_what_a_recording_lacks_by_its_settings_is_known(
    recorded: dict[str, str], unlike: str, session: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(session, tmp_path / "recorded")
    record(folder / "recording.mcap", recorded)
    assert subject(folder, load_config()).unlike == unlike
    file = shared("recordings/face_a.bag")
    assert subject(folder, load_config(), file).unlike == ""


def record(file: Path, recorded: dict[str, str]) -> None:
    """Into a session folder, as its settings then say."""
    config = load_config(file.parent / "config.yaml")
    capture = config.capture.model_copy(update=recorded)
    (file.parent / "config.yaml").write_text(render_yaml(config.model_copy(update={"capture": capture})))
    with open_source(CaptureConfig(camera=str(shared("recordings/face_a.bag")), to_s=2.0)) as source:
        recorder = Recorder(RecorderSettings(file, color=capture.record_color, lossless=True))
        recorder.begin(source.info)
        for frame in source.frames():
            recorder.push(frame)
        recorder.finish()


def test_leaving_frames_out_matters(session: Path, tmp_path: Path) -> None:
    what = subject(session, load_config())
    run_replay(Replay(replay_config(what.replay.config, single_process=True)), tmp_path / "all")
    difference = compare(session, tmp_path / "all", ACROSS_BACKENDS)
    assert difference is not None
    assert difference.line == 22


def test_a_live_session_without_recording_cannot_be_verified(session: Path, tmp_path: Path) -> None:
    live = shutil.copytree(session, tmp_path / "live")
    summary = json.loads((live / "session.json").read_text())
    summary["devices"]["kind"], summary["source"] = "synthetic", "demo"
    (live / "session.json").write_text(json.dumps(summary))
    with pytest.raises(ConfigError, match="--record"):
        subject(live, load_config())
    assert run("sfam", "verify", live).returncode == 2


def test_a_moved_recording_is_asked_for(session: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(session, tmp_path / "moved")
    summary = json.loads((moved / "session.json").read_text())
    summary["source"] = "gone.bag"
    (moved / "session.json").write_text(json.dumps(summary))
    with pytest.raises(SourceError, match="--file"):
        subject(moved, load_config())
    bag = shared("recordings/face_a.bag")
    assert subject(moved, load_config(), bag).replay.config.capture.camera == str(bag)


def test_what_is_not_there_is_exit_3(tmp_path: Path) -> None:
    done = run("sfam", "verify", tmp_path / "none.bag")
    assert (done.returncode, done.stdout) == (3, "")
    assert "does not exist" in done.stderr


def wait_for_frames(live: LiveSession, file: str, frames: int) -> None:
    """Until a file has grown by what so many frames take in it."""
    path, rows = live.out / file, live.rows()
    before = path.stat().st_size
    until(lambda: path.stat().st_size > before * (1 + frames / rows), f"more frames in {file}", 240)


@pytest.mark.slow  # a live session of some seconds, then its replays
@pytest.mark.skipif(sys.platform == "win32", reason="stops a process by SIGSTOP")
@pytest.mark.parametrize("stalled", ["analysis", "recorder"])
def test_a_live_recorded_session_replays_to_its_tables_as_far_as_its_recording_goes(
    stalled: str, tmp_path: Path
) -> None:
    live = LiveSession(tmp_path / "live", ["--record", "all", "--privacy", "full"])
    try:
        live.wait_rows(30)
        process = live.roles()[stalled]
        process.suspend()
        wait_for_frames(live, "scores.csv" if stalled == "recorder" else "recording.mcap", 2 * RING_SLOTS)
        process.resume()
        live.wait_rows(live.rows() + 20)
        live.process.send_signal(signal.SIGINT)
        assert live.end() == 0, live.log
    finally:
        live.kill()
    done = run("sfam", "verify", live.out, "--json")
    report = json.loads(done.stdout)
    own = report["comparisons"][0]
    if stalled == "analysis":
        assert done.returncode == 0, report
        assert "frames that the session did not analyse are left out" in report["notes"][0]
    else:
        assert done.returncode == 6
        assert "the recording lacks" in own["note"]
        assert all(row["ok"] for row in report["comparisons"][1:])
