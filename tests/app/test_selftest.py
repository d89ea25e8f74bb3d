"""The self-test finds what is there: exact on exact frames, worse with noise, honest without depth or face."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from sfam.app.known_motion import came_from, moved_skin
from sfam.app.selftest import SIZES_MM, SIZES_PX, run_selftest
from sfam.app.selftest_pairs import Pair, PairCollector
from sfam.app.selftest_report import save_plot, table
from sfam.app.selftest_result import SelfTestError
from sfam.capture.face_sequence import FaceSequence
from sfam.capture.frame import RGBDFrame
from sfam.capture.sensor_noise import Noise
from sfam.capture.sequence_plan import draw_plan
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from tests.app.command import run
from tests.shared_data import shared
from tests.stream.moving_face import BOX, frame

PLAN = draw_plan(17, 4.0, micro=0, macro=0, blinks=0, sway=0.3)


def camera(noise: Noise) -> Iterator[RGBDFrame]:
    sequence = FaceSequence(PLAN, noise)
    return (sequence.frame(index) for index in range(90))


def test_more_noise_hides_more_and_the_amplitude_is_recovered() -> None:
    usual = run_selftest(camera(Noise()), StreamConfig(), short=True)
    loud = run_selftest(camera(Noise(rgb_sigma=12.0, depth_sigma_mm=5.0)), StreamConfig(), short=True)
    assert usual.smallest_px is not None
    assert usual.smallest_px <= 0.2
    assert loud.rest_px > 2 * usual.rest_px
    assert loud.rest_mm > 2 * usual.rest_mm
    assert (loud.smallest_px or 9.0) > usual.smallest_px
    assert usual.smallest_mm is not None
    assert usual.smallest_mm <= 2.0
    assert usual.px[-1].recovered == pytest.approx(1.0, abs=0.12)
    assert usual.mm[-1].recovered == pytest.approx(1.0, abs=0.2)
    assert usual.distance_mm == pytest.approx(640, abs=60)


def test_without_depth_nothing_is_said_of_it(tmp_path: Path) -> None:
    flat = (replace(frame, depth=np.zeros_like(frame.depth)) for frame in camera(Noise()))
    result = run_selftest(flat, StreamConfig(), short=True)
    assert result.smallest_mm is None
    assert result.smallest_px is not None
    assert all(row.found == 0.0 for row in result.mm)
    assert json.loads(json.dumps(result.as_json(), allow_nan=False))["distance_mm"] is None
    assert result.depth_left_out == "no_depth"
    assert "none in depth (most of brows or mouth has no data" in table(result)
    save_plot(result, tmp_path / "plot.png")
    picture = cv2.imread(str(tmp_path / "plot.png"))
    assert picture is not None
    assert picture.min() < 80


def test_depth_that_the_session_leaves_out_is_not_promised() -> None:
    """Where w is zeroed as too noisy, a motion of 2 mm that the maps would show is seen by nobody."""
    strict, usual = (
        run_selftest(camera(Noise()), StreamConfig(depth_noise_max_mm=mm), short=True) for mm in (0.1, 0.6)
    )
    assert usual.depth_left_out == ""
    assert usual.smallest_mm == 2.0
    assert strict.mm == usual.mm
    assert strict.depth_left_out == "noisy_depth"
    assert strict.smallest_mm is None
    assert strict.smallest_px is not None
    assert "none in depth (too noisy here" in table(strict)


def test_depth_is_averaged_as_in_the_session() -> None:
    one, five = (run_selftest(camera(Noise()), StreamConfig(depth_mean_frames=n), short=True) for n in (1, 5))
    assert five.rest_mm < 0.65 * one.rest_mm
    assert five.rest_px == pytest.approx(one.rest_px, rel=0.1)


def disc_pairs(fps: float, window_ms: float, step_px: float) -> list[Pair]:
    """Pairs of a disc that moves to the right by `step_px` a frame, through the whole analysis."""
    config = StreamConfig(face_backend="manual", face_box=BOX, window_ms=window_ms)
    analysis, collector = Analysis(config, fps), PairCollector(config, 3)
    for index in range(round(fps * window_ms / 1000) + 20):
        shown = frame(index, dx=step_px * index, t_ns=round(index * 1e9 / fps))
        collector.push(shown, analysis.push(shown), analysis.tracks)
    analysis.close()
    return collector.pairs


def test_long_windows_of_a_fast_camera_are_held_from_end_to_end() -> None:
    pairs = disc_pairs(90, 1000, 0.0)
    assert len(pairs) == 3


def test_flow_begins_where_the_tracker_saw_the_face_go() -> None:
    pairs = disc_pairs(30, 200, 0.8)
    assert len(pairs) == 3
    for pair in pairs:
        assert pair.shift_px == pytest.approx((6 * 0.8 * pair.crop.scale, 0.0), abs=0.2)


def test_without_a_face_it_says_what_to_do() -> None:
    empty = (replace(frame, color=np.full_like(frame.color, 90)) for frame in camera(Noise()))
    with pytest.raises(SelfTestError, match="sit still before the camera"):
        run_selftest((one for one, _ in zip(empty, range(20), strict=False)), StreamConfig())


def test_the_command_reports_every_size_of_a_recording(tmp_path: Path) -> None:
    done = run("sfam", "selftest", "--camera", shared("recordings/face_a.bag"), "--json", "--plot", tmp_path / "p.png")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["camera"] == "face_a"
    assert [row["size"] for row in report["px"]] == list(SIZES_PX)
    assert [row["size"] for row in report["mm"]] == list(SIZES_MM)
    assert 0.05 <= report["smallest_px"] <= 0.3
    assert 0.5 <= report["smallest_mm"] <= 2.0
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("along", [(0.0, -1.0), (1.0, 0.0)])
def test_skin_is_moved_as_splines_would_and_what_rests_stays_the_very_same(along: tuple[float, float]) -> None:
    grey = np.array(cv2.cvtColor(FaceSequence(PLAN).frame(3).color, cv2.COLOR_RGB2GRAY)[140:360, 220:440], np.uint8)
    rows, columns = np.mgrid[0:220, 0:220].astype(np.float32)
    push = np.asarray(0.5 * np.exp(-((columns - 110) ** 2 + (rows - 90) ** 2) / 400), np.float32)
    assert np.array_equal(moved_skin(grey, np.zeros_like(push), along), grey)
    place = came_from(push, along)[::-1]
    splines = map_coordinates(grey.astype(np.float32), place, order=3, mode="nearest")
    away = (moved_skin(grey, push, along).astype(np.float32) - splines)[8:-8, 8:-8]
    assert float(np.sqrt((away**2).mean())) < 0.4, "grey levels; rounding alone gives 0.29"
    assert abs(float(away.mean())) < 0.02
