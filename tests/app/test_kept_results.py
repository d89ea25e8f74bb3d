"""Sinks that keep what they get have all of it: the first frame waits for them, and they wait for the last message."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from mcap.reader import make_reader

from sfam.sinks.copies import copies_of
from tests.app.command import run
from tests.app.test_cli_bus import free_port
from tests.shared_data import shared
from tests.sinks.rrd_file import read_rrd, require_rerun


@pytest.mark.slow  # a session with two sinks
def test_files_written_beside_a_session_hold_every_row_and_event(tmp_path: Path) -> None:
    require_rerun()
    out, mcap, rerun = tmp_path / "session", tmp_path / "results.mcap", tmp_path / "results.rrd"
    done = run("sfam-live", "--camera", shared("recordings/face_a.bag"), "--speed", "max", "--to", "3", "--out", out,
               "--publish", f"tcp://127.0.0.1:{free_port()}", "--mcap", mcap, "--rerun", rerun,
               "--subject", "s07")  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (out / "scores.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    with (out / "events.jsonl").open() as lines:
        states = len(lines.readlines())
    counts: dict[str, int] = {}
    with mcap.open("rb") as file:
        for _, channel, _ in make_reader(file).iter_messages():
            name = channel.topic.rpartition("/")[2]
            counts[name] = counts.get(name, 0) + 1
    # The log has a line of its own at the end; pictures are nobody's at the tier results.
    assert counts == {"score": len(rows), "annotations": len(rows), "event": states, "log": states + 1}
    found = read_rrd(rerun)
    assert found["score/0/spot"].rows == sum(bool(row["spot"]) for row in rows) > 30
    assert found["events"].rows == states
    assert not {"camera/color", "camera/depth", "flow/0"} & set(found)
    listed = {copy.path: (copy.what, copy.state, copy.subject) for copy in copies_of(out)}
    assert listed == {mcap: ("mcap sink", "whole", "s07"), rerun: ("rerun sink", "whole", "s07")}


def test_files_that_exist_are_named_before_anything_starts(tmp_path: Path) -> None:
    for option, name in (("--mcap", "x.mcap"), ("--rerun", "x.rrd")):
        (tmp_path / name).write_bytes(b"precious")
        done = run("sfam-live", "--camera", "demo", option, tmp_path / name, "--out", tmp_path / "s")
        assert (done.returncode, "exists already and is never overwritten" in done.stderr) == (5, True), done.stderr
        assert (tmp_path / name).read_bytes() == b"precious"
    assert not (tmp_path / "s").exists()
