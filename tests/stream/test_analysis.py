from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.face_sequence import COLOR_VIEW, FaceSequence
from sfam.capture.frame import RGBDFrame
from sfam.capture.recording_source import RecordingSource
from sfam.capture.sequence_plan import draw_plan
from sfam.stream import face_manual
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from sfam.stream.face import Box, Detection, FaceError, GreyImage
from sfam.stream.flow_window import FlowWindow
from tests.shared_data import shared
from tests.stream.moving_face import BOX, PERIOD_NS, frame, with_depth

MANUAL = StreamConfig(face_backend="manual", face_box=BOX)
SECOND_NS = 1_000_000_000


def settings(**values: object) -> StreamConfig:
    return StreamConfig.model_validate({**MANUAL.model_dump(), **values})


def run(
    frames: Iterable[RGBDFrame], config: StreamConfig = MANUAL
) -> tuple[list[list[FlowWindow]], list[str], Analysis]:
    analysis = Analysis(config)
    windows, causes = [], []
    for shown in frames:
        windows.append(analysis.push(shown))
        causes.append(analysis.cause)
    analysis.close()
    return windows, causes, analysis


def scores_of(windows: list[list[FlowWindow]]) -> list[bytes]:
    return [
        window.maps.tobytes() + repr((window.flags, window.noise)).encode() for found in windows for window in found
    ]


def test_every_frame_has_a_window_or_a_cause() -> None:
    windows, causes, analysis = run(frame(index) for index in range(20))
    assert causes == ["detecting"] * 3 + ["warm_up"] * 6 + [""] * 11
    assert [len(found) for found in windows] == [0] * 9 + [1] * 11
    assert analysis.withheld == {"detecting": 3, "warm_up": 6}
    window = windows[-1][0]
    assert (window.from_frame, window.frame) == (13, 19)
    assert window.maps.shape == (3, 42, 42)
    assert window.maps.dtype == np.float32
    assert set(analysis.stage_ns) == {"face", "align", "flow", "depth", "head_motion", "window"}


def test_a_still_face_shows_noise_only_and_a_moving_head_is_removed() -> None:
    still, _, _ = run(frame(index) for index in range(25))
    swaying, _, analysis = run(frame(index, dx=1.0 * index) for index in range(25))
    assert np.abs(still[-1][0].maps[:2]).mean() < 0.08
    assert np.abs(swaying[-1][0].maps[:2]).mean() < 0.15
    head = analysis.scene_flows[0].head_motion
    assert head.translation_mm[0] == pytest.approx(6.0 * 600 / 300, rel=0.25)


class SlowDetector(face_manual.ManualDetector):
    def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
        time.sleep(0.05)
        return super().detect(grey, near, attempt)


def test_nothing_depends_on_load(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [frame(index, dx=0.7 * index) for index in range(45)]
    config = settings(detect_every_s=0.3)
    fast = scores_of(run(frames, config)[0])
    monkeypatch.setattr(face_manual, "ManualDetector", SlowDetector)
    slow = scores_of(run(frames, config)[0])
    assert len(fast) > 20
    assert fast == slow


def test_a_reset_analysis_gives_the_same_again() -> None:
    frames = [frame(index, dx=0.5 * index) for index in range(20)]
    analysis = Analysis(MANUAL)
    first = scores_of([analysis.push(shown) for shown in frames])
    analysis.reset()
    second = scores_of([analysis.push(shown) for shown in frames])
    analysis.close()
    assert first == second


def test_a_new_crop_recuts_both_ends() -> None:
    analysis = Analysis(MANUAL)
    crops = []
    for index in range(40):
        if analysis.push(frame(index, dx=0.8 * index)):
            flow = analysis.scene_flows[0]
            crops.append(flow.crop)
            assert flow.crop == analysis.tracks[0].crop
            assert np.abs(flow.u).mean() < 0.3
    analysis.close()
    assert 3 <= len(set(crops)) <= 12


def test_a_direct_flow_between_past_frames_sees_the_way_between_them() -> None:
    analysis = Analysis(settings(head_motion=False))
    for index in range(40):
        analysis.push(frame(index, dx=0.3 * index))
    flow = analysis.flow_between(0, 15, 39)
    back = analysis.flow_between(0, 39, 15)
    assert flow is not None
    assert back is not None
    way = 24 * 0.3 * flow.crop.scale
    middle = (slice(40, 90), slice(40, 90))
    assert np.median(flow.u[middle]) == pytest.approx(way, abs=0.1)
    assert np.median(back.u[middle]) == pytest.approx(-way, abs=0.1)
    assert (flow.from_frame, flow.to_frame) == (15, 39)
    assert analysis.flow_between(0, 1, 39) is None
    assert analysis.flow_between(7, 15, 39) is None
    analysis.close()


def test_asking_for_a_direct_flow_leaves_the_windows_as_they_are() -> None:
    quiet, asking = Analysis(MANUAL), Analysis(MANUAL)
    for index in range(40):
        shown = frame(index, dx=0.4 * index)
        first, second = quiet.push(shown), asking.push(shown)
        assert scores_of([first]) == scores_of([second])
        asking.flow_between(0, max(index - 25, 3), index)
    quiet.close()
    asking.close()


def test_frames_older_than_the_buffer_are_gone() -> None:
    analysis = Analysis(settings(buffer_s=0.5))
    for index in range(40):
        analysis.push(frame(index))
    assert analysis.flow_between(0, 26, 39) is not None
    assert analysis.flow_between(0, 20, 39) is None
    analysis.close()


@pytest.mark.parametrize("fps", [15, 30, 60, 90])
def test_every_rate_gives_windows_of_the_same_time(fps: int) -> None:
    frames = [frame(index, t_ns=round(index * 1e9 / fps)) for index in range(int(0.2 * fps) + 8)]
    windows, _, _ = run(frames)
    last = windows[-1][0]
    assert abs(last.t_capture_ns - last.t_from_ns - 200_000_000) <= 0.5e9 / fps + 2


def test_a_rate_that_changes_finds_its_windows_again() -> None:
    stamps = np.concatenate((np.arange(30) / 30, 1 + np.arange(60) / 60, 2 + np.arange(15) / 15))
    windows, causes, _ = run(frame(index, t_ns=round(float(t) * 1e9)) for index, t in enumerate(stamps))
    assert windows[89]
    assert windows[-1]
    assert causes[30:].count("gap") < 20


def test_lost_frames_are_bridged_singly_and_withheld_in_a_row() -> None:
    missing = {20, 40, 41}
    windows, causes, analysis = run(frame(index) for index in range(60) if index not in missing)
    by_frame = {found[0].frame: found[0] for found in windows if found}
    assert by_frame[22].missing_ns == pytest.approx(PERIOD_NS, rel=0.01)
    assert "gap" in by_frame[22].flags
    assert by_frame[30].missing_ns == 0
    assert 26 not in by_frame
    assert not set(range(42, 47)) & set(by_frame)
    assert 50 in by_frame
    assert analysis.withheld["gap"] == causes.count("gap") > 0


def test_no_window_crosses_a_segment() -> None:
    frames = [replace(frame(index), segment=int(index >= 20)) for index in range(40)]
    windows, causes, _ = run(frames)
    assert causes[20:26] == ["warm_up"] * 6
    assert all(window.from_frame >= 20 for found in windows[20:] for window in found)
    assert windows[-1]


def test_a_duplicate_stamp_gives_nothing_and_disturbs_nothing() -> None:
    plain = [frame(index) for index in range(20)]
    doubled = [*plain[:15], replace(plain[14], sequence=99), *plain[15:]]
    once, _, _ = run(plain)
    twice, causes, _ = run(doubled)
    assert causes[15] == "duplicate"
    assert scores_of(once) == scores_of(twice)


def test_a_duplicate_stamp_tells_no_birth_or_death_again() -> None:
    class Once(face_manual.ManualDetector):
        def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
            return [] if attempt else super().detect(grey, near, attempt)

    analysis = Analysis(MANUAL, detector=Once(MANUAL.face))
    repeated = {}
    for index in range(30):
        shown = frame(index, hide=index >= 20)
        analysis.push(shown)
        told = [track.flags for track in analysis.tracks]
        if told in ([("birth",)], [("death",)]):
            analysis.push(replace(shown, sequence=100 + index))
            repeated[told[0][0]] = ([track.flags for track in analysis.tracks], dict(analysis.causes))
    analysis.close()
    assert repeated == {"birth": ([()], {0: "duplicate"}), "death": ([], {})}


def test_a_frozen_image_is_no_new_information() -> None:
    frames = [frame(index) for index in range(20)]
    frames += [replace(frames[19], sequence=index, t_capture_ns=index * PERIOD_NS) for index in range(20, 24)]
    frames += [frame(index) for index in range(24, 45)]
    windows, causes, _ = run(frames)
    assert causes[20:24] == ["frozen"] * 4
    assert causes[26] == "gap"
    assert windows[-1]


def test_stamps_that_run_backwards_start_anew() -> None:
    frames = [frame(index) for index in range(20)]
    frames += [frame(index, t_ns=(index - 15) * PERIOD_NS) for index in range(20, 40)]
    windows, causes, _ = run(frames)
    assert causes[20] == "time_backwards"
    assert windows[-1]
    assert windows[-1][0].from_frame > 20


@pytest.mark.parametrize("depth", ["zero", "saturated", "holes", "missing"])
def test_depth_that_says_nothing_is_flagged_and_zero(depth: str) -> None:
    def spoilt(index: int) -> RGBDFrame:
        shown = frame(index)
        if depth == "missing":
            return replace(shown, depth_missing=True)
        values = {"zero": np.zeros_like(shown.depth), "saturated": np.full_like(shown.depth, 65535)}
        if depth == "holes":
            values["holes"] = np.where(np.arange(240)[:, None] > 120, 0, shown.depth).astype(np.uint16)
        return with_depth(shown, values[depth])

    windows, _, _ = run(spoilt(index) for index in range(20))
    window = windows[-1][0]
    assert np.isfinite(window.maps).all()
    assert "no_depth" in window.flags
    assert not window.maps[2].any()
    assert np.abs(window.maps[:2]).mean() < 0.1


def test_motion_in_depth_alone_is_above_noise_where_depth_is_trusted() -> None:
    def below_noise(limit_mm: float, pouts: bool) -> list[bool]:
        def shown(index: int) -> RGBDFrame:
            depth = frame(index).depth.copy()
            if pouts and index >= 60:
                depth[145:170, 140:180] -= 5
            return with_depth(frame(index), depth)

        windows, _, _ = run(map(shown, range(66)), settings(depth_noise_max_mm=limit_mm))
        return ["below_noise" in found[0].flags for found in windows if found]

    resting, pouting = below_noise(2.0, pouts=False), below_noise(2.0, pouts=True)
    assert resting[:-6] == pouting[:-6]
    assert sum(resting[-6:]) > 3
    assert not any(pouting[-6:])
    assert sum(below_noise(0.01, pouts=True)[-6:]) > 3, "w is zeroed there and says nothing"


def test_saturated_color_gives_no_window_and_says_why() -> None:
    def blinded(index: int) -> RGBDFrame:
        color = np.clip(frame(index).color.astype(np.int16) + 150, 0, 255).astype(np.uint8)
        return replace(frame(index), color=color)

    windows, causes, _ = run(frame(index) if index < 15 else blinded(index) for index in range(60))
    assert [bool(found) for found in windows] == [9 <= index < 15 for index in range(60)]
    assert set(causes[24:]) == {"saturated"}


def test_another_resolution_starts_a_new_track() -> None:
    def small(index: int) -> RGBDFrame:
        shown = frame(index)
        camera = replace(shown.calibration.color, width=240, height=200)
        color, depth = shown.color[:200, :240].copy(), shown.depth[:200, :240].copy()
        return RGBDFrame.from_arrays(color, depth, camera, shown.t_capture_ns, sequence=index)

    windows, causes, _ = run(frame(index) if index < 15 else small(index) for index in range(40))
    assert causes[15] == "detecting"
    assert windows[-1][0].track_id != windows[14][0].track_id


def test_a_face_that_leaves_gives_no_window_and_returns_with_one() -> None:
    class Seeing(face_manual.ManualDetector):
        def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
            return super().detect(grey, near, attempt) if grey[60:180, 100:220].std() > 15 else []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(face_manual, "ManualDetector", Seeing)
        analysis = Analysis(MANUAL)
        windows, causes = [], []
        for index in range(70):
            windows.append(analysis.push(frame(index, hide=20 <= index < 40)))
            causes.append(analysis.cause)
            if index == 26:
                assert not analysis.tracks
                assert analysis.flow_between(0, 10, 18) is not None
        analysis.close()
    assert "no_face" in causes[25:40]
    assert not any(windows[26:40])
    assert windows[-1][0].from_frame > 40
    assert [track.state for track in analysis.tracks] == ["tracked"]


@pytest.mark.parametrize("step_px", [0.0, 0.8])
@pytest.mark.parametrize("jump_px", [(7.0, 0.0), (12.0, 8.0)])
def test_landmarks_set_right_at_once_are_no_motion(jump_px: tuple[float, float], step_px: float) -> None:
    """The tracker's own steps start the flow, not the jump to what a check found: that was 10 px of false motion."""

    class SeenOffTheSecondTime(face_manual.ManualDetector):
        looks = 0

        def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
            self.looks += 1
            found = super().detect(grey, near, attempt)
            return found if self.looks != 2 else [replace(found[0], landmarks_px=found[0].landmarks_px + jump)]

    jump = np.array(jump_px, dtype=np.float32)
    detector = SeenOffTheSecondTime(MANUAL.face)
    analysis = Analysis(settings(detect_every_s=1.0), detector=detector)
    residuals, jumped = [], False
    centre = np.zeros(2)
    for index in range(50):
        windows = analysis.push(frame(index, dx=step_px * index))
        if analysis.tracks:
            earlier, centre = centre, analysis.tracks[0].landmarks_px.mean(axis=0)
            jumped |= index > 20 and bool(np.abs(centre - earlier).max() > 4)
        for window, flow in zip(windows, analysis.scene_flows, strict=True):
            assert not {"occlusion", "head_motion"} & set(window.flags)
            assert np.hypot(flow.u, flow.v)[40:90, 40:90].mean() < 0.1
            residuals.append(flow.residual_grey)
    analysis.close()
    assert jumped
    assert max(residuals) < 2 * np.median(residuals)


def test_a_backend_that_cannot_open_says_so_at_once() -> None:
    with pytest.raises(FaceError, match="face_box"):
        Analysis(StreamConfig(face_backend="manual"))


def test_a_synthetic_face_is_measured_to_a_fifteenth_of_a_pixel() -> None:
    sequence = FaceSequence(draw_plan(21, 2.0, micro=1, macro=0, blinks=0, micro_px=(2.0,)))
    analysis = Analysis(StreamConfig())
    errors, landmark_errors = [], []
    for index in range(60):
        analysis.push(sequence.frame(index))
        if index >= 20 and index % 5 == 0:
            flow = analysis.scene_flows[0]
            truth = sequence.flow(flow.from_frame, index, COLOR_VIEW.crop(flow.crop.x, flow.crop.y, flow.crop.size))
            u, v, _ = truth.rigid
            error = np.hypot(flow.u - truth.u + u, flow.v - truth.v + v)
            errors.append(error[truth.hull].mean())
            marks = analysis.tracks[0].landmarks_px - sequence.landmarks(index)
            landmark_errors.append(np.linalg.norm(marks, axis=1).mean())
    analysis.close()
    assert np.mean(errors) < 0.065
    assert np.max(landmark_errors) < 2.0


@pytest.mark.slow
def test_talking_is_flagged_and_expressions_are_not() -> None:
    """Two seconds of talk and a smile through the whole chain take more than five seconds to render."""
    talk = FaceSequence(draw_plan(13, 4.0, micro=0, macro=0, blinks=0, speech=1))
    smile = FaceSequence(draw_plan(14, 4.0, micro=1, macro=0, blinks=0))
    flags = []
    for sequence in (talk, smile):
        windows, _, _ = run((sequence.frame(index) for index in range(120)), StreamConfig())
        flags.append({flag for found in windows for window in found for flag in window.flags})
    assert "speech" in flags[0]
    assert "speech" not in flags[1]


def test_a_recording_is_followed_from_end_to_end() -> None:
    truth = json.loads(shared("recordings/face_a.truth.json").read_text())
    analysis = Analysis(StreamConfig())
    blinks, found, apex_errors = set(), 0, []
    with RecordingSource(CaptureConfig(camera=str(shared("recordings/face_a.bag")))) as source:
        for shown in source.frames():
            windows = analysis.push(shown)
            found += len(windows)
            if any("blink" in window.flags for window in windows):
                blinks.add(shown.sequence)
                assert "blink" in analysis.tracks[0].flags
            apex = truth["landmarks68_at_apex"].get(str(shown.sequence))
            if apex is not None:
                apex_errors.append(np.linalg.norm(analysis.tracks[0].landmarks_px - np.array(apex), axis=1).mean())
    analysis.close()
    assert found == 180 - 9
    assert analysis.withheld == {"detecting": 3, "warm_up": 6}
    assert len(apex_errors) == 4
    assert max(apex_errors) < 2.0
    assert blinks
    assert min(blinks) >= 115
    assert max(blinks) <= 135
