from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfam.capture.frame import Intrinsics
from sfam.sinks.publisher import Publisher
from sfam.sinks.rerun_sink import send_to_rerun
from sfam.sinks.rerun_view import RerunView, Target, arrows_m, arrows_px
from sfam.sinks.session_info import SessionInfo
from sfam.sinks.sink_error import SinkError
from sfam.sinks.wire import Stamps
from sfam.sinks.wire_fields import (
    event_fields,
    flow_fields,
    flow_payload,
    frame_fields,
    frame_payload,
    score_fields,
)
from sfam.stream.ring import Ring
from sfam.stream.ring_writer import RingWriter
from sfam.stream.scene_flow import SceneFlow
from tests.sinks.rrd_file import Entity, read_rrd, require_rerun
from tests.sinks.session_parts import (
    ANY_PORT,
    CLASSES,
    FRAME_NS,
    event,
    frame_result,
    rgbd_frame,
    scene_flow,
    session_info,
)
from tests.sinks.waiting import until

FRAMES = 30


@pytest.fixture(autouse=True)
def rerun() -> None:
    require_rerun()


def info(privacy: str) -> SessionInfo:
    color = {"fx": 60.0, "fy": 60.0, "ppx": 32.0, "ppy": 24.0}
    return dataclasses.replace(session_info(), privacy=privacy, devices={"color": color, "live": True})


def logged(path: Path, privacy: str, rate_hz: float = 10.0) -> tuple[dict[str, Entity], dict[str, int]]:
    """What a file holds of a session of one second, sent through a real bus."""
    with Publisher(ANY_PORT, info(privacy)) as publisher:
        counts: dict[str, int] = {}
        joined = threading.Event()
        target = Target(str(path))
        sink = threading.Thread(
            target=lambda: counts.update(send_to_rerun(publisher.address, target, rate_hz=rate_hz, joined=joined.set))
        )
        sink.start()
        assert joined.wait(60)
        until(lambda: publisher.wants("flow") and publisher.wants("event"), "the sink subscribed", 60)
        for number in range(FRAMES):
            stamps = Stamps(number * FRAME_NS, number * FRAME_NS)
            result = dataclasses.replace(frame_result(6), frame=number)
            publisher.publish("score", score_fields(result, CLASSES), stamps)
            picture, flow = rgbd_frame(number), scene_flow(number)
            publisher.publish("frame", frame_fields(picture), stamps, frame_payload(picture.color))
            publisher.publish("flow", flow_fields(flow), stamps, flow_payload(flow))
            until(lambda: not publisher._waiting, "pictures left", 60)
        publisher.publish("event", event_fields(event(), CLASSES), Stamps(25 * FRAME_NS))
        publisher.close()
        sink.join(60)
        assert not sink.is_alive()
    return read_rrd(path), counts


def test_a_session_is_logged_with_pictures_at_a_limited_rate(tmp_path: Path) -> None:
    found, counts = logged(tmp_path / "s.rrd", "full")
    for entity in ("camera/color", "camera/flow/0", "camera/face/0", "score/0/spot", "score/0/classes"):
        assert set(found[entity].timelines) == {"capture", "frame"}, entity
    assert found["camera"].is_static
    assert found["score/threshold"].is_static
    assert found["score/0/spot"].rows == counts["score"] == FRAMES
    assert counts["frame"] == found["camera/color"].rows
    assert 10 <= counts["frame"] <= 11
    assert (found["events"].rows, found["event/0"].rows) == (1, 2)
    assert found["events"].timelines == ("capture",)


@pytest.mark.parametrize(
    ("privacy", "allowed"),
    [("results", set()), ("flow", {"camera/flow/0"}), ("blurred", {"camera/flow/0", "camera/color"})],
)
def test_a_file_holds_only_what_the_tier_lets_be_stored(tmp_path: Path, privacy: str, allowed: set[str]) -> None:
    found, _ = logged(tmp_path / "s.rrd", privacy)
    assert {"camera/color", "camera/flow/0"} & set(found) == allowed
    assert found["score/0/spot"].rows == FRAMES


@pytest.mark.parametrize("privacy", ["full", "blurred"])
def test_depth_comes_from_the_ring_where_raw_pictures_may_be_stored(
    privacy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows: list[bool] = []
    log_flow = RerunView.flow

    def spy(self: RerunView, t_ns: int, flow: SceneFlow, *space: Any) -> None:
        log_flow(self, t_ns, flow, *space)
        flows.append(space[1] is not None)

    monkeypatch.setattr(RerunView, "flow", spy)
    with (
        Ring((48, 64), (48, 64), policy="latest", slots=8, readers=0) as ring,
        RingWriter(ring.name) as writer,
        Publisher(ANY_PORT, info(privacy)) as publisher,
    ):
        sink = threading.Thread(
            target=send_to_rerun,
            args=(publisher.address, Target(str(tmp_path / "s.rrd"))),
            kwargs={"rate_hz": 100.0, "rings": lambda: {"demo": ring.name}},
        )
        sink.start()
        until(lambda: publisher.wants("flow"), "the sink subscribed", 60)
        deadline, number = time.monotonic() + 60, 0
        while not (any(flows) if privacy == "full" else len(flows) > 20):
            assert time.monotonic() < deadline, "no flow stood in space"
            writer.write(rgbd_frame(number), {}, lambda: False)
            stamps = Stamps(number * FRAME_NS, number * FRAME_NS)
            publisher.publish("flow", flow_fields(scene_flow(number)), stamps, flow_payload(scene_flow(number)))
            number += 1
            time.sleep(0.02)
        publisher.close()
        sink.join(60)
        assert not sink.is_alive()
    found = read_rrd(tmp_path / "s.rrd")
    from_ring = {"camera", "camera/color", "camera/depth", "flow/0"}
    assert from_ring & set(found) == (from_ring if privacy == "full" else set())


@pytest.mark.parametrize("why", ["the camera was unplugged", ""])
def test_a_ring_that_fails_says_why_in_the_view(tmp_path: Path, why: str) -> None:
    with (
        Ring((48, 64), (48, 64), policy="latest", slots=8, readers=0) as ring,
        RingWriter(ring.name) as writer,
        Publisher(ANY_PORT, info("full")) as publisher,
    ):
        rings: dict[str, str] = {}
        sink = threading.Thread(
            target=send_to_rerun,
            args=(publisher.address, Target(str(tmp_path / "s.rrd"))),
            kwargs={"rate_hz": 100.0, "rings": lambda: rings},
        )
        sink.start()
        until(lambda: publisher.wants("score"), "the sink subscribed", 60)
        rings["demo"] = ring.name
        publisher.publish("score", score_fields(frame_result(6), CLASSES), Stamps(FRAME_NS))
        until(lambda: any(thread.name == f"ring {ring.name}" for thread in threading.enumerate()), "an onlooker", 60)
        writer.write(rgbd_frame(0), {}, lambda: False)
        writer.fail(why) if why else writer.end()
        until(lambda: all(thread.name != f"ring {ring.name}" for thread in threading.enumerate()), "its end", 60)
        publisher.close()
        sink.join(60)
    found = read_rrd(tmp_path / "s.rrd")
    assert ("warnings" in found) == bool(why)
    assert not why or found["warnings"].rows == 1


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "s.rrd").write_bytes(b"precious")
    session = {"session": "s", "camera": "demo", **info("full").fields("running", {})}
    with pytest.raises(SinkError, match="exists already and is never overwritten"):
        RerunView(session, Target(str(tmp_path / "s.rrd")), live=False)
    assert (tmp_path / "s.rrd").read_bytes() == b"precious"


def test_depth_and_arrows_in_space_are_logged(tmp_path: Path) -> None:
    path, camera = tmp_path / "s.rrd", Intrinsics(64, 48, 60.0, 60.0, 32.0, 24.0)
    session = {"session": "s", "camera": "demo", **info("full").fields("running", {})}
    view = RerunView(session, Target(str(path)), live=False)
    depth = rgbd_frame(0).depth
    view.pinhole(camera)
    view.depth(0, 0, depth, 0.001)
    view.flow(0, scene_flow(6), camera, depth.astype(np.float32) * np.float32(0.001))
    view.close()
    found = read_rrd(path)
    assert (found["camera/depth"].rows, found["flow/0"].rows) == (1, 1)


def test_rows_of_seconds_share_a_chunk(tmp_path: Path) -> None:
    """Of each chunk the SDK keeps a line in memory until the file ends: at its own five a second 80 MiB an hour."""
    path = tmp_path / "s.rrd"
    view = RerunView(
        {"session": "s", "camera": "demo", **info("full").fields("running", {})}, Target(str(path)), live=False
    )
    for frame in range(4):
        view.picture(frame, frame * 100_000_000, b"jpeg", 64, 48)
        time.sleep(0.25)
    view.close()
    color = read_rrd(path)["camera/color"]
    assert (color.rows, color.chunks) == (4, 1)


def test_an_arrow_in_space_projects_back_onto_its_motion_on_the_picture() -> None:
    camera = Intrinsics(64, 48, 60.0, 55.0, 32.0, 24.0)
    depth_m = np.full((48, 64), 0.6, np.float32)
    depth_m[:12] = 0
    places, moves, w_m = arrows_px(scene_flow(6))
    points, vectors = arrows_m(places, moves, w_m, camera, depth_m)
    known = depth_m[np.rint(places[:, 1]).astype(int), np.rint(places[:, 0]).astype(int)] > 0
    assert 0 < known.sum() < len(places)
    assert len(points) == known.sum()
    for ends, expected in ((points, places[known]), (points + vectors, places[known] + moves[known])):
        seen = ends[:, :2] / ends[:, 2:] * (60.0, 55.0) + (32.0, 24.0)
        np.testing.assert_allclose(seen, expected, atol=1e-3)
    np.testing.assert_allclose(vectors[:, 2], w_m[known], atol=1e-6)
