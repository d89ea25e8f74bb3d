"""Runs sequences through the live analysis and keeps what a network would have seen."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import RGBDFrame
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from sfam.stream.face_track import FaceTrack
from sfam.stream.flow_window import MAP_PX, FlowWindow
from sfam.stream.roi import RegionFinder, Regions, to_crop

from .overlays import Background
from .program import program_hash
from .sequences import FPS, Scene, frames, lookalikes


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


@dataclass(frozen=True, slots=True)
class BackgroundTask:
    """One scene to measure; picklable."""

    scene: Scene
    stream: StreamConfig
    saved: Path | None = None
    """File that keeps the result, or has it from an earlier run of the same scene, settings and program."""

    @property
    def identity(self) -> str:
        """Hash of all that decides the result."""
        program = program_hash("capture", "stream", "training")
        return hashlib.sha256(repr((self.scene, self.stream, program)).encode()).hexdigest()


def measure_background(task: BackgroundTask) -> Background:
    """Render and measure one scene, unless its file holds that already."""
    cv2.setNumThreads(1)
    done = None if task.saved is None else read_background(task.saved, task.identity)
    if done is not None:
        return done
    measured = as_background(measure(frames(task.scene), task.stream, FPS), lookalikes(task.scene))
    if task.saved is not None:
        write_background(measured, task.saved, task.identity)
    return measured


def write_background(background: Background, path: Path, identity: str) -> None:
    """Write a background under its name only once it is whole."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    at = background.regions
    boxes = np.array([at.upper, at.lower, *at.eyes, at.upper_lip, at.jaw], np.int64)
    arrays = {name: getattr(background, name) for name in ("maps", "usable", "lag", "lookalikes", "landmarks")}
    with beside.open("wb") as file:
        np.savez(file, identity=np.array(identity), regions=boxes, **arrays)
    os.replace(beside, path)


def read_background(path: Path, identity: str) -> Background | None:
    """A background as it was written; None where there is none of this identity, or it is damaged."""
    try:
        with np.load(path) as content:
            if str(content["identity"]) != identity:
                return None
            arrays = {name: content[name] for name in content.files if name != "identity"}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    upper, lower, left, right, lip, jaw = ((int(x), int(y), int(w), int(h)) for x, y, w, h in arrays.pop("regions"))
    return Background(regions=Regions(upper, lower, (left, right), lip, jaw), **arrays)
