"""Rendered faces near and far, with glasses, turning away and partly covered, through the whole motion analysis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pytest

from sfam.capture.face_sequence import CALIBRATION, FaceSequence
from sfam.capture.frame import RGBDFrame
from sfam.capture.render import FaceState
from sfam.capture.sequence_plan import draw_plan
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from sfam.stream.face_track import FaceTrack
from sfam.stream.flow_window import FlowWindow

BOARD_MM = 450
GLASSES = 3
"""An identity that wears them."""


@dataclass
class Followed:
    """What became of a sequence, frame by frame."""

    windows: list[FlowWindow | None] = field(default_factory=list)
    tracks: list[tuple[FaceTrack, ...]] = field(default_factory=list)

    def strongest(self, first: int, last: int) -> float:
        """Largest root mean square of u and v in the windows that end at these frames, px."""
        found = [window for window in self.windows[first : last + 1] if window is not None]
        return max((float(np.sqrt(np.square(window.maps[:2]).mean())) for window in found), default=0.0)


def resting(distance_mm: float = 600.0, identity: int = 0) -> FaceSequence:
    plan = draw_plan(31, 4.0, micro=0, macro=0, blinks=0, sway=0.0, identity=identity,
                     place_mm=(0.0, 0.0, distance_mm - 600.0))  # fmt: skip
    return FaceSequence(plan)


def follow(
    sequence: FaceSequence, frames: int, spoil: Callable[[RGBDFrame], RGBDFrame] = lambda frame: frame
) -> Followed:
    analysis, followed = Analysis(StreamConfig(detect_every_s=0.5)), Followed()
    for index in range(frames):
        windows = analysis.push(spoil(sequence.frame(index)))
        followed.windows.append(windows[0] if windows else None)
        followed.tracks.append(analysis.tracks)
    analysis.close()
    return followed


@pytest.mark.parametrize(("distance_mm", "face_px"), [(300.0, 252.0), (1200.0, 69.0)])
def test_a_face_is_measured_from_a_forearms_to_a_double_arms_length(distance_mm: float, face_px: float) -> None:
    sequence = resting(distance_mm)
    followed = follow(sequence, 14)
    assert all(window is not None for window in followed.windows[9:])
    assert followed.strongest(9, 13) < 0.1
    (track,) = followed.tracks[-1]
    assert float(np.ptp(track.landmarks_px[:17, 0])) == pytest.approx(face_px, rel=0.05)
    assert np.abs(track.landmarks_px - sequence.landmarks(13)).mean() < 0.02 * face_px


def test_glasses_change_nothing() -> None:
    followed = follow(resting(identity=GLASSES), 14)
    assert all(window is not None for window in followed.windows[9:])
    assert followed.strongest(9, 13) < 0.1


class Turning(FaceSequence):
    """Looks away far enough for its face to be gone, and back."""

    def state(self, t_s: float) -> FaceState:
        yaw = float(np.interp(t_s, (0.5, 0.75, 1.2, 1.45), (0.0, 1.1, 1.1, 0.0)))
        return replace(super().state(t_s), rotation_rad=(0.0, yaw, 0.0))


def test_a_face_that_turns_away_is_lost_and_comes_back_as_the_same() -> None:
    followed = follow(Turning(resting().plan), 68)
    away = range(25, 36)
    assert not any(followed.windows[index] for index in away)
    assert not any(track.state != "lost" for index in away for track in followed.tracks[index])
    assert {track.track_id for tracks in followed.tracks for track in tracks} == {0}
    assert followed.windows[-1] is not None
    assert followed.strongest(62, 67) < 0.1


def test_a_face_of_which_a_third_is_covered_goes_on() -> None:
    sequence = resting()
    points = sequence.landmarks(0)
    left, right = points[:17, 0].min(), points[:17, 0].max()
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3)).astype(np.float32)
    board = np.clip(128 + 6.0 * (cv2.GaussianBlur(noise, (0, 0), 3.0) - 128), 0, 255).astype(np.uint8)

    def covered(frame: RGBDFrame) -> RGBDFrame:
        share = float(np.interp(frame.sequence, (15, 19), (0.0, 0.3)))
        if share == 0.0:
            return frame
        edge = right - share * (right - left)
        color, depth, lens = frame.color.copy(), frame.depth.copy(), CALIBRATION
        color[:, int(edge) :] = board[:, int(edge) :]
        depth[:, int((edge - lens.color.ppx) / lens.color.fx * lens.depth.fx + lens.depth.ppx) :] = BOARD_MM
        return replace(frame, color=color, depth=depth)

    followed = follow(sequence, 40, covered)
    assert all(window is not None for window in followed.windows[9:])
    assert {(track.track_id, track.state) for tracks in followed.tracks[8:] for track in tracks} == {(0, "tracked")}
    flagged = [index for index, window in enumerate(followed.windows) if window and "occlusion" in window.flags]
    assert flagged[0] == 16
    assert len(flagged) >= 5, "while the board moves"
    assert max(flagged) < 30
    assert followed.strongest(30, 39) < 0.1, "once the board stands still nothing moves"
    (track,) = followed.tracks[-1]
    assert np.abs(track.landmarks_px - points)[:, 0].mean() < 3.0, "the board does not pull the face along"
