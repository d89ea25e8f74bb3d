"""The bus and the exports from the command line."""

from __future__ import annotations

import csv
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from mcap.reader import make_reader

from sfam.sinks.copies import copies_of
from sfam.sinks.export_bids import DATASET_FILES
from sfam.sinks.publisher import Publisher
from sfam.sinks.wire_fields import event_fields, score_fields
from tests.app.command import BIN, environment, run, start
from tests.shared_data import shared
from tests.sinks.rrd_file import read_rrd
from tests.sinks.session_parts import CLASSES, event, frame_result, session_info
from tests.sinks.test_subscriber import ENDLESS_PUBLISHER, ROOT
from tests.sinks.waiting import until


def free_port() -> int:
    with zmq.Context() as context, context.socket(zmq.REP) as probe:
        return probe.bind_to_random_port("tcp://127.0.0.1")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of its own")
def test_a_session_over_keys_is_logged_elsewhere_with_the_same_events(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    made = run("sfam", "keys", "new", keys, "--client", "lab")
    assert made.returncode == 0, made.stderr
    files = [Path(line.removeprefix("wrote ")) for line in made.stdout.splitlines()]
    secret = next(path for path in files if "lab" in path.name and "secret" in path.name)
    server = next(path for path in files if "server" in path.name and "secret" not in path.name)
    address = f"tcp://127.0.0.1:{free_port()}"
    log = start("sfam", "log", address, "--out", tmp_path / "copy", "--key", secret, "--server-key", server,
                "--timeout", "180")  # fmt: skip
    stranger = start("sfam", "tail", address, "--timeout", "6")
    original = ("--camera", shared("recordings/face_a.bag"), "--speed", "max", "--out", tmp_path / "original")
    with paused_session(*original, "--publish", address, "--set", f"sinks.keys={keys}") as (live, terminal):
        # The log makes its folder when it hears of the session: only then does the first frame go.
        until(lambda: (tmp_path / "copy" / "scores.csv").exists(), "the log joined", 180)
        os.write(terminal, b"p")
        assert live.wait(180) == 0
    told, errors = log.communicate(timeout=180)
    heard, refused = stranger.communicate(timeout=180)
    assert (heard, stranger.returncode) == ("", 5), refused
    assert log.returncode == 0, told + errors
    assert len(rows(tmp_path / "original" / "events.csv")) >= 1
    for table in ("scores.csv", "events.csv", "events.jsonl"):
        assert (tmp_path / "copy" / table).read_bytes() == (tmp_path / "original" / table).read_bytes(), table


@pytest.mark.parametrize(("killed", "code", "lacks"), [
    (False, 0, "sfam: incomplete: the log began after the session\n"),
    (True, 5, "sfam: incomplete: the log began after the session; the session failed, or its end was not heard\n"),
])  # fmt: skip
def test_a_late_log_says_so_and_fails_only_where_more_is_missing(
    tmp_path: Path, killed: bool, code: int, lacks: str
) -> None:
    with Publisher("tcp://127.0.0.1:*", session_info()) as publisher:
        publisher.publish("score", score_fields(frame_result(0), CLASSES))
        log = start("sfam", "log", publisher.address, "--out", tmp_path / "log", "--timeout", "60")
        until(lambda: publisher.wants("score"), "the log joined", 60)
        publisher.publish("score", score_fields(frame_result(1), CLASSES))
        publisher.close(state="failed" if killed else "ended")
        _, errors = log.communicate(timeout=60)
    assert (log.returncode, errors) == (code, lacks)


@contextmanager
def paused_session(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`sfam-live` before its first frame, in a terminal of its own, and where to press keys: p lets it run."""
    keyboard, screen = os.openpty()
    command = [str(BIN / "sfam-live"), "--step", *map(str, arguments)]
    live = subprocess.Popen(
        command, stdin=screen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )
    try:
        yield live, keyboard
    finally:
        live.kill()
        live.wait()
        os.close(keyboard)
        os.close(screen)


def test_tail_prints_the_kinds_asked_for_and_takes_a_lost_connection_up_again() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    tail = start("sfam", "tail", address, "--kind", "event", "--json", "--timeout", "120")
    heard: queue.Queue[dict[str, object]] = queue.Queue()

    def listen() -> None:
        assert tail.stdout is not None
        for line in tail.stdout:
            heard.put(json.loads(line))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        with subprocess.Popen([sys.executable, "-c", ENDLESS_PUBLISHER, address], cwd=ROOT) as first:
            said = heard.get(timeout=120)
            assert (said["schema"], said["session"]) == ("sfam.event/1", "one")
            first.kill()
        with Publisher(address, session_info("two")) as second:
            until(lambda: second.wants("event"), "tail came back", 120)
            second.publish("event", event_fields(event(7), CLASSES))
        while (said := heard.get(timeout=120))["session"] == "one":
            pass
        assert (said["session"], said["id"]) == ("two", 7)
        assert tail.wait(120) == 0
    finally:
        tail.kill()
        tail.wait()
        listener.join()
        for pipe in (tail.stdout, tail.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture(scope="module")
def recorded_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    session = tmp_path_factory.mktemp("export") / "session"
    done = run("sfam-live", "--camera", shared("recordings/face_a.bag"), "--speed", "max", "--publish", "none",
               "--single-process", "--out", session, "--set", "sinks.landmarks=true", "--record", "--privacy", "full",
               "--to", "3")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return session


@pytest.mark.parametrize("form", ["megc", "bids", "boris", "elan", "openface", "mcap", "rerun"])
def test_a_session_is_exported(form: str, recorded_session: Path, tmp_path: Path) -> None:
    exported = run("sfam", "export", recorded_session, "--format", form, "--out", tmp_path)
    assert exported.returncode == 0, exported.stderr
    written = [Path(line.removeprefix("wrote ")) for line in exported.stdout.splitlines()]
    assert written
    assert all(path.stat().st_size for path in written)
    listed = {copy.path for copy in copies_of(recorded_session) if copy.what == f"{form} export"}
    assert listed == set(written) - {tmp_path / name for name in DATASET_FILES}
    if form == "megc":
        assert list(rows(written[0])[0]) == ["subject", "video", "onset", "offset", "emotion"]
        assert json.loads(written[1].read_text())["index_base"] == 0
    elif form == "mcap":
        check_mcap(written[0], recorded_session)
    elif form == "rerun":
        check_rerun(written[0], recorded_session)


def check_mcap(path: Path, session: Path) -> None:
    """Every row, event and picture of the session stands in the file, picture and boxes under one time."""
    times: dict[str, list[int]] = {}
    with path.open("rb") as file:
        for _, channel, message in make_reader(file).iter_messages():
            times.setdefault(channel.topic.rpartition("/")[2], []).append(message.log_time)
    table = rows(session / "scores.csv")
    assert times["score"] == [int(row["t_capture_ns"]) for row in table]
    assert times["image"] == times["annotations"] == times["score"]
    assert len(times["event"]) == len(rows(session / "events.csv"))


def check_rerun(path: Path, session: Path) -> None:
    """Pictures, depth, points with arrows, scores and events, read back by the package itself."""
    found = read_rrd(path)
    assert found["camera"].is_static
    for entity in ("camera/color", "camera/depth", "flow/0", "camera/flow/0", "score/0/spot", "event/0"):
        assert set(found[entity].timelines) == {"capture", "frame"}, entity
    scored = [row for row in rows(session / "scores.csv") if row["spot"]]
    assert found["score/0/spot"].rows == len(scored)
    assert 0 < found["camera/depth"].rows == found["camera/color"].rows <= 32
    assert found["events"].rows == len(rows(session / "events.csv"))


def test_media_for_a_format_without_media_is_refused(tmp_path: Path) -> None:
    done = run("sfam", "export", tmp_path, "--format", "megc", "--media", "film.mp4")
    assert done.returncode == 2
    assert "--media belongs to" in done.stderr


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
