"""A session folder whose writer was killed is taken up by another process; one on a full disk says so itself."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sfam.sinks.growing_file import GrowingFile
from sfam.sinks.session_folder import SessionFolder
from sfam.sinks.unfinished_session import UnfinishedSession
from tests.sinks.session_parts import event, frame_result, session_info
from tests.sinks.test_session_folder import ENDLESS_WRITER, ROOT, write_session

TINY_DISK = """
import json, pathlib, sys, time
from sfam.sinks.session_folder import SessionFolder
from sfam.sinks.sink_error import SinkError
from tests.sinks.session_parts import frame_result, session_info
path = pathlib.Path(sys.argv[1]) / "session"
folder = SessionFolder(path, session_info())
try:
    for number in range(20000):
        folder.row(frame_result(number))
        time.sleep(0.0002)
except SinkError as error:
    summary = json.loads((path / "session.json").read_text())
    rows = (path / "scores.csv").read_text()
    print(json.dumps({
        "error": str(error), "state": summary["state"], "why": summary["writing_failed"],
        "rows": rows.count("\\n") - 1, "counted": summary["rows"]["scores.csv"], "whole": rows.endswith("\\n"),
    }))
"""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_a_killed_writers_folder_goes_on_without_a_missing_or_double_row(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS_WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        while "300 " not in (line := writer.stdout.readline()):
            assert line
        writer.kill()
    with (path / "scores.csv").open("ab") as scores:
        scores.write(b"9999,0,1.2")  # the line that was being written
    left = UnfinishedSession.read(path)
    assert left.next_frame > 0
    assert sum(left.causes.values()) == left.next_frame
    assert left.first_ns == 0
    with SessionFolder(path, session_info(), "a: 1\n", resume=left) as folder:
        for number in range(left.next_frame, left.next_frame + 50):
            folder.row(frame_result(number))
    found = rows(path / "scores.csv")
    assert [int(row["frame"]) for row in found] == list(range(left.next_frame + 50))
    assert float(found[-1]["timestamp"]) == pytest.approx((left.next_frame + 49) / 30, abs=1e-3)
    summary = json.loads((path / "session.json").read_text())
    assert summary["state"] == "ended"
    assert summary["rows"]["scores.csv"] == len(found)
    assert not (path / ".reserve").exists()


def test_what_was_taken_up_equals_what_was_never_interrupted(tmp_path: Path) -> None:
    write_session(tmp_path / "whole")
    path = shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    lines = (path / "scores.csv").read_bytes().splitlines(keepends=True)
    (path / "scores.csv").write_bytes(b"".join(lines[:41]) + lines[41][:20])
    left = UnfinishedSession.read(path)
    assert left.next_frame == 40
    with SessionFolder(path, session_info(), "capture:\n  camera: demo\n", resume=left) as folder:
        for number in range(40, 100):
            folder.row(frame_result(number))
    assert (path / "scores.csv").read_bytes() == (tmp_path / "whole" / "scores.csv").read_bytes()


def test_confirmed_events_that_were_not_listed_any_more_are_listed_and_open_ones_are_known(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with SessionFolder(path, session_info()) as folder:
        for number in range(3):
            folder.event(event(number, "provisional", 10 * number))
        folder.event(event(0, "confirmed", 0))
        folder.event(event(1, "confirmed", 10))
    table = path / "events.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:2]))
    left = UnfinishedSession.read(path)
    assert [found.id for found in left.unlisted] == [1]
    assert [found.id for found in left.open_events] == [2]
    with SessionFolder(path, session_info(), resume=left) as folder:
        folder.event(replace(left.open_events[0], state="withdrawn"))
    assert [row["id"] for row in rows(table)] == ["0", "1"]


def test_a_file_of_several_blocks_is_taken_up_behind_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"head\n" + b"x" * 99 + b"\n" * 1 + b"y\n" * 60_000 + b"z" * 70_000)
    file = GrowingFile(path, "head\n", resume=True)
    assert file.lines == 60_001
    file.append("end\n")
    file.close()
    assert path.read_bytes().endswith(b"y\nend\n")
    assert file.lines == 60_002


@pytest.mark.skipif(sys.platform != "linux", reason="a small file system of its own needs Linux")
def test_a_full_disk_is_told_in_the_room_that_was_kept_for_it(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=700k tmpfs {tmp_path}"
    if subprocess.run(["unshare", "-Urm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount; test_session_folder limits the size of files instead")
    script = f'{mount} && exec "$0" -c "$1" "$2"'
    told = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, sys.executable, TINY_DISK, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert "No space left on device" in found["error"]
    assert (found["state"], found["why"]) == ("failed", "No space left on device")
    assert found["rows"] == found["counted"] > 100
    assert found["whole"]
