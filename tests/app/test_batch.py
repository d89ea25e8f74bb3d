from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import psutil
import pytest

from sfam.app.batch import RECORD, Row, Task, content_hash, find_recordings, finished_row, plan
from sfam.app.batch_summary import page, table
from sfam.app.config import Config, load_config
from sfam.capture.source import SourceError
from tests.app.command import run, start
from tests.capture.video_writer import write_video
from tests.shared_data import shared
from tests.sinks.waiting import until


def settings(**flags: object) -> Config:
    return load_config(flags={f"app.{key}": value for key, value in flags.items()})


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two good recordings, one of them deeper down, and one without a single byte."""
    folder = tmp_path / "recordings"
    (folder / "day 2").mkdir(parents=True)
    small = shared("recordings/small_2.56.5_uncompressed.bag")
    shutil.copyfile(small, folder / "a.bag")
    shutil.copyfile(small, folder / "day 2" / "a.bag")
    (folder / "broken.bag").touch()
    (folder / "notes.txt").write_text("not a recording")
    return folder


def summary(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(newline="") as file:
        return {row["recording"]: row for row in csv.DictReader(file)}


@pytest.mark.slow  # starts six processes, one after the other
def test_all_recordings_run_failures_are_listed_and_nothing_finished_runs_again(
    recordings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (recordings / "annexed").symlink_to(tmp_path / "gone")
    done = run("sfam", "batch", recordings, "--out", out, "--workers", "2")
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines()[-2].startswith("failed: annexed: ")
    assert done.stderr.splitlines()[-1].startswith("failed: broken.bag: ")
    assert "empty" in done.stderr
    rows = summary(out)
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.bag": "done",
        "annexed": "failed",
        "broken.bag": "failed",
        "day 2/a.bag": "done",
    }
    assert rows["a.bag"]["frames"] == "10"
    assert (out / "day 2__a.bag" / "scores.csv").read_bytes() == (out / "a.bag" / "scores.csv").read_bytes()

    (recordings / "broken.bag").unlink()
    (recordings / "annexed").unlink()
    before = (out / "a.bag" / "session.json").stat().st_mtime_ns
    again = run("sfam", "batch", recordings, "--out", out)
    assert again.returncode == 0, again.stderr
    assert {row["status"] for row in summary(out).values()} == {"resumed"}
    assert (out / "a.bag" / "session.json").stat().st_mtime_ns == before
    assert {**summary(out)["a.bag"], "status": ""} == {**rows["a.bag"], "status": ""}


@pytest.mark.slow  # a run is started, interrupted and started again
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a process group")
def test_ctrl_c_ends_cleanly_and_the_next_run_goes_on(recordings: Path, tmp_path: Path) -> None:
    (recordings / "broken.bag").unlink()
    os.symlink(shared("recordings/face_a.bag"), recordings / "b.bag")
    out = tmp_path / "out"
    live = start("sfam", "batch", recordings, "--out", out, "--workers", "1")
    until((out / "a.bag" / RECORD).exists, "the first recording's end", 240)
    live.send_signal(signal.SIGINT)
    text, errors = live.communicate(timeout=120)
    assert live.returncode == 130, errors
    assert "Traceback" not in errors
    assert "not run: b.bag: interrupted" in errors
    assert text.startswith("1 of 3 recordings done")
    assert not (out / "b.bag" / RECORD).exists()
    done = run("sfam", "batch", recordings, "--out", out)
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in summary(out).values()] == ["resumed", "done", "done"]
    assert summary(out)["b.bag"]["frames"] == "180"


@pytest.mark.slow  # a run whose worker is killed
@pytest.mark.skipif(sys.platform == "win32", reason="kills by SIGKILL")
def test_a_killed_worker_is_one_failed_row_and_the_others_go_on(recordings: Path, tmp_path: Path) -> None:
    (recordings / "broken.bag").unlink()
    (recordings / "a.bag").unlink()
    os.symlink(shared("recordings/face_a.bag"), recordings / "a.bag")
    out = tmp_path / "out"
    live = start("sfam", "batch", recordings, "--out", out, "--workers", "1")
    until((out / "a.bag" / "scores.csv").exists, "the first recording's rows", 240)
    workers = psutil.Process(live.pid).children(recursive=True)
    next(worker for worker in workers if "spawn_main" in " ".join(worker.cmdline())).kill()
    _, errors = live.communicate(timeout=240)
    assert live.returncode == 1, errors
    rows = summary(out)
    assert "killed by SIGKILL" in rows["a.bag"]["error"]
    assert rows["day 2/a.bag"]["status"] == "done"


def finished(task: Task) -> None:
    """As a run that ended leaves the folder."""
    task.folder.mkdir(parents=True)
    (task.folder / "session.json").write_text("{}")
    row = {"recording": task.name, "status": "done", "frames": 10}
    record = {"row": row, "content_hash": content_hash(task.recording), "settings_hash": task.settings_hash}
    (task.folder / RECORD).write_text(json.dumps(record))


def test_a_finished_session_counts_only_for_the_same_settings_and_recording(recordings: Path, tmp_path: Path) -> None:
    task = plan(recordings, tmp_path / "out", settings())[0]
    assert finished_row(task) is None
    finished(task)
    row = finished_row(task)
    assert row is not None
    assert (row.status, row.frames) == ("resumed", 10)
    assert finished_row(plan(recordings, tmp_path / "out", settings(subject="s02"))[0]) is None
    with task.recording.open("r+b") as file:
        file.seek(2000)
        file.write(b"changed")
    assert finished_row(task) is None


def test_a_damaged_record_is_run_again(recordings: Path, tmp_path: Path) -> None:
    task = plan(recordings, tmp_path / "out", settings())[0]
    finished(task)
    (task.folder / RECORD).write_text('{"row": {"recording"')
    assert finished_row(task) is None


def test_folders_that_are_recordings_are_found_and_results_are_not(tmp_path: Path) -> None:
    (tmp_path / "tum").mkdir()
    for name in ("rgb.txt", "depth.txt", "extra.bag"):
        (tmp_path / "tum" / name).touch()
    (tmp_path / "nameless").write_bytes(b"#ROSBAG V2.0\n")
    (tmp_path / "out" / "s1").mkdir(parents=True)
    (tmp_path / "out" / "s1" / "recording.mcap").touch()
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "old.bag").touch()
    assert find_recordings(tmp_path, tmp_path / "out") == [tmp_path / "nameless", tmp_path / "tum"]
    with pytest.raises(SourceError, match="no recording below"):
        find_recordings(tmp_path / ".trash", tmp_path / ".trash")


@pytest.mark.skipif(sys.platform == "win32", reason="makes pipes, sockets and links")
def test_what_cannot_be_read_is_a_row_and_what_is_no_file_is_nothing(tmp_path: Path) -> None:
    for name in ("annexed.bag", "annexed"):
        (tmp_path / name).symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe.bag")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        tasks = plan(tmp_path, tmp_path / "out", settings())
    assert [task.name for task in tasks] == ["annexed", "annexed.bag"]
    with pytest.raises(SourceError, match=r"annexed cannot be read: .*No such file"):
        content_hash(tasks[0].recording)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="takes rights away as POSIX does")
def test_a_folder_without_rights_is_a_row_of_its_own(recordings: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(recordings / "a.bag", folder / "a.bag")
        (folder / "closed").mkdir(mode=0)
        folder.chmod(0o755)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # root may read everything
        try:
            assert find_recordings(folder, folder / "out") == [folder / "a.bag", folder / "closed"]
            with pytest.raises(SourceError, match=r"closed cannot be read: .*Permission denied"):
                content_hash(folder / "closed")
        finally:
            os.seteuid(user)


def test_a_recording_that_has_gone_since_it_was_done_is_run_again(recordings: Path, tmp_path: Path) -> None:
    task = plan(recordings, tmp_path / "out", settings())[0]
    finished(task)
    task.recording.unlink()
    assert finished_row(task) is None


def test_no_two_recordings_share_a_folder(tmp_path: Path) -> None:
    names = ["a/b.bag", "a__b.bag", "a_/b.bag", "a/_b.bag", "a___b.bag", "a_b.bag"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folders = {task.name: task.folder.name for task in plan(tmp_path, tmp_path / "out", settings())}
    assert set(folders) == set(names)
    assert len(set(folders.values())) == len(names)
    assert (folders["a/b.bag"], folders["a_b.bag"]) == ("a__b.bag", "a_b.bag")
    assert folders["a__b.bag"] == "a__b.bag_" + hashlib.sha256(b"a__b.bag").hexdigest()[:8]


@pytest.mark.slow  # runs two videos, a process each
def test_ordinary_video_is_taken_where_color_alone_was_asked_for(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    write_video(videos / "one.mp4")
    write_video(videos / "two.avi", "mjpeg")
    (videos / "notes.txt").write_text("not a recording")
    refused = run("sfam", "batch", videos, "--out", tmp_path / "none")
    assert (refused.returncode, "--color-only" in refused.stderr) == (3, True)
    done = run("sfam", "batch", videos, "--out", tmp_path / "out", "--color-only", "--workers", "1")
    assert done.returncode == 0, done.stderr
    rows = summary(tmp_path / "out")
    assert {name: (row["status"], row["frames"]) for name, row in rows.items()} == {
        "one.mp4": ("done", "20"),
        "two.avi": ("done", "20"),
    }


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href"}

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    rows = [Row("<b>.bag", "failed", error="a & b"), Row("z.bag", "done", micro=3, capture_s=7200.0)]
    cells = _Cells()
    cells.feed(page(rows))
    assert "b" not in cells.tags
    assert "script" not in cells.tags
    assert cells.text.index("z.bag") < cells.text.index("<b>.bag")
    assert "3 micro and 0 macro events in 2.00 h" in cells.text
    assert table(rows).splitlines()[1] == "<b>.bag,failed,,0,0,0,0.0,0.0,0,0,a & b"
