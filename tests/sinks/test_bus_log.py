from __future__ import annotations

import csv
import json
import threading
import time
from pathlib import Path

import pytest
import zmq

from sfam.sinks.bus_log import BusLog, log_bus
from sfam.sinks.publisher import Publisher
from sfam.sinks.session_folder import SessionFolder
from sfam.sinks.session_reader import read_session
from sfam.sinks.shared_bus import SharedBus
from sfam.sinks.sink_error import SilenceError, SinkError
from sfam.sinks.wire import Stamps, encode_header
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
    assert log == BusLog("test", 150, 0, 0, True)
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


def publish_with_gap(context: zmq.Context[zmq.Socket[bytes]], missing: range, last: int) -> zmq.Socket[bytes]:
    """A publisher whose messages 40 to 49 never arrive, and which then falls silent."""
    xpub = context.socket(zmq.XPUB)
    xpub.setsockopt(zmq.LINGER, 500)
    xpub.bind_to_random_port("tcp://127.0.0.1")

    def serve() -> None:
        xpub.recv()
        info = session_info()
        header = encode_header("session", "test", "demo", 0, Stamps(), 0, info.fields("running", {}))
        xpub.send_multipart([b"sfam/demo/session", header])
        for number in range(last):
            if number not in missing:
                fields = score_fields(frame_result(number), CLASSES)
                header = encode_header("score", "test", "demo", number, Stamps(number, number), 0, fields)
                xpub.send_multipart([b"sfam/demo/score", header])

    threading.Thread(target=serve, daemon=True).start()
    return xpub


def test_lost_scores_get_a_row_each_with_their_cause(tmp_path: Path) -> None:
    with zmq.Context() as context, publish_with_gap(context, range(40, 50), 60) as xpub:
        log = log_bus(xpub.getsockopt_string(zmq.LAST_ENDPOINT), tmp_path / "log", timeout_s=0.6)
    assert log == BusLog("test", 60, 10, 10, False)
    with (tmp_path / "log" / "scores.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [int(row["frame"]) for row in rows] == list(range(60))
    lost = [row for row in rows if row["cause"] == "lost_on_bus"]
    assert [int(row["frame"]) for row in lost] == list(range(40, 50))
    assert {row["success"] for row in lost} == {"0"}
    summary = json.loads((tmp_path / "log" / "session.json").read_text())
    assert summary["state"] == "failed"
    assert summary["counters"]["lost_on_bus"] == {"messages": 10, "rows": 10}
    assert "silence" in summary["counters"]


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
