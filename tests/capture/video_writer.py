"""Writes short ordinary videos through PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SIZE = (64, 48)


def write_video(
    path: Path,
    codec: str = "mpeg4",
    count: int = 20,
    *,
    b_frames: int = 0,
    stamps: tuple[int, ...] = (),
    size: tuple[int, int] = SIZE,
) -> Path:
    """A video at 30 fps (or with stamps in units of 1/30 s) whose frame k is grey 10 k, its left half black."""
    width, height = size
    with av.open(str(path), "w") as file:
        track: Any = file.add_stream(codec, rate=30)
        track.width, track.height, track.pix_fmt = width, height, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        track.codec_context.max_b_frames = b_frames
        track.codec_context.time_base = Fraction(1, 30)
        for k in range(count):
            image = np.full((height, width, 3), 10 * (k % 25), np.uint8)
            image[:, : width // 2] = 0
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=track.pix_fmt)
            frame.pts, frame.time_base = (stamps[k] if stamps else k), Fraction(1, 30)
            for packet in track.encode(frame):
                file.mux(packet)
        for packet in track.encode():
            file.mux(packet)
    return path
