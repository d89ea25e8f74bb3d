"""Event clips at privacy tier full: color and depth of the very frames, played by the reader of recordings."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.inspection import inspect
from sfam.capture.source import SourceInfo, open_source
from sfam.sinks.clip_keeper import ClipKeeper
from sfam.sinks.clip_pictures import ClipPictures, PictureSettings
from sfam.sinks.event_clip import ClipWish, clip_path, holds_pictures, read_clip, remove_clips
from sfam.sinks.report import write_report
from sfam.sinks.session_folder import SessionFolder
from tests.capture.recorded_frames import assert_equal
from tests.sinks.session_parts import CLASSES, FRAME_NS, event, frame_result, rgbd_frame, scene_flow, session_info

EVENT = event(3, "confirmed", 40)
UTC_NS = 1_700_000_000_000_000_000
CLOCK = SessionClock(0, UTC_NS)


def noisy_frame(number: int) -> RGBDFrame:
    """A frame that no other one equals."""
    frame, chance = rgbd_frame(number), np.random.default_rng(number)
    color = chance.integers(0, 255, frame.color.shape, np.uint8)
    depth = chance.integers(300, 900, frame.depth.shape, np.uint16)
    return dataclasses.replace(frame, color=color, depth=depth, t_utc_ns=UTC_NS + frame.t_capture_ns)


def source_info() -> SourceInfo:
    return SourceInfo("demo", "synthetic", True, 30.0, rgbd_frame(0).calibration)


class Pair:
    """Motion and pictures of one session, as two processes keep them."""

    def __init__(self, folder: Path, memory_bytes: int = 2**24, **settings: object) -> None:
        folder.mkdir(exist_ok=True)
        self.warnings: list[str] = []
        made = PictureSettings(folder, memory_bytes, **settings)  # type: ignore[arg-type]
        self.pictures = ClipPictures(made, self.warnings.append)
        self.keeper = ClipKeeper(folder, CLASSES, self.pictures.keep, utc_shift_ns=UTC_NS)
        self.pictures.begin(source_info(), CLOCK)

    def run(self, frames: range, left_out: frozenset[int] = frozenset()) -> None:
        for number in frames:
            if number not in left_out:
                self.pictures.push(noisy_frame(number))
            self.keeper.push([frame_result(number)], [scene_flow(number)] if number >= 6 else [])
            if number == 60:
                self.keeper.keep(EVENT)

    def close(self) -> dict[str, int]:
        self.keeper.close()
        return self.pictures.close()


def played(path: Path) -> list[RGBDFrame]:
    with open_source(CaptureConfig(camera=str(path))) as source:
        return list(source.frames())


def clip_of(folder: Path, frames: range = range(100), **settings: object) -> Path:
    pair = Pair(folder, **settings)  # type: ignore[arg-type]
    pair.run(frames)
    assert pair.close() == {"written": 1, "lost": 0, "truncated": 0}
    assert pair.close() == {"written": 1, "lost": 0, "truncated": 0}
    assert pair.warnings == []
    return clip_path(folder, 3)


def test_a_clip_plays_the_frames_of_its_event_and_holds_motion_and_scores_too(tmp_path: Path) -> None:
    path = clip_of(tmp_path)
    assert holds_pictures(path)
    frames = played(path)
    assert [frame.sequence for frame in frames] == list(range(25, 67)), "the frames' own numbers, half a second around"
    for frame in frames:
        assert_equal(frame, noisy_frame(frame.sequence))
    clip = read_clip(path)
    assert clip.event["id"] == 3
    assert [one.score["frame"] for one in clip.frames] == [frame.sequence for frame in frames]
    assert [one.t_ns for one in clip.frames] == [frame.t_capture_ns for frame in frames]
    assert all(one.maps is not None for one in clip.frames)
    report = inspect(path)
    assert (report.pairs, report.warnings) == (42, ())


def test_all_times_in_a_clip_with_pictures_lie_on_one_clock(tmp_path: Path) -> None:
    with clip_of(tmp_path).open("rb") as stream:
        times = [message.log_time - UTC_NS for _, _, message in make_reader(stream).iter_messages()]
    assert min(times) >= 25 * FRAME_NS
    assert max(times) <= 66 * FRAME_NS


def test_jpeg_color_is_stored_where_the_recorder_is_told_to(tmp_path: Path) -> None:
    path = clip_of(tmp_path, color="jpeg")
    frames = played(path)
    assert len(frames) == 42
    assert all(np.array_equal(frame.depth, noisy_frame(frame.sequence).depth) for frame in frames)
    assert inspect(path).streams[0].encoding == "jpeg"


def test_memory_is_bounded_and_what_it_cannot_hold_is_said(tmp_path: Path) -> None:
    size = rgbd_frame(0).color.nbytes + rgbd_frame(0).depth.nbytes
    pair = Pair(tmp_path, memory_bytes=20 * size)
    for number in range(400):
        pair.pictures.push(noisy_frame(number))
        assert pair.pictures.held_bytes <= 20 * size
    pair.close()
    short = Pair(tmp_path / "short", memory_bytes=30 * size)
    short.run(range(67))
    short.close()
    path = clip_path(tmp_path / "short", 3)
    assert [frame.sequence for frame in played(path)] == list(range(37, 67))
    assert "not recorded: 12 not_held" in inspect(path).warnings
    assert short.pictures.truncated == 1
    assert short.warnings == [
        "the clip of event 3 holds no pictures of its first 0.37 s: they are held for 13 s and up to "
        "sinks.clip_memory_mb"
    ]
    old = Pair(tmp_path / "old", memory_bytes=5 * size)
    old.run(range(100))
    for number in range(100, 140):
        old.pictures.push(noisy_frame(number))
    old.pictures.keep(ClipWish(3, 0, FRAME_NS))
    assert old.close()["lost"] >= 1
    assert "none of its frames is held any more" in " ".join(old.warnings)


def test_nothing_older_than_an_event_can_be_is_held(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    frame = noisy_frame(0)
    for second in range(40):
        pair.pictures.push(dataclasses.replace(frame, t_capture_ns=second * 10**9))
    assert pair.pictures.held_bytes <= 14 * (frame.color.nbytes + frame.depth.nbytes)
    pair.close()


def test_a_frame_that_never_came_is_counted(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.run(range(100), frozenset({45, 46}))
    pair.close()
    assert "not recorded: 2 not_held" in inspect(clip_path(tmp_path, 3)).warnings


def test_pictures_that_cannot_be_written_leave_the_clip_of_motion(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.run(range(61))
    pair.keeper.close()
    path = clip_path(tmp_path, 3)
    motion = path.read_bytes()
    frame = noisy_frame(61)
    pair.pictures.push(dataclasses.replace(frame, color=frame.color[:, :, :2], t_capture_ns=61 * FRAME_NS))
    broken = Pair(tmp_path, color="jpeg")
    broken.pictures.push(dataclasses.replace(frame, color=frame.color[:, :, :2]))
    broken.pictures.keep(ClipWish(3, 0, 10**12))
    assert broken.close() == {"written": 0, "lost": 1, "truncated": 0}
    assert "the clip of event 3 holds no pictures" in broken.warnings[0]
    assert path.read_bytes() == motion
    assert [one.name for one in path.parent.iterdir()] == [path.name], "nothing half-written is left"


def test_a_disk_that_is_behind_never_holds_up_who_brings_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(*_: object, **__: object) -> None:
        go_on.wait(60)

    monkeypatch.setattr("sfam.sinks.clip_pictures.write_clip", slow)
    pair = Pair(tmp_path)
    pair.run(range(67))
    for number in range(20):
        pair.pictures.keep(ClipWish(3, number, number + 1))
    pair.pictures.push(noisy_frame(70))  # returns although nothing is written
    assert pair.pictures.lost > 0
    go_on.set()
    totals = pair.close()
    assert totals["written"] + totals["lost"] >= 20
    assert len(pair.warnings) == totals["lost"]
    assert "the disk is behind" in pair.warnings[0]


def test_the_clips_of_a_session_that_is_overwritten_go(tmp_path: Path) -> None:
    path = clip_of(tmp_path)
    path.with_name(f".{path.name}.new").write_bytes(b"killed here")
    (path.parent / "notes.txt").write_text("mine")
    remove_clips(tmp_path)
    assert [one.name for one in path.parent.iterdir()] == ["notes.txt"]
    remove_clips(tmp_path / "nowhere")


@pytest.mark.parametrize(("tier", "pictures", "faces"), [("full", True, 7), ("full", False, 0), ("flow", True, 0)])
def test_the_report_shows_the_faces_that_lie_in_clips(tmp_path: Path, tier: str, pictures: bool, faces: int) -> None:
    info = dataclasses.replace(session_info(), privacy=tier)
    with SessionFolder(tmp_path / "s", info) as writer:
        for number in range(100):
            writer.row(frame_result(number))
        writer.event(EVENT)
    clip_of(tmp_path / "s")
    page = write_report(tmp_path / "s", pictures=pictures, recording=False).read_text(encoding="utf-8")
    assert page.count('alt="Face in frame') == faces
    assert page.count('alt="Motion in frame') == 7
