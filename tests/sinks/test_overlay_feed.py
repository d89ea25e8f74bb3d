from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest

from sfam.capture.frame import Intrinsics, RGBDFrame
from sfam.sinks.live_frames import LiveFrame
from sfam.sinks.overlay_feed import HEADER_BYTES, KEPT_PICTURES, KEPT_SCORES, CameraFeed
from sfam.sinks.pixelate import pixelated
from sfam.sinks.wire import Kind, Stamps, WireError, decode, encode_header, topic_of
from sfam.sinks.wire_fields import (
    event_fields,
    face_fields,
    flow_fields,
    flow_payload,
    frame_fields,
    frame_payload,
    score_fields,
)
from tests.sinks.session_parts import (
    CLASSES,
    FRAME_NS,
    event,
    face_track,
    frame_result,
    rgbd_frame,
    scene_flow,
    session_info,
)


def take(feed: CameraFeed, kind: Kind, fields: dict[str, object], frame: int = 0, payload: bytes | None = None) -> None:
    header = encode_header(kind, str(fields.get("session", "test")), "demo", 0, Stamps(frame * FRAME_NS), 0, fields)
    parts = [topic_of("demo", kind).encode(), header]
    feed.take(decode(parts if payload is None else [*parts, payload]))


def begin(feed: CameraFeed, privacy: str = "results", blind: bool = False) -> None:
    info = dataclasses.replace(session_info(), privacy=privacy, blind=blind)
    take(feed, "session", info.fields("running", {}))


def score(feed: CameraFeed, frame: int) -> None:
    take(feed, "score", score_fields(frame_result(frame), CLASSES), frame)


def picture(feed: CameraFeed, frame: int) -> None:
    found = rgbd_frame(frame)
    take(feed, "frame", frame_fields(found), frame, frame_payload(found.color))


def flow(feed: CameraFeed, frame: int) -> None:
    take(feed, "flow", flow_fields(scene_flow(frame)), frame, flow_payload(scene_flow(frame)))


def unpacked(message: bytes) -> tuple[dict[str, object], np.ndarray, bytes]:
    text, field = HEADER_BYTES.unpack_from(message)
    begin_field = HEADER_BYTES.size + text
    motion = np.frombuffer(message[begin_field : begin_field + field], "<f4")
    return json.loads(message[HEADER_BYTES.size : begin_field]), motion, message[begin_field + field :]


def test_a_picture_waits_for_its_own_score() -> None:
    feed = CameraFeed()
    begin(feed)
    score(feed, 10)
    picture(feed, 11)
    assert feed.picture(0) is None
    score(feed, 11)
    found = feed.picture(0)
    assert found is not None
    header, _, jpeg = unpacked(found[1])
    assert header["frame"] == 11
    assert header["faces"][0]["spot"] == pytest.approx(frame_result(11).score.spot, abs=1e-6)  # type: ignore[index, union-attr]
    assert jpeg.startswith(b"\xff\xd8")
    assert feed.picture(found[0]) is None, "the same picture twice"


def test_the_newest_picture_that_has_its_motion_goes_first() -> None:
    feed = CameraFeed()
    begin(feed)
    for frame in (20, 22):
        score(feed, frame)
        take(feed, "face", face_fields(face_track(), frame), frame)
        picture(feed, frame)
    flow(feed, 20)
    found = feed.picture(0)
    assert found is not None
    header, motion, _ = unpacked(found[1])
    assert (header["frame"], header["flow_frame"]) == (20, 20)
    assert header["crop"] == {"x": 18, "y": 8, "size": 24}
    whole = scene_flow(20).u[4::8, 4::8]
    np.testing.assert_allclose(motion.reshape(3, 16, 16)[0], whole, atol=1e-3)


def test_motion_of_long_ago_is_not_drawn_on_a_picture() -> None:
    feed = CameraFeed()
    begin(feed)
    flow(feed, 20)
    score(feed, 23)
    picture(feed, 23)
    found = feed.picture(0)
    assert found is not None
    header, motion, _ = unpacked(found[1])
    assert header["flow_frame"] is None
    assert motion.size == 0


@pytest.mark.parametrize(
    ("privacy", "picture_leaves", "motion_leaves"), [("results", 0, 0), ("flow", 0, 0), ("full", 1, 1)]
)
def test_beyond_this_machine_the_privacy_tier_decides(privacy: str, picture_leaves: int, motion_leaves: int) -> None:
    feed = CameraFeed(on_this_machine=False)
    begin(feed, privacy)
    score(feed, 20)
    picture(feed, 20)
    flow(feed, 20)
    found = feed.picture(0)
    assert (found is not None) == bool(picture_leaves)
    if found is not None:
        assert (unpacked(found[1])[1].size > 0) == bool(motion_leaves)


def live(number: int) -> LiveFrame:
    return LiveFrame.of(rgbd_frame(number))


def test_a_frame_of_the_ring_waits_for_its_score_and_comes_with_its_depth() -> None:
    feed = CameraFeed()
    begin(feed)
    for number in range(10, 14):
        feed.take_live(live(number))
    assert feed.picture(0) is None
    score(feed, 12)
    found = feed.picture(0)
    assert found is not None
    header, _, images = unpacked(found[1])
    depth_bytes = int(str(header["depth_bytes"]))
    assert (header["frame"], header["width"], header["height"]) == (12, 64, 48)
    assert header["depth_m"] == [0.6, 1.1]
    color, depth = decoded(images[depth_bytes:]), decoded(images[:depth_bytes])
    np.testing.assert_allclose(color[20, 30], (200, 120, 90), atol=12)
    assert depth[20, 30, 0] > depth[20, 30, 2], "near is red"


def decoded(jpeg: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image[:, :, ::-1])


@pytest.mark.parametrize(("privacy", "sharp"), [("results", None), ("flow", None), ("blurred", False), ("full", True)])
def test_beyond_this_machine_frames_of_the_ring_follow_the_tier_too(privacy: str, sharp: bool | None) -> None:
    feed = CameraFeed(on_this_machine=False)
    begin(feed, privacy)
    row, column = np.mgrid[0:48, 0:64]
    color = np.repeat((120 + 100 * np.sin(row + column / 2)).astype(np.uint8)[:, :, None], 3, axis=2)
    feed.take_live(LiveFrame.of(dataclasses.replace(rgbd_frame(20), color=color)))
    score(feed, 20)
    found = feed.picture(0)
    assert (found is None) == (sharp is None)
    if found is not None:
        header, _, images = unpacked(found[1])
        depth_bytes = int(str(header["depth_bytes"]))
        assert bool(depth_bytes) == sharp
        shown = decoded(images[depth_bytes:]).astype(int)
        hidden = pixelated(color, ((20.0, 10.0, 20.0, 20.0),))
        off = [float(np.abs(shown - one).mean()) for one in (color, hidden)]
        assert (off[0] < off[1]) == sharp
        assert min(off) < 20


def test_a_wide_frame_is_made_small_and_boxes_keep_their_pixels() -> None:
    color, depth = np.zeros((1080, 1920, 3), np.uint8), np.zeros((1080, 1920), np.uint16)
    wide = RGBDFrame.from_arrays(color, depth, Intrinsics(1920, 1080, 900.0, 900.0, 960.0, 540.0), 0)
    small = LiveFrame.of(wide)
    assert (small.width, small.color.shape, small.depth.shape) == (1920, (540, 960, 3), (180, 320, 3))
    assert not small.depth.any(), "unknown depth is black"


def test_a_blind_feed_holds_no_result_even_where_the_bus_does() -> None:
    feed = CameraFeed()
    begin(feed, blind=True)
    score(feed, 20)
    picture(feed, 20)
    flow(feed, 20)
    take(feed, "event", event_fields(event(), CLASSES), 20)
    _, news = feed.news(0)
    found = feed.picture(0)
    assert found is not None
    header, motion, _ = unpacked(found[1])
    assert news["events"] == []
    assert news["scores"][0][3] is None
    assert header["faces"][0]["spot"] is None  # type: ignore[index]
    assert motion.size == 0


def test_news_come_once_and_a_late_page_gets_all_of_them() -> None:
    feed = CameraFeed()
    begin(feed)
    score(feed, 10)
    take(feed, "event", event_fields(event(), CLASSES), 20)
    serial, first = feed.news(0)
    assert first["session"]["session"] == "test"
    assert len(first["scores"]) == len(first["events"]) == 1
    again = feed.news(serial)[1]
    assert again["scores"] == again["events"] == []
    assert "session" not in again
    score(feed, 11)
    assert [row[0] for row in feed.news(serial)[1]["scores"]] == [11]
    assert len(feed.news(0)[1]["scores"]) == 2


def test_a_new_session_starts_from_nothing() -> None:
    feed = CameraFeed()
    begin(feed)
    score(feed, 500)
    picture(feed, 500)
    shown = feed.picture(0)
    assert shown is not None
    take(feed, "session", {**dataclasses.replace(session_info("next")).fields("running", {}), "session": "next"})
    assert feed.news(0)[1]["scores"] == []
    score(feed, 10)
    picture(feed, 10)
    found = feed.picture(shown[0])
    assert found is not None
    assert unpacked(found[1])[0]["frame"] == 10


def test_it_holds_no_more_than_it_shows() -> None:
    feed = CameraFeed()
    begin(feed)
    for frame in range(10, KEPT_SCORES + 200):
        score(feed, frame)
        picture(feed, frame)
    assert len(feed.news(0)[1]["scores"]) == KEPT_SCORES
    assert len(feed._pictures) == KEPT_PICTURES


def test_another_major_version_is_refused() -> None:
    feed = CameraFeed()
    with pytest.raises(WireError):
        take(feed, "status", {"schema": "sfam.status/2"})
