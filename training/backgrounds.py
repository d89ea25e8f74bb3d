"""Runs sequences through the live analysis and keeps what a network would have seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import RGBDFrame
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from sfam.stream.face_track import FaceTrack
from sfam.stream.flow_window import MAP_PX, FlowWindow
from sfam.stream.roi import RegionFinder, to_crop

from .overlays import Background


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What the analysis gave for one sequence."""

    windows: tuple[FlowWindow | None, ...]
    """One per frame, None where there was none."""
    track: FaceTrack
    """The face in the middle of the sequence."""


def measure(frames: Iterable[RGBDFrame], config: StreamConfig | None = None, fps: float = 30.0) -> Measured:
    """Push a sequence with one face through the analysis that runs live.

    Raises:
        ValueError: no face was ever found.
    """
    analysis = Analysis(config or StreamConfig(), fps)
    windows: list[FlowWindow | None] = []
    tracks: list[FaceTrack] = []
    try:
        for frame in frames:
            found = analysis.push(frame)
            windows.append(found[0] if found else None)
            tracks += analysis.tracks[:1]
    finally:
        analysis.close()
    if not tracks:
        raise ValueError(f"training: no face was found in a synthetic sequence of {len(windows)} frames")
    return Measured(tuple(windows), tracks[len(tracks) // 2])


def as_background(measured: Measured, lookalikes: NDArray[np.floating]) -> Background:
    """The same as arrays, with where its maps were cut.

    Args:
        measured: a sequence without expressions, frames numbered from 0.
        lookalikes: (T,) how far a blink, a shift of gaze or a syllable has gone, 0..1.
    """
    count = len(measured.windows)
    maps = np.zeros((count, 3, MAP_PX, MAP_PX), dtype=np.float32)
    usable = np.zeros(count, dtype=np.bool_)
    lag = np.zeros(count, dtype=np.int64)
    for index, window in enumerate(measured.windows):
        if window is not None:
            maps[index], usable[index], lag[index] = window.maps, True, window.frame - window.from_frame
    track = measured.track
    return Background(
        maps=maps,
        usable=usable,
        lag=lag,
        lookalikes=np.asarray(lookalikes, dtype=np.float32),
        landmarks=to_crop(track.landmarks_px, track.crop),
        regions=RegionFinder().regions(track.landmarks_px, track.crop),
    )
