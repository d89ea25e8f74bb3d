from __future__ import annotations

import time

import numpy as np
import pytest

from sfam.stream.config import StreamConfig
from sfam.stream.face import Box, Detection, FaceDetector, GreyImage
from sfam.stream.face_manual import template_landmarks
from sfam.stream.face_watch import FaceWatch
from tests.stream.moving_face import BOX, PERIOD_NS, frame

TEMPLATE = template_landmarks()


class BrightDisc(FaceDetector):
    """Sees the disc where its depthless texture differs from the wall; can be slow, and counts its calls."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.calls: list[bool] = []

    def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
        self.calls.append(bool(near))
        time.sleep(self.delay_s)
        seen = np.abs(grey.astype(np.int16) - 90) > 12
        if seen.mean() < 0.03:
            return []
        y, x = np.nonzero(seen)
        corner = np.array((np.median(x) - BOX[2] / 2, np.median(y) - BOX[3] / 2), dtype=np.float32)
        return [Detection(TEMPLATE * np.float32(BOX[2]) + corner, 1.0)]


def watch(detector: FaceDetector, **settings: object) -> FaceWatch:
    return FaceWatch(StreamConfig.model_validate({"detect_every_s": 1.0, **settings}), detector)


def push(faces: FaceWatch, index: int, dx: float = 0.0, *, hide: bool = False) -> tuple[str, ...]:
    shown = frame(index, dx, hide=hide)
    faces.push(shown.color, shown.t_capture_ns)
    return tuple(track.state for track in faces.tracks)


@pytest.mark.parametrize("delay", [0, 1, 3])
@pytest.mark.parametrize("slow_s", [0.0, 0.05])
def test_a_detection_takes_effect_exactly_on_time_however_slow(delay: int, slow_s: float) -> None:
    faces = watch(BrightDisc(slow_s), detect_delay_frames=delay)
    seen = [len(push(faces, index)) for index in range(6)]
    faces.close()
    assert seen == [0] * delay + [1] * (6 - delay)


def test_a_face_found_late_is_carried_to_where_it_is_now() -> None:
    faces = watch(BrightDisc())
    for index in range(4):
        push(faces, index, dx=5.0 * index)
    centre = faces.tracks[0].landmarks_px.mean(axis=0)
    still = watch(BrightDisc(), detect_delay_frames=0)
    push(still, 0)
    start = still.tracks[0].landmarks_px.mean(axis=0)
    assert np.abs(centre - start - (15.0, 0.0)).max() < 0.3
    assert faces.tracks[0].flags == ("birth",)
    faces.close()
    still.close()


def test_a_followed_face_is_only_checked_and_seldom() -> None:
    detector = BrightDisc()
    faces = watch(detector)
    for index in range(100):
        push(faces, index)
    faces.close()
    assert detector.calls[0] is False
    assert detector.calls[1:] == [True] * len(detector.calls[1:])
    assert 2 <= len(detector.calls) <= 5


def test_a_lost_face_comes_back_with_its_id() -> None:
    faces = watch(BrightDisc())
    states = [push(faces, index, hide=20 <= index < 35) for index in range(60)]
    ids = {track.track_id for track in faces.tracks}
    faces.close()
    assert states[15] == ("tracked",)
    assert ("lost",) in states[20:26]
    assert states[30] == ()
    assert states[-1] == ("tracked",)
    assert ids == {0}


def test_the_end_of_a_track_is_told_once() -> None:
    faces = watch(BrightDisc())
    ends = 0
    for index in range(40):
        push(faces, index, hide=index >= 20)
        ends += sum(track.flags == ("death",) for track in faces.tracks)
    faces.close()
    assert ends == 1


def test_a_face_found_elsewhere_is_another_face() -> None:
    faces = watch(BrightDisc())
    for index in range(20):
        push(faces, index, dx=-80.0)
    for index in range(20, 30):
        push(faces, index, hide=True)
    for index in range(30, 50):
        push(faces, index, dx=90.0)
    ids = {track.track_id for track in faces.tracks}
    faces.close()
    assert ids == {1}


def test_a_face_that_checks_no_longer_find_is_given_up() -> None:
    class Blind(BrightDisc):
        def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
            return [] if len(self.calls) else super().detect(grey, near, attempt)

    faces = watch(Blind())
    states = [push(faces, index) for index in range(120)]
    faces.close()
    assert states[20] == ("tracked",)
    assert states[-1] == ()


class InFront(FaceDetector):
    """Sees the disc at first, and later only one that hides most of it."""

    def __init__(self, after: int, shift_px: float) -> None:
        self._after, self._shift_px = after, shift_px
        self._looks = 0

    def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
        self._looks += 1
        corner = np.array((BOX[0] + self._shift_px * (self._looks > self._after), BOX[1]), dtype=np.float32)
        return [Detection(TEMPLATE * np.float32(BOX[2]) + corner, 1.0)]


@pytest.mark.parametrize("shift_px", [30.0, 40.0])
def test_a_track_never_goes_over_to_somebody_who_leans_in_front(shift_px: float) -> None:
    """The track of the one whose face is still half in view ends; who is in front is somebody new."""
    faces = watch(InFront(2, shift_px), max_faces=1)
    seen: list[tuple[int, float]] = []
    told: list[tuple[str, ...]] = []
    for index in range(90):
        push(faces, index)
        seen += [(t.track_id, float(t.landmarks_px[:, 0].mean())) for t in faces.tracks if t.state != "lost"]
        told += [track.flags for track in faces.tracks if track.flags]
    faces.close()
    assert told == [("birth",), ("death",), ("birth",)]
    places = {track_id: [x for known, x in seen if known == track_id] for track_id in (0, 1)}
    assert np.ptp(places[0]) < 1.0
    assert np.mean(places[1]) == pytest.approx(np.mean(places[0]) + shift_px, abs=1.0)


def test_another_resolution_or_a_clock_turned_back_is_survived() -> None:
    faces = watch(BrightDisc())
    for index in range(10):
        push(faces, index)
    shown = frame(3)
    faces.push(shown.color, shown.t_capture_ns)
    kept = len(faces.tracks)
    faces.reset()
    small = np.ascontiguousarray(shown.color[::2, ::2])
    grey = faces.push(small, 20 * PERIOD_NS)
    faces.close()
    assert grey.shape == (120, 160)
    assert kept == 1
    assert not faces.tracks


def two_discs(index: int, left_dx: float = 0.0, *, hide_right: bool = False) -> np.ndarray:
    left, right = frame(index, left_dx - 80.0).color, frame(index + 500, 80.0, hide=hide_right).color
    return np.ascontiguousarray(np.concatenate((left[:, :160], right[:, 160:]), axis=1))


class BothHalves(BrightDisc):
    """Looks for one disc in each half of the image."""

    def detect(self, grey: GreyImage, near: tuple[Box, ...], attempt: int) -> list[Detection]:
        found = []
        for start in (0, 160):
            half = np.full_like(grey, 90)
            half[:, start : start + 160] = grey[:, start : start + 160]
            found += super().detect(half, near, attempt)
        return found


def test_two_faces_keep_their_ids_when_one_goes_and_returns() -> None:
    faces = watch(BothHalves(), max_faces=2)
    seen: list[dict[int, float]] = []
    for index in range(90):
        faces.push(two_discs(index, left_dx=0.3 * index, hide_right=30 <= index < 50), index * PERIOD_NS)
        alive = [track for track in faces.tracks if track.state != "lost"]
        seen.append({track.track_id: float(track.landmarks_px[:, 0].mean()) for track in alive})
    faces.close()
    left, right = (min(seen[10], key=lambda i: seen[10][i]), max(seen[10], key=lambda i: seen[10][i]))
    assert left != right
    assert set(seen[45]) == {left}
    assert set(seen[-1]) == {left, right}
    assert seen[-1][left] == pytest.approx(seen[10][left] + 0.3 * 79, abs=1.0)
    assert seen[-1][right] == pytest.approx(seen[10][right], abs=1.0)
