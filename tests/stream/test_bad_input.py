"""What may come out of a camera, on a rendered face through the whole chain: a flag, no score, or a new track."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sfam.capture.face_sequence import FaceSequence
from sfam.capture.frame import RGBDFrame
from sfam.capture.sensor_noise import Noise
from sfam.capture.sequence_plan import draw_plan
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from sfam.stream.flow_window import FlowWindow

COUNT = 45
RESTING = FaceSequence(draw_plan(31, 3.0, micro=0, macro=0, blinks=0, sway=0.3))
Spoil = Callable[[RGBDFrame], RGBDFrame]


@pytest.fixture(scope="module")
def frames() -> list[RGBDFrame]:
    """A second and a half of a face that does nothing."""
    return [RESTING.frame(index) for index in range(COUNT)]


def run(frames: list[RGBDFrame], **settings: object) -> tuple[dict[int, FlowWindow], list[str], Analysis]:
    """Windows by the frame's place in the list, and the cause of each frame."""
    analysis = Analysis(StreamConfig.model_validate(settings))
    windows, causes = {}, []
    for place, frame in enumerate(frames):
        found = analysis.push(frame)
        causes.append(analysis.cause)
        if found:
            windows[place] = found[0]
        assert bool(found) == (analysis.cause == "")
    analysis.close()
    return windows, causes, analysis


def strongest(windows: dict[int, FlowWindow]) -> float:
    """Largest root mean square of u and v in a window, px."""
    return max(float(np.sqrt(np.square(window.maps[:2]).mean())) for window in windows.values())


def mouthless(frame: RGBDFrame) -> RGBDFrame:
    depth = frame.depth.copy()
    depth[255:330, 380:480] = 0
    return replace(frame, depth=depth)


def depthless(frame: RGBDFrame) -> RGBDFrame:
    return replace(frame, depth=np.zeros_like(frame.depth))


def at_full_scale(frame: RGBDFrame) -> RGBDFrame:
    return replace(frame, depth=np.full_like(frame.depth, 65535))


def overexposed(frame: RGBDFrame) -> RGBDFrame:
    return replace(frame, color=np.clip(frame.color.astype(np.int16) * 4, 0, 255).astype(np.uint8))


def white(frame: RGBDFrame) -> RGBDFrame:
    return replace(frame, color=np.full_like(frame.color, 255))


def black(frame: RGBDFrame) -> RGBDFrame:
    return replace(frame, color=np.zeros_like(frame.color))


@pytest.mark.parametrize("spoil", [depthless, mouthless, at_full_scale])
def test_missing_depth_leaves_u_and_v_and_a_flagged_zero_w(frames: list[RGBDFrame], spoil: Spoil) -> None:
    windows, _, _ = run([spoil(frame) for frame in frames])
    assert len(windows) == COUNT - 9
    assert all("no_depth" in window.flags and not window.maps[2].any() for window in windows.values())
    assert strongest(windows) < 0.15


@pytest.mark.parametrize("spoil", [overexposed, white, black])
def test_a_picture_without_skin_in_it_gives_no_score(frames: list[RGBDFrame], spoil: Spoil) -> None:
    windows, causes, _ = run([spoil(frame) if 20 <= place < 32 else frame for place, frame in enumerate(frames)])
    assert not set(range(20, 32)) & set(windows), causes
    assert 19 in windows
    assert windows
    assert strongest(windows) < 0.15, causes


def test_overexposed_skin_is_told_and_not_judged(frames: list[RGBDFrame]) -> None:
    def bright(frame: RGBDFrame, gain: float) -> RGBDFrame:
        return replace(frame, color=np.clip(frame.color * gain, 0, 255).astype(np.uint8))

    windows, causes, analysis = run([bright(frame, 1.7) for frame in frames[:25]])
    assert not windows
    assert set(causes[9:]) == {"saturated"}
    assert [track.state for track in analysis.tracks] == ["tracked"]
    assert len(run([bright(frame, 1.2) for frame in frames[:25]])[0]) == 16


def test_a_jump_of_the_exposure_is_flagged_while_it_is_in_the_window(frames: list[RGBDFrame]) -> None:
    def later(gain: float) -> list[RGBDFrame]:
        return [
            replace(f, color=np.clip(f.color * gain, 0, 255).astype(np.uint8)) if f.sequence >= 15 else f
            for f in frames[:26]
        ]

    jumped, steady = run(later(1.1))[0], run(later(1.03))[0]
    assert [place for place, window in jumped.items() if "light" in window.flags] == list(range(15, 21))
    assert not any("light" in window.flags for window in steady.values())


def test_a_frozen_camera_gives_no_score_until_it_moves_again(frames: list[RGBDFrame]) -> None:
    held = [replace(frame, color=frames[19].color, depth=frames[19].depth) for frame in frames[20:28]]
    windows, causes, _ = run([*frames[:20], *held, *frames[28:]])
    assert causes[20:28] == ["frozen"] * 8
    assert not set(range(20, 34)) & set(windows)
    assert COUNT - 1 in windows


def test_repeated_stamps_change_nothing(frames: list[RGBDFrame]) -> None:
    doubled = [*frames[:20], replace(frames[19], sequence=500), *frames[20:]]
    once, _, _ = run(frames)
    twice, causes, _ = run(doubled)
    assert causes[20] == "duplicate"
    assert 20 not in twice
    assert [window.maps.tobytes() for window in once.values()] == [window.maps.tobytes() for window in twice.values()]


def test_a_gap_is_never_crossed(frames: list[RGBDFrame]) -> None:
    late = [replace(frame, t_capture_ns=frame.t_capture_ns + 400_000_000 * (frame.sequence >= 20)) for frame in frames]
    windows, causes, _ = run(late)
    assert set(causes[20:26]) == {"gap"}
    assert all(window.t_capture_ns - window.t_from_ns < 220_000_000 for window in windows.values())
    assert COUNT - 1 in windows


def test_another_resolution_begins_a_new_track(frames: list[RGBDFrame]) -> None:
    def shrunk(frame: RGBDFrame) -> RGBDFrame:
        camera = replace(frame.calibration.color, width=640, height=400)
        calibration = replace(frame.calibration, color=camera)
        return replace(frame, color=np.ascontiguousarray(frame.color[:400]), calibration=calibration)

    windows, causes, _ = run([shrunk(frame) if frame.sequence >= 20 else frame for frame in frames])
    assert causes[20:23] == ["detecting"] * 3
    assert windows[19].track_id != windows[COUNT - 1].track_id


def test_a_face_that_leaves_the_image_has_no_score_and_returns_with_one(frames: list[RGBDFrame]) -> None:
    def shifted(frame: RGBDFrame) -> RGBDFrame:
        step = int(np.interp(frame.sequence, (12, 18, 24, 30), (0, 320, 320, 0)))
        return replace(frame, color=np.roll(frame.color, step, axis=1) if step else frame.color)

    windows, causes, analysis = run([shifted(frame) for frame in frames])
    assert not set(range(18, 27)) & set(windows), causes
    assert COUNT - 1 in windows
    assert [track.state for track in analysis.tracks] == ["tracked"]


def test_depth_noise_of_a_stereo_camera_is_kept_from_the_network() -> None:
    def windows_of(noise: Noise) -> list[FlowWindow]:
        sequence = FaceSequence(RESTING.plan, noise)
        return list(run([sequence.frame(index) for index in range(40)])[0].values())

    white_noise = windows_of(Noise())
    assert not any("noisy_depth" in window.flags for window in white_noise)
    assert all(window.maps[2].any() for window in white_noise)
    stereo = windows_of(Noise(depth_model="correlated", correlation_px=2.0))
    flagged = ["noisy_depth" in window.flags for window in stereo]
    assert flagged == sorted(flagged), "once told, it stays so"
    assert flagged[-1]
    assert flagged.index(True) <= 15
    assert not any(window.maps[2].any() for window in stereo if "noisy_depth" in window.flags)
    assert stereo[-1].noise.w_mm > 0.6, "what was left out is still measured"
