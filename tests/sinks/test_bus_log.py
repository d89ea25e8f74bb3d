from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import zmq

from sfam.sinks.bus_log import LOST_ON_BUS, BusLog, log_bus
from sfam.sinks.publisher import Publisher
from sfam.sinks.session_folder import SessionFolder
from sfam.sinks.session_info import SessionState
from sfam.sinks.session_reader import read_session
from sfam.sinks.shared_bus import SharedBus
from sfam.sinks.sink_error import SilenceError, SinkError
from sfam.sinks.wire import Kind, Stamps, encode_header
from sfam.sinks.wire_fields import event_fields, score_fields
from tests.sinks.session_parts import ANY_PORT, CLASSES, event, frame_result, session_info
from tests.sinks.test_publisher import wait_until_wanted
from tests.sinks.waiting import until


class Logger(threading.Thread):
    def __init__(self, address: str, out: Path, timeout_s: float = 10, camera: str | None = None) -> None:
        super().__init__(daemon=True)
        self.address, self.out, self.timeout_s, self.camera = address, out, timeout_s, camera
        self.log: BusLog | None = None
        self.start()

    def run(self) -> None:
        self.log = log_bus(self.address, self.out, timeout_s=self.timeout_s, camera=self.camera)

    def ended(self) -> BusLog:
        self.join(timeout=15)
        assert self.log is not None
        return self.log


def test_the_bus_gives_the_same_tables_as_the_session_itself(tmp_path: Path) -> None:
    info = session_info()
    with (
        Publisher(ANY_PORT, info) as publisher,
        SessionFolder(tmp_path / "own", info) as folder,
    ):
        logger = Logger(publisher.address, tmp_path / "elsewhere")
        wait_until_wanted(publisher, "score")
        for number in range(150):
            result = frame_result(number)
            folder.row(result)
            stamps = Stamps(result.t_capture_ns, result.t_device_ns)
            publisher.publish("score", score_fields(result, CLASSES), stamps)
        for state in (event(0, "provisional"), event(0), event(1, "withdrawn", 50)):
            folder.event(state)
            publisher.publish("event", event_fields(state, CLASSES))
        publisher.close({"offered": 150})
        log = logger.ended()
    assert log == BusLog("test", 150, 0, 0, False, 0, True)
    for name in ("scores.csv", "events.csv", "events.jsonl"):
        assert (tmp_path / "own" / name).read_bytes() == (tmp_path / "elsewhere" / name).read_bytes()
    summary = json.loads((tmp_path / "elsewhere" / "session.json").read_text())
    assert summary["state"] == "ended"
    assert summary["counters"]["offered"] == 150
    assert summary["model"] == {"name": "synthetic-4", "limits": ["not evaluated on any real face"]}


@pytest.mark.parametrize("named", [None, "right"])
def test_of_several_cameras_one_is_logged(tmp_path: Path, named: str | None) -> None:
    bus = SharedBus(ANY_PORT, ("left", "right"))
    left, right = (Publisher(bus.socket.address, session_info(camera=one), bus=bus) for one in ("left", "right"))
    logger = Logger(left.address, tmp_path / "log", camera=named)
    until(lambda: right.wants("score") and (named is not None or left.wants("score")), "the log subscribed", 60)
    for number in range(20):
        for publisher, length in ((left, 20), (right, 12)):
            if number < length:
                publisher.publish("score", score_fields(frame_result(number), CLASSES), Stamps(number))
    right.close()
    left.close()
    log = logger.ended()
    summary = json.loads((tmp_path / "log" / "session.json").read_text())
    assert summary["camera"] in ("left", "right") if named is None else summary["camera"] == named
    assert (log.rows, log.lost_rows, log.complete) == ({"left": 20, "right": 12}[summary["camera"]], 0, True)
    with (tmp_path / "log" / "scores.csv").open(newline="") as table:
        assert [int(row["frame"]) for row in csv.DictReader(table)] == list(range(log.rows))


Said = tuple[Kind, int, Mapping[str, object]]
"""Kind, number and fields of a message."""


def session(seq: int, state: SessionState, **more: object) -> Said:
    return "session", seq, {**session_info().fields(state, {"offered": 40}), **more}


def scores(frames: Iterable[int], ahead: int = 0) -> list[Said]:
    """Scores of these frames, one face each, whose numbers are those of the frames and so many more."""
    return [("score", frame + ahead, score_fields(frame_result(frame), CLASSES)) for frame in frames]


def say(context: zmq.Context[zmq.Socket[bytes]], messages: list[Said]) -> zmq.Socket[bytes]:
    """A publisher of just these messages, which then falls silent."""
    xpub = context.socket(zmq.XPUB)
    xpub.setsockopt(zmq.LINGER, 500)
    xpub.bind_to_random_port("tcp://127.0.0.1")

    def serve() -> None:
        xpub.recv()
        for kind, seq, fields in messages:
            stamps = Stamps(seq, seq) if kind == "score" else Stamps()
            xpub.send_multipart(
                [f"sfam/demo/{kind}".encode(), encode_header(kind, "test", "demo", seq, stamps, 0, fields)]
            )

    threading.Thread(target=serve, daemon=True).start()
    return xpub


def logged(folder: Path, messages: list[Said]) -> tuple[BusLog, dict[int, str]]:
    """The log of these messages, and the cause of each row by its frame."""
    with zmq.Context() as context, say(context, messages) as xpub:
        log = log_bus(xpub.getsockopt_string(zmq.LAST_ENDPOINT), folder, timeout_s=0.6)
    with (folder / "scores.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == log.rows
    assert {row["success"] for row in rows if row["cause"] == LOST_ON_BUS} <= {"0"}
    return log, {int(row["frame"]): row["cause"] for row in rows}


def lost_frames(causes: dict[int, str]) -> list[int]:
    return [frame for frame, cause in causes.items() if cause == LOST_ON_BUS]


def test_lost_scores_get_a_row_each_with_their_cause(tmp_path: Path) -> None:
    heard = [frame for frame in range(60) if frame not in range(40, 50)]
    log, causes = logged(tmp_path / "log", [session(0, "running"), *scores(heard)])
    assert log == BusLog("test", 60, 10, 10, False, 0, False)
    assert (list(causes), lost_frames(causes)) == (list(range(60)), list(range(40, 50)))
    summary = json.loads((tmp_path / "log" / "session.json").read_text())
    assert summary["state"] == "failed"
    assert summary["counters"]["lost_on_bus"] == {"messages": 10, "rows": 10, "late": False, "restarts": 0}
    assert "silence" in summary["counters"]


NOTHING = {"first_seq": {"score": 0, "event": 0}, "next_seq": {"score": 0, "event": 0}}


def test_scores_lost_before_the_first_and_after_the_last_are_rows_too(tmp_path: Path) -> None:
    end = {"first_seq": NOTHING["first_seq"], "next_seq": {"score": 40, "event": 3}}
    messages = [session(0, "running", **NOTHING), *scores(range(5, 30)), session(1, "ended", **end)]
    log, causes = logged(tmp_path / "log", messages)
    assert log == BusLog("test", 40, 15, 18, False, 0, True)
    assert (list(causes), lost_frames(causes)) == (list(range(40)), [*range(5), *range(30, 40)])
    assert not log.complete
    assert log.lacks() == ["18 messages were lost"]


def test_a_log_that_begins_late_says_so_and_calls_nothing_lost(tmp_path: Path) -> None:
    with Publisher(ANY_PORT, session_info()) as publisher:
        for number in range(40):
            if number == 30:
                logger = Logger(publisher.address, tmp_path / "log")
                wait_until_wanted(publisher, "score")
            publisher.publish("score", score_fields(frame_result(number), CLASSES), Stamps(number))
        publisher.close({"offered": 40})
        log = logger.ended()
    assert log == BusLog("test", 10, 0, 0, True, 0, True)
    assert log.lacks() == ["the log began after the session"]


def test_another_analysis_is_said_and_its_jump_in_numbers_is_no_loss(tmp_path: Path) -> None:
    begun = {"score": 1_000, "event": 1_000, "session": 1_000}
    again = {"first_seq": begun, "next_seq": {"score": 1_000, "event": 1_000}}
    end = {"first_seq": begun, "next_seq": {"score": 1_032, "event": 1_000}}
    messages = [
        session(0, "running", **NOTHING),
        *scores(range(10)),
        session(1_000, "started", **again),
        *scores(range(8, 40), 992),  # two that the other one's files lack, but not the bus
        session(1_001, "ended", **end),
    ]
    log, causes = logged(tmp_path / "log", messages)
    assert log == BusLog("test", 40, 0, 0, False, 1, True)
    assert list(causes) == list(range(40))
    assert not log.complete
    summary = json.loads((tmp_path / "log" / "session.json").read_text())
    assert summary["counters"]["lost_on_bus"] == {"messages": 0, "rows": 0, "late": False, "restarts": 1}


def test_silence_from_the_start_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SilenceError):
        log_bus("tcp://127.0.0.1:9", tmp_path / "log", timeout_s=0.2)
    assert not (tmp_path / "log").exists()


def test_leaving_ends_the_log(tmp_path: Path) -> None:
    until = time.monotonic() + 1.0
    with Publisher(ANY_PORT, session_info()) as publisher:
        log = log_bus(publisher.address, tmp_path / "log", running=lambda: time.monotonic() < until)
    assert (log.rows, log.complete) == (0, False)


def test_a_session_is_read_back(tmp_path: Path) -> None:
    with SessionFolder(tmp_path, session_info()) as folder:
        for number in range(30):
            folder.row(frame_result(number))
        folder.event(event(1, "confirmed", 20))
        folder.event(event(0, "confirmed", 10))
    with (tmp_path / "scores.csv").open("a") as table:
        table.write("30,0,1.00")
    record = read_session(tmp_path)
    assert record.events == [event(0, "confirmed", 10), event(1, "confirmed", 20)]
    assert (len(record.scores), record.subject, record.video, record.classes) == (30, "s01", "face, a", CLASSES)
    assert record.frame_s() == pytest.approx(1 / 30, rel=1e-3)


def test_what_is_no_session_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"is no session folder: session\.json is missing"):
        read_session(tmp_path)
    (tmp_path / "session.json").write_text("{")
    with pytest.raises(SinkError, match="cannot be read"):
        read_session(tmp_path)
