"""Alignment: the exact form against the vendor SDK itself, the fast form against the exact one."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sfam.capture import compiled_align, region_align
from sfam.capture.align import align_depth
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import Calibration, Distortion, Extrinsics, Intrinsics
from sfam.capture.projection import needs_two_corners
from sfam.capture.recording_source import RecordingSource
from sfam.capture.region_align import RegionAligner
from tests.shared_data import shared

MODELS = [
    Distortion.NONE,
    Distortion.BROWN_CONRADY,
    Distortion.INVERSE_BROWN_CONRADY,
    Distortion.MODIFIED_BROWN_CONRADY,
]
DEPTH_SIZES = [(64, 48), (128, 72), (160, 120), (640, 480), (848, 480), (640, 240)]
COLOR_SIZES = [(64, 48), (128, 96), (160, 90), (640, 480), (320, 180), (640, 360), (1280, 720)]
Image = NDArray[np.uint16]


def float32(value: Any) -> float:
    return float(np.float32(value))


def camera(rng: np.random.Generator, size: tuple[int, int], model: Distortion) -> Intrinsics:
    width, height = size
    focal = width * rng.uniform(0.5, 1.3)
    coeffs = rng.normal(size=5) * [0.1, 0.1, 0.005, 0.005, 0.02]
    return Intrinsics(
        width,
        height,
        float32(focal),
        float32(float(focal * rng.uniform(0.98, 1.02))),
        float32(width / 2 + rng.normal() * width * 0.02),
        float32(height / 2 + rng.normal() * height * 0.02),
        model,
        tuple(float32(one) for one in coeffs) if model is not Distortion.NONE else (0.0,) * 5,
    )


def geometry(rng: np.random.Generator, depth: tuple[int, int], color: tuple[int, int]) -> Calibration:
    """A random but possible pair of cameras."""
    turn = cv2.Rodrigues(rng.normal(size=3) * 0.02)[0].ravel()
    shift = rng.normal(size=3) * [0.03, 0.005, 0.005]
    return Calibration(
        camera(rng, color, MODELS[rng.integers(4)]),
        camera(rng, depth, MODELS[rng.integers(4)]),
        Extrinsics(tuple(float32(one) for one in turn), (float32(shift[0]), float32(shift[1]), float32(shift[2]))),
    )


def scene(rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """A wall with noise, holes, flying pixels and something near."""
    width, height = size
    depth = rng.normal(900, 10, (height, width)) + 300 * (rng.random((height, width)) < 0.05)
    depth[height // 3 : height // 2, width // 3 : width // 2] = rng.integers(300, 500)
    depth[rng.random((height, width)) < 0.1] = 0
    return np.clip(depth, 0, 65535).astype(np.uint16)


def sdk_align(depth: Image, calibration: Calibration, unit_m: float) -> Image:
    """The same through `rs.align`, fed by a software device."""
    rs = pytest.importorskip("pyrealsense2", exc_type=ImportError)
    models = dict(
        zip(MODELS, ("none", "brown_conrady", "inverse_brown_conrady", "modified_brown_conrady"), strict=True)
    )
    device = rs.software_device()
    profiles, sensors = [], []
    for uid, (name, one, bytes_per_pixel) in enumerate(
        (("depth", calibration.depth, 2), ("color", calibration.color, 3))
    ):
        intrinsics = rs.intrinsics()
        intrinsics.width, intrinsics.height = one.width, one.height
        intrinsics.fx, intrinsics.fy, intrinsics.ppx, intrinsics.ppy = one.fx, one.fy, one.ppx, one.ppy
        intrinsics.model, intrinsics.coeffs = getattr(rs.distortion, models[one.distortion]), list(one.coeffs)
        stream = rs.video_stream()
        stream.type, stream.index, stream.uid, stream.fps = getattr(rs.stream, name), 0, uid, 30
        stream.width, stream.height, stream.bpp, stream.intrinsics = one.width, one.height, bytes_per_pixel, intrinsics
        stream.fmt = rs.format.z16 if name == "depth" else rs.format.rgb8
        sensors.append(device.add_sensor(name))
        profiles.append(sensors[-1].add_video_stream(stream))
    sensors[0].add_read_only_option(rs.option.depth_units, unit_m)
    extrinsics = rs.extrinsics()
    extrinsics.rotation = calibration.depth_to_color.matrix().T.ravel().tolist()
    extrinsics.translation = list(calibration.depth_to_color.translation_m)
    profiles[0].register_extrinsics_to(profiles[1], extrinsics)
    device.create_matcher(rs.matchers.default)
    syncer = rs.syncer()
    for sensor, profile in zip(sensors, profiles, strict=True):
        sensor.open(profile)
        sensor.start(syncer)
    color = np.zeros((calibration.color.height, calibration.color.width, 3), np.uint8)
    images: tuple[NDArray[Any], ...] = (depth, color)
    try:
        for number in range(1, 6):
            for sensor, profile, pixels in zip(sensors, profiles, images, strict=True):
                frame = rs.software_video_frame()
                frame.pixels, frame.bpp, frame.stride = pixels, pixels.strides[1], pixels.strides[0]
                frame.timestamp, frame.frame_number = number * 33.0, number
                frame.domain, frame.profile = rs.timestamp_domain.hardware_clock, profile.as_video_stream_profile()
                frame.depth_units = unit_m
                sensor.on_video_frame(frame)
        for _ in range(6):
            found = syncer.wait_for_frames(2000)
            if found.get_depth_frame() and found.get_color_frame():
                aligned = rs.align(rs.stream.color).process(found).get_depth_frame()
                return np.array(np.asanyarray(aligned.get_data()))
    finally:
        for sensor in sensors:
            sensor.stop()
            sensor.close()
    raise AssertionError("the SDK gave no pair")


@pytest.mark.parametrize("seed", range(24))
def test_the_exact_form_equals_the_sdk_pixel_for_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = DEPTH_SIZES[rng.integers(len(DEPTH_SIZES))], COLOR_SIZES[rng.integers(len(COLOR_SIZES))]
    calibration = geometry(rng, *sizes)
    depth, unit_m = scene(rng, sizes[0]), (0.001, 0.0001, 0.00025)[rng.integers(3)]
    ours = align_depth(depth, calibration, unit_m)
    assert np.array_equal(ours, sdk_align(depth, calibration, unit_m))


@pytest.mark.parametrize("case", [((640, 480), (640, 360)), ((640, 240), (320, 180)), ((848, 480), (160, 90))])
def test_special_sizes_and_the_one_corner_path_equal_the_sdk(case: tuple[tuple[int, int], tuple[int, int]]) -> None:
    rng = np.random.default_rng(5)
    calibration = geometry(rng, *case)
    depth = scene(rng, case[0])
    ours = align_depth(depth, calibration, 0.001)
    assert needs_two_corners(calibration) == (case[1] != (160, 90))
    assert np.count_nonzero(ours) > 0.2 * ours.size
    assert np.array_equal(ours, sdk_align(depth, calibration, 0.001))


def test_the_largest_raw_value_is_kept() -> None:
    same = Intrinsics(8, 6, 8.0, 8.0, 4.0, 3.0)
    depth = np.full((6, 8), 65535, np.uint16)
    assert np.count_nonzero(align_depth(depth, Calibration(same, same), 0.001) == 65535) >= 35


def test_aligned_depth_is_handed_through() -> None:
    same = Intrinsics(8, 6, 8.0, 8.0, 4.0, 3.0)
    depth = np.arange(48, dtype=np.uint16).reshape(6, 8)
    calibration = Calibration(same, same, depth_aligned=True)
    assert align_depth(depth, calibration, 0.001) is depth
    cut = RegionAligner(calibration, 0.001).align(depth, (-1, 4, 4, 4))
    assert np.array_equal(cut, [[0, 32, 33, 34], [0, 40, 41, 42], [0] * 4, [0] * 4])


def test_an_image_of_another_size_than_the_calibration_is_refused() -> None:
    same = Intrinsics(8, 6, 8.0, 8.0, 4.0, 3.0)
    with pytest.raises(ValueError, match="calibration says"):
        align_depth(np.zeros((8, 6), np.uint16), Calibration(same, same), 0.001)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_a_box_is_the_same_cut_of_the_whole(seed: int, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(region_align, "kernel", None)
    rng = np.random.default_rng(100 + seed)
    sizes = DEPTH_SIZES[rng.integers(len(DEPTH_SIZES))], COLOR_SIZES[rng.integers(len(COLOR_SIZES))]
    calibration = geometry(rng, *sizes)
    depth = scene(rng, sizes[0])
    whole = align_depth(depth, calibration, 0.001)
    aligner = RegionAligner(calibration, 0.001)
    width, height = sizes[1]
    for _ in range(3):
        x, y = int(rng.integers(-10, width)), int(rng.integers(-10, height))
        w, h = int(rng.integers(8, width + 20)), int(rng.integers(8, height + 20))
        expected = np.zeros((h, w), np.uint16)
        inside = whole[max(y, 0) : y + h, max(x, 0) : x + w]
        expected[max(-y, 0) : max(-y, 0) + inside.shape[0], max(-x, 0) : max(-x, 0) + inside.shape[1]] = inside
        got = aligner.align(depth, (x, y, w, h))
        assert got.shape == (h, w)
        assert np.mean(got == expected) >= 0.995


def rational(width: int, height: int, focal: float) -> Intrinsics:
    coeffs = (0.4382, 0.0671, 4.8e-05, -6.2e-05, 0.0041, 0.7741, 0.1468, 0.0197)
    return Intrinsics(width, height, focal, focal, width / 2, height / 2, Distortion.RATIONAL, coeffs)


def test_the_compiled_loop_was_built_and_refuses_what_does_not_fit() -> None:
    kernel = compiled_align.kernel
    assert kernel is not None, "not built: install a C compiler and run pip install -e . again"
    calibration = geometry(np.random.default_rng(1), (64, 48), (64, 48))
    with pytest.raises(ValueError, match="corners has"):
        RegionAligner(calibration, 0.001)._align_compiled(kernel, np.zeros((96, 64), np.uint16), (0, 0, 8, 8))
    out, corners = np.empty((8, 8), np.uint16), np.zeros((3, 49, 65), np.float32)
    depth, memory = np.zeros((48, 64), np.uint16), np.empty(compiled_align.layer_cells(8, 8, 2), np.uint16)
    with pytest.raises(ValueError, match="do not fit"):
        kernel.align(depth, 64, 48, corners, 0.0, 0.0, 0.0, True, 0, 49, 0, 64, 0, 0, 8, 8, 2, 2, memory, out)
    with pytest.raises(ValueError, match="do not fit"):
        kernel.align(depth, 64, 48, corners, 0.0, 0.0, 0.0, True, 0, 48, 0, 64, 0, 0, 8, 8, 2, 0, memory, out)
    with pytest.raises(ValueError, match="memory has"):
        kernel.align(depth, 64, 48, corners, 0.0, 0.0, 0.0, True, 0, 48, 0, 64, 0, 0, 8, 8, 3, 2, memory, out)
    with pytest.raises(ValueError, match="out has"):
        kernel.align(depth, 64, 48, corners, 0.0, 0.0, 0.0, True, 0, 48, 0, 64, 0, 0, 8, 8, 2, 2, memory, out[1:])


def test_a_rational_lens_is_undone_and_applied() -> None:
    lens = rational(320, 288, 252.0)
    depth = np.full((288, 320), 700, np.uint16)
    larger = rational(380, 342, 252.0 * 1.1875)
    twice = align_depth(depth, Calibration(larger, lens), 0.001)
    assert np.count_nonzero(twice) > 0.99 * twice.size, "the same lens on both sides must give the image back"
    plain = Intrinsics(320, 288, 252.0, 252.0, 160.0, 144.0)
    point = np.zeros((288, 320), np.uint16)
    point[60, 40] = 700
    rows, columns = np.nonzero(align_depth(point, Calibration(plain, lens), 0.001))
    ideal = cv2.undistortPoints(
        np.array([[[40.0, 60.0]]]), np.array([[252, 0, 160], [0, 252, 144], [0, 0, 1.0]]), np.array(lens.coeffs)
    )[0, 0]
    assert columns.mean() == pytest.approx(ideal[0] * 252 + 160, abs=1.0)
    assert rows.mean() == pytest.approx(ideal[1] * 252 + 144, abs=1.0)


def test_a_face_box_of_a_recording_is_exact_and_quick() -> None:
    source = RecordingSource(CaptureConfig(camera=str(shared("recordings/face_a.bag"))))
    frames = [frame for frame, _ in zip(source.frames(), range(8), strict=False)]
    calibration, box = frames[0].calibration, (200, 120, 240, 240)
    aligner = RegionAligner(calibration, frames[0].depth_scale_m)
    whole = [align_depth(frame.depth, calibration, frame.depth_scale_m) for frame in frames]
    for frame, one in zip(frames, whole, strict=True):
        assert np.mean(aligner.align(frame.depth, box) == one[120:360, 200:440]) > 0.999
    exact = best_of(lambda: align_depth(frames[0].depth, calibration, 0.001), 5)
    quick = best_of(lambda: aligner.align(frames[0].depth, box), 50)
    assert quick < exact / 20


def best_of(work: Any, times: int) -> float:
    """Shortest of several runs, in seconds."""
    spans = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        spans.append(time.perf_counter() - began)
    return min(spans)
