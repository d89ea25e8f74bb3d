"""Frames for recordings: every field set to something, pixels from a seed, so that any of them can be made anew."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from sfam.capture.frame import Calibration, ClockDomain, Distortion, Extrinsics, Intrinsics, RGBDFrame
from sfam.capture.source import SourceInfo

FPS = 60.0
CALIBRATION = Calibration(
    color=Intrinsics(
        64, 48, 61.5, 61.58, 32.14, 23.82, Distortion.INVERSE_BROWN_CONRADY, (0.1, -0.2, 0.001, 0.0, 1e-9)
    ),
    depth=Intrinsics(
        80, 60, 42.5, 42.49999999999999, 40.1, 29.3, Distortion.RATIONAL, (0.1, 0.2, 0.0, 0.0, 0.3, 0.4, 0.5, 0.6)
    ),
    depth_to_color=Extrinsics((1.0, 0.0, 1e-17, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), (0.0148, -0.0002, 1 / 3)),
)
INFO = SourceInfo(
    camera="test",
    kind="device",
    live=True,
    fps=FPS,
    calibration=CALIBRATION,
    details={"serial_number": "000123", "usb": 3.2, "emitter": True},
)


def seeded_frame(sequence: int, calibration: Calibration = CALIBRATION, seed: int = 0) -> RGBDFrame:
    """Frame number `sequence`: half noise, half flat, as images are; odd ones lack what devices may lack."""
    draw = np.random.default_rng((seed, sequence))
    color = np.full((calibration.color.height, calibration.color.width, 3), sequence % 251, np.uint8)
    color[::2] = draw.integers(0, 256, color[::2].shape, dtype=np.uint8)
    depth = np.full((calibration.depth.height, calibration.depth.width), 5000 + sequence, np.uint16)
    depth[:, ::2] = draw.integers(0, 65536, depth[:, ::2].shape, dtype=np.uint16)
    t_ns = 7_000_000_000_001 + round(sequence * 1e9 / FPS)
    odd = bool(sequence % 2)
    return RGBDFrame(
        sequence=sequence,
        color=color,
        depth=depth,
        calibration=calibration,
        depth_scale_m=0.0001 if odd else 0.00010000000474974513,
        t_capture_ns=t_ns,
        t_device_ns=t_ns - 3_000_017,
        clock_domain=ClockDomain.HARDWARE,
        t_host_ns=t_ns + 11,
        t_utc_ns=1_700_000_000_000_000_007 + t_ns,
        t_depth_device_ns=t_ns - 3_100_003,
        t_sensor_ns=None if odd else t_ns - 9,
        t_global_ns=None if odd else t_ns + 2**60,
        color_number=sequence + 500,
        depth_number=sequence + 100,
        segment=sequence // 10,
        dropped_before=sequence % 3,
        depth_missing=sequence == 7,
    )


def assert_equal(one: RGBDFrame, other: RGBDFrame) -> None:
    """Equal in every field, type and byte."""
    for field in fields(RGBDFrame):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        assert type(mine) is type(theirs), field.name
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype, field.name
            assert mine.shape == theirs.shape, field.name
            assert mine.tobytes() == theirs.tobytes(), field.name
            assert theirs.flags.aligned
        else:
            assert mine == theirs, field.name
