"""Results as MCAP, read back by the libraries that Foxglove publishes."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader

from sfam.capture.mcap_file import RecordingError
from sfam.sinks.mcap_sink import write_mcap
from sfam.sinks.publisher import Publisher
from sfam.sinks.results_mcap import ResultsMcap
from sfam.sinks.session_info import SessionInfo
from sfam.sinks.wire import Stamps
from sfam.sinks.wire_fields import event_fields, frame_fields, frame_payload, score_fields
from tests.sinks.session_parts import ANY_PORT, CLASSES, FRAME_NS, event, frame_result, rgbd_frame, session_info
from tests.sinks.waiting import until

UTC_NS = 1_700_000_000_000_000_000
COLOR = {"fx": 60.0, "fy": 60.0, "ppx": 32.0, "ppy": 24.0}


def info(privacy: str = "results") -> SessionInfo:
    return dataclasses.replace(session_info(), privacy=privacy, devices={"color": COLOR})


def written(tmp_path: Path, privacy: str, pictures: bool, frames: int = 40) -> dict[str, int]:
    """A session of some frames with one event, through a real bus into `out.mcap`."""
    with Publisher(ANY_PORT, info(privacy)) as publisher:
        done: list[dict[str, int]] = []
        joined = threading.Event()
        path = tmp_path / "out.mcap"
        sink = threading.Thread(
            target=lambda: done.append(write_mcap(publisher.address, path, pictures=pictures, joined=joined.set))
        )
        sink.start()
        assert joined.wait(60)
        until(lambda: publisher.wants("event"), "the sink subscribed", 60)
        if pictures:
            until(lambda: publisher.wants("frame"), "the sink subscribed to pictures", 60)
        for number in range(frames):
            stamps = Stamps(number * FRAME_NS, number * FRAME_NS, UTC_NS + number * FRAME_NS)
            result = dataclasses.replace(frame_result(6), frame=number, box=(20.0, 10.0, 20.0, 20.0))
            publisher.publish("score", score_fields(result, CLASSES), stamps)
            if number == 25:
                publisher.publish("event", event_fields(event(), CLASSES), stamps)
            if publisher.wants("frame"):
                picture = rgbd_frame(number)
                publisher.publish("frame", frame_fields(picture), stamps, frame_payload(picture.color))
                until(lambda: not publisher._waiting, "the picture left", 60)
        publisher.publish("event", event_fields(event(1, "withdrawn"), CLASSES))
        publisher.close()
        sink.join(60)
        assert not sink.is_alive()
    return done[0]


def read(path: Path) -> dict[str, list[tuple[Any, Any, bytes]]]:
    """Messages by topic: schema, message and its data."""
    found: dict[str, list[tuple[Any, Any, bytes]]] = defaultdict(list)
    with path.open("rb") as file:
        reader = make_reader(file)
        assert reader.get_summary() is not None
        for schema, channel, message in reader.iter_messages():
            found[channel.topic].append((schema, message, message.data))
    return found


def as_protobuf(name: str, message: dict[str, Any]) -> Any:
    """The message parsed with the published schema: a field it does not know, or of another type, is an error."""
    json_format = importlib.import_module("google.protobuf.json_format")
    kind = getattr(importlib.import_module(f"foxglove_schemas_protobuf.{name}_pb2"), name)
    return json_format.ParseDict(protobuf_times(message), kind())


def protobuf_times(found: Any) -> Any:
    """Times as protobuf writes them in JSON."""
    if isinstance(found, list):
        return [protobuf_times(item) for item in found]
    if not isinstance(found, dict):
        return found
    if set(found) == {"sec", "nsec"}:
        at = np.datetime64(found["sec"] * 10**9 + found["nsec"], "ns")
        return f"{at}Z"
    return {key: protobuf_times(value) for key, value in found.items()}


def test_scores_events_and_boxes_of_a_session_are_read_by_foxglove_s_own_schemas(tmp_path: Path) -> None:
    counts = written(tmp_path, "results", pictures=False)
    found = read(tmp_path / "out.mcap")
    assert {topic: len(messages) for topic, messages in found.items()} == {
        "/sfam/demo/score": 40,
        "/sfam/demo/event": 2,
        "/sfam/demo/log": 3,
        "/sfam/demo/annotations": 40,
    }
    assert counts == {"demo score": 40, "demo event": 2, "demo log": 3, "demo annotations": 40}
    scores = [json.loads(data) for _, _, data in found["/sfam/demo/score"]]
    assert [score["frame"] for score in scores] == list(range(40))
    for number, (schema, message, data) in enumerate(found["/sfam/demo/annotations"]):
        assert (schema.name, schema.encoding) == ("foxglove.ImageAnnotations", "jsonschema")
        assert message.log_time == message.publish_time == UTC_NS + number * FRAME_NS
        drawn = as_protobuf("ImageAnnotations", json.loads(data))
        assert [(point.x, point.y) for point in drawn.points[0].points] == [(20, 10), (40, 10), (40, 30), (20, 30)]
        told = drawn.texts[0].text
        assert ("micro positive" in told) == (number > 25)
    lines = [as_protobuf("Log", json.loads(data)).message for _, _, data in found["/sfam/demo/log"]]
    assert lines[0] == "micro #0 confirmed: positive, frames 10 to 21, score 0.91"
    assert "withdrawn" in lines[1]


def test_pictures_are_stored_with_their_calibration_where_the_tier_allows(tmp_path: Path) -> None:
    written(tmp_path, "full", pictures=True, frames=8)
    found = read(tmp_path / "out.mcap")
    from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
    from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage

    pictures = [CompressedImage.FromString(data) for _, _, data in found["/sfam/demo/image"]]
    assert len(pictures) == 8
    image = cv2.imdecode(np.frombuffer(pictures[0].data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (48, 64, 3)
    assert (pictures[0].format, pictures[0].frame_id) == ("jpeg", "camera_color_optical_frame")
    [(schema, _, data)] = found["/sfam/demo/calibration"]
    calibration = CameraCalibration.FromString(data)
    assert (schema.name, calibration.width, calibration.K[2]) == ("foxglove.CameraCalibration", 64, 32.0)


@pytest.mark.parametrize("privacy", ["results", "flow"])
def test_pictures_meant_for_a_screen_are_never_stored_below_their_tier(tmp_path: Path, privacy: str) -> None:
    """An overlay may let pictures onto the loopback bus; the file must not keep them."""
    written(tmp_path, privacy, pictures=True, frames=4)
    assert not any("image" in topic or "calibration" in topic for topic in read(tmp_path / "out.mcap"))


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.mcap").write_bytes(b"precious")
    with pytest.raises(RecordingError, match="exists already and is never overwritten"):
        ResultsMcap(tmp_path / "out.mcap", {"camera": "demo", **info().fields("running", {})})
    assert (tmp_path / "out.mcap").read_bytes() == b"precious"


def test_a_killed_sink_leaves_what_it_had_flushed(tmp_path: Path) -> None:
    now_s = [0.0]
    session = {"camera": "demo", **info().fields("running", {})}
    file = ResultsMcap(tmp_path / "out.mcap", session, clock_s=lambda: now_s[0])
    for number in range(100):
        now_s[0] = number / 30
        result = dataclasses.replace(frame_result(6), frame=number)
        file.score(number * FRAME_NS, score_fields(result, CLASSES))
    left = (tmp_path / "out.mcap").read_bytes()
    frames = [json.loads(data)["frame"] for data in whole_messages(left)]
    assert frames == list(range(len(frames)))
    assert len(frames) >= 100 - 16


def whole_messages(left: bytes) -> Iterator[bytes]:
    """Score messages of the chunks that stand in a file without an end."""
    from mcap.exceptions import EndOfFile
    from mcap.records import Chunk, Message
    from mcap.stream_reader import StreamReader, breakup_chunk

    with suppress(EndOfFile):
        for record in StreamReader(io.BytesIO(left), skip_magic=False, emit_chunks=True).records:
            if isinstance(record, Chunk):
                for inner in breakup_chunk(record):
                    if isinstance(inner, Message) and inner.channel_id == 1:
                        yield inner.data
