"""Input without depth: each color image gets an empty depth image, so that all that follows is one path.

Nothing measured stands behind w then; frames say `depth_missing` and every window the flag no_depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .frame import Calibration, DepthImage, Intrinsics

if TYPE_CHECKING:
    from .recording import FrameStamp, Recording, StreamFrame

STREAM = "no_depth"
"""Name under which the empty images travel."""
WITHOUT_DEPTH = "color only: there is no depth, so w is zero and every window is flagged no_depth"
"""The warning of every such input."""
NOMINAL = "no camera calibration: nominal intrinsics taken, lengths across the image are approximate"
"""The warning where nothing is known of the lens."""
HOW_TO = "--color-only (capture.color_only) takes color alone; w is then zero and flagged"
"""What the refusal of an input without depth says."""
_FOCAL_PER_SIDE = 0.72
"""Focal length over the longer side of an unknown camera's image: a view of 69.5 degrees, as webcams have."""


def empty_depth(height: int, width: int) -> DepthImage:
    """(height, width) uint16 without any reading; read-only, so that all frames may share it."""
    empty = np.zeros((height, width), np.uint16)
    empty.flags.writeable = False
    return empty


def nominal_camera(width: int, height: int) -> Intrinsics:
    """A camera of the usual view, where nothing is known."""
    focal = _FOCAL_PER_SIDE * max(width, height)
    return Intrinsics(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def color_calibration(recording: Recording) -> Calibration:
    """Geometry of a recording's color stream alone, nominal where it is not recorded; adds the warnings."""
    recording.warn(WITHOUT_DEPTH)
    camera = recording.color_camera()
    if camera is None:
        assert recording.color is not None
        camera = nominal_camera(recording.color.width, recording.color.height)
        recording.warn(NOMINAL)
    return Calibration(camera, camera, depth_aligned=True)


def with_empty_depth(frames: Iterator[StreamFrame]) -> Iterator[StreamFrame]:
    """Each color frame behind an empty depth frame of its instant."""
    empty = empty_depth(0, 0)
    for frame in frames:
        if empty.shape != frame.image.shape[:2]:
            empty = empty_depth(*frame.image.shape[:2])
        yield frame._replace(stream=STREAM, role="depth", image=empty, number=-1, encoded=None)
        yield frame


def stamps_with_depth(stamps: Iterator[FrameStamp]) -> Iterator[FrameStamp]:
    """The same for stamps."""
    for stamp in stamps:
        yield replace(stamp, stream=STREAM, role="depth", number=-1)
        yield stamp
