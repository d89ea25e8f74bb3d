from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from sfam.capture.config import CaptureConfig
from sfam.capture.mcap_file import RecordingError
from sfam.capture.source import SourceError, open_source
from sfam.engine.events import Moment
from sfam.sinks.clip_keeper import TRUNCATED, ClipKeeper
from sfam.sinks.event_clip import MEMORY_S, clip_path, read_clip
from sfam.sinks.frame_result import FrameResult
from sfam.sinks.report import write_report
from sfam.sinks.session_folder import SessionFolder
from sfam.stream.scene_flow import SceneFlow
from tests.sinks.session_parts import CLASSES, FRAME_NS, event, frame_result, rgbd_frame, scene_flow, session_info

EVENT = event(3, "confirmed", 40)


def keep_clip(folder: Path, frames: int = 100) -> Path:
    """A session of some frames whose event lies from 40 to 51; its clip."""
    folder.mkdir(exist_ok=True)
    keeper = ClipKeeper(folder, CLASSES)
    for number in range(frames):
        flows = [scene_flow(number)] if number >= 6 else []
        keeper.push([frame_result(number)], flows)
        if number == 60:
            keeper.keep(EVENT)
    keeper.close()
    keeper.close()
    assert keeper.lost == 0
    return clip_path(folder, 3)


def test_a_clip_holds_motion_scores_and_noise_around_the_event(tmp_path: Path) -> None:
    clip = read_clip(keep_clip(tmp_path))
    assert clip.event["emotion"] == "positive"
    frames = [frame.score["frame"] for frame in clip.frames]
    assert frames == list(range(25, 67)), "half a second on both sides"
    for frame in clip.frames:
        number = frame.score["frame"]
        found = frame_result(number)
        assert frame.score["spot"] == (None if found.score is None else pytest.approx(found.score.spot, abs=1e-6))
        assert frame.flow is not None
        assert frame.flow["frame"] == number
        assert set(frame.flow["noise"]) == {"u_px", "v_px", "w_mm"}
        assert frame.maps is not None
        np.testing.assert_allclose(frame.maps[0], scene_flow(number).u, atol=1e-3)


def test_a_clip_holds_no_image_channel(tmp_path: Path) -> None:
    path = keep_clip(tmp_path)
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    assert {channel.topic for channel in summary.channels.values()} == {"/sfam/score", "/sfam/flow", "/sfam/event"}
    assert not [schema.name for schema in summary.schemas.values() if "image" in schema.name.lower()]
    stored = path.read_bytes()
    assert b"\xff\xd8\xff" not in stored, "a JPEG"
    assert rgbd_frame(40).color.tobytes()[:300] not in stored
    with (
        pytest.raises(SourceError, match="holds no images to play"),
        open_source(CaptureConfig(camera=str(path))) as source,
    ):
        next(iter(source.frames()))


def test_an_event_at_the_end_of_a_session_has_its_clip_too(tmp_path: Path) -> None:
    assert read_clip(keep_clip(tmp_path, frames=61)).frames[-1].score["frame"] == 60


def test_a_face_of_another_track_is_not_in_it(tmp_path: Path) -> None:
    keeper = ClipKeeper(tmp_path, CLASSES)
    for number in range(6, 80):
        other = dataclasses.replace(frame_result(number), face_id=1)
        keeper.push([frame_result(number), other], [dataclasses.replace(scene_flow(number), track_id=1)])
    keeper.keep(EVENT)
    keeper.close()
    clip = read_clip(clip_path(tmp_path, 3))
    assert {frame.score["face_id"] for frame in clip.frames} == {0}
    assert all(frame.maps is None for frame in clip.frames)


def fast_frames(faces: int, seconds: float) -> Iterator[tuple[list[FrameResult], list[SceneFlow]]]:
    """Rows and flows of several faces at 90 fps; frame numbers grow thrice as fast as in other tests."""
    flows = [dataclasses.replace(scene_flow(9), track_id=face) for face in range(faces)]
    for number in range(round(seconds * 90)):
        t_ns = number * FRAME_NS // 3
        rows = [
            dataclasses.replace(frame_result(0), frame=number, t_capture_ns=t_ns, face_id=face) for face in range(faces)
        ]
        yield rows, flows


def test_a_long_event_of_two_faces_at_90_fps_is_in_its_clip_from_the_beginning(tmp_path: Path) -> None:
    begin, end = (Moment(frame, frame * FRAME_NS // 3) for frame in (90, 360))
    keeper = ClipKeeper(tmp_path, CLASSES)
    for rows, flows in fast_frames(2, 6.0):
        keeper.push(rows, flows)
        if rows[0].frame == 450:
            keeper.keep(dataclasses.replace(EVENT, onset=begin, offset=end))
    keeper.close()
    clip = read_clip(clip_path(tmp_path, 3))
    assert [frame.score["frame"] for frame in clip.frames] == list(range(45, 406))
    assert all(frame.maps is not None for frame in clip.frames)
    assert keeper.totals() == {"written": 1, "lost": 0, "truncated": 0}
    assert TRUNCATED not in clip.event["flags"]


def test_a_clip_that_lacks_its_beginning_says_so_and_is_counted(tmp_path: Path) -> None:
    said: list[str] = []
    keeper = ClipKeeper(tmp_path, CLASSES, warn=said.append, memory_bytes=30 * 3 * 128 * 128 * 2)
    for number in range(6, 80):
        keeper.push([frame_result(number)], [scene_flow(number)])
        if number == 60:
            keeper.keep(EVENT)
    keeper.close()
    clip = read_clip(clip_path(tmp_path, 3))
    assert [frame.score["frame"] for frame in clip.frames] == list(range(38, 67))
    assert clip.event["flags"] == ["blink", TRUNCATED]
    assert keeper.totals() == {"written": 1, "lost": 0, "truncated": 1}
    assert len(said) == 1
    assert "event 3 lacks its first 0.40 s" in said[0]


def test_motion_is_not_held_longer_than_a_clip_can_need_it(tmp_path: Path) -> None:
    keeper = ClipKeeper(tmp_path, CLASSES)
    for second in range(40):
        keeper.push([dataclasses.replace(frame_result(0), t_capture_ns=second * 10**9)], [])
    keeper.keep(dataclasses.replace(EVENT, onset=Moment(0, 0), offset=Moment(1, 39 * 10**9)))
    keeper.close()
    assert len(read_clip(clip_path(tmp_path, 3)).frames) == int(MEMORY_S) + 1


def test_what_cannot_be_written_is_counted_and_harms_nobody(tmp_path: Path) -> None:
    keeper = ClipKeeper(tmp_path / "nowhere", CLASSES)
    keeper.push([frame_result(40)], [scene_flow(40)])
    keeper.keep(EVENT)
    keeper.close()
    assert keeper.lost == 1


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mcap"
    for content in (b"", b"no mcap at all", keep_clip(tmp_path).read_bytes()[:2000]):
        path.write_bytes(content)
        with pytest.raises(RecordingError):
            read_clip(path)


def test_the_report_shows_the_motion_of_an_event_at_any_tier_that_keeps_it(tmp_path: Path) -> None:
    info = dataclasses.replace(session_info(), privacy="flow")
    with SessionFolder(tmp_path / "s", info) as writer:
        for number in range(100):
            writer.row(frame_result(number))
        writer.event(EVENT)
    keep_clip(tmp_path / "s")
    page = write_report(tmp_path / "s").read_text(encoding="utf-8")
    assert page.count('alt="Motion in frame') == 7
    assert page.count("data:image/png") == 7
    assert 'alt="Face in frame' not in page


def test_times_in_a_clip_of_a_live_session_are_utc_and_capture_times_come_back(tmp_path: Path) -> None:
    keeper = ClipKeeper(tmp_path, CLASSES, utc_shift_ns=1_000_000_000_000)
    for number in range(6, 70):
        keeper.push([frame_result(number)], [scene_flow(number)])
    keeper.keep(EVENT)
    keeper.close()
    path = clip_path(tmp_path, 3)
    with path.open("rb") as stream:
        logged = {message.log_time for _, channel, message in make_reader(stream).iter_messages("/sfam/score")}
    frames = read_clip(path).frames
    assert [frame.t_ns for frame in frames] == [frame.score["frame"] * FRAME_NS for frame in frames]
    assert logged == {frame.t_ns + 1_000_000_000_000 for frame in frames}


@pytest.mark.parametrize("waits", [True, False])
def test_a_replay_waits_for_the_disk_where_a_live_session_gives_clips_up(tmp_path: Path, waits: bool) -> None:
    go_on = threading.Event()
    keeper = ClipKeeper(tmp_path, CLASSES, lambda _: keep_waiting(go_on), waits)
    if waits:
        threading.Timer(0.3, go_on.set).start()
    for number in range(30, 70):
        keeper.push([frame_result(number)], [])
    for number in range(20):
        keeper.keep(event(number, "confirmed", 40))
    keeper.push([frame_result(71)], [])  # a live session does not wait here: nothing sets `go_on` before it returns
    go_on.set()
    keeper.close()
    assert (keeper.lost == 0) == waits
    assert keeper.totals() == {"written": keeper.kept, "lost": 20 - keeper.kept, "truncated": 0}
    assert len(list((tmp_path / "clips").glob("*.mcap"))) == keeper.kept


def keep_waiting(go_on: threading.Event) -> None:
    assert go_on.wait(60)
