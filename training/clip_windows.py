"""The windows of one clip beside its annotation, and the published labels for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sfam.stream.flow_window import MAP_PX

from .dataset import AnnotatedInterval, DataSetError, emotion_class, subject_order

FRAME_SKIP = 2
"""The published scores are every second frame's at 30 frames a second."""
PUBLISHED_FPS = 30.0
RATE_TOLERANCE = 0.05
Maps = NDArray[np.float32]


class MapStore(Protocol):
    """(T, 3, 42, 42) maps that may lie in a file; what is indexed is an array in memory or a view of one."""

    def __len__(self) -> int:
        """Number of windows."""
        ...

    def __getitem__(self, chosen: Any, /) -> Any:
        """Maps of the chosen windows."""
        ...


class StoredMaps:
    """Maps in an .npy file that is open only while something is read from it.

    A corpus has more clips than a process may have open files, and a mapped array keeps its file open.
    """

    def __init__(self, path: Path, count: int) -> None:
        """`count` windows lie in `path`."""
        self._path, self._count = path, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, chosen: Any, /) -> Maps:
        """Copies of the chosen windows, float32.

        Raises:
            DataSetError: the file is gone or damaged.
        """
        try:
            maps = np.load(self._path, mmap_mode="r")
            return np.array(maps[chosen], np.float32)
        except (OSError, ValueError) as error:
            raise DataSetError(f"{self._path}: cannot be read any more ({error}); run `sfam features` again") from error


@dataclass(frozen=True, slots=True, eq=False)
class ClipWindows:
    """What training and evaluation need of one clip."""

    subject: str
    video: str
    maps: MapStore
    """(T, 3, 42, 42) float32: u px, v px, w mm; may lie in a file and be read only where it is looked at."""
    frames: NDArray[np.int64]
    """(T,) the frame at which each window ends, counted from 0."""
    length: int
    """Frames of the clip."""
    intervals: tuple[AnnotatedInterval, ...]
    apex_maps: Maps
    """(K, 3, 42, 42) float32: motion from onset to apex of annotated micro-expressions."""
    apex_emotions: tuple[str, ...]
    """Emotion of each of them."""
    fps: float = PUBLISHED_FPS
    """Frames a second."""


def no_maps() -> Maps:
    """(0, 3, 42, 42)."""
    return np.zeros((0, 3, MAP_PX, MAP_PX), np.float32)


def subjects_of(clips: Sequence[ClipWindows]) -> list[str]:
    """Names of the subjects in natural order."""
    return sorted({clip.subject for clip in clips}, key=subject_order)


def at_published_rate(clips: list[ClipWindows]) -> list[ClipWindows]:
    """The clips, if the published labels and decoding, which count frames of 30 a second, mean something for them.

    Raises:
        DataSetError: one has another rate.
    """
    for clip in clips:
        if abs(clip.fps / PUBLISHED_FPS - 1) > RATE_TOLERANCE:
            raise DataSetError(
                f"{clip.subject}/{clip.video} has {clip.fps:g} frames a second; the published protocol counts frames "
                f"of {PUBLISHED_FPS:g}, its figures would be wrong. Leave such clips out, record at {PUBLISHED_FPS:g} "
                "(--set capture.fps=30), or use `sfam train --finetune`, which goes by time"
            )
    return clips


def scored_frames(clip: ClipWindows) -> NDArray[np.int64]:
    """Indices of the windows that the published program scores: those at every second frame."""
    return np.flatnonzero(clip.frames % FRAME_SKIP == 0)


def published_labels(clip: ClipWindows, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Labels of `scored_frames`: spotting 1 from half way between onset and apex up to the apex of each micro.

    Frames are halved before the middle is taken, as published; where micros overlap the later row wins.

    Returns:
        spot (T,) 0 or 1, and emotion (T,) with `classes` = neutral or without an emotion.
    """
    places = clip.frames[scored_frames(clip)] // FRAME_SKIP
    spot = np.zeros(len(places), np.float32)
    emotion = np.full(len(places), classes, np.int64)
    for one in clip.intervals:
        if one.kind != "micro":
            continue
        onset, apex = one.onset // FRAME_SKIP, one.apex // FRAME_SKIP
        rising = (places >= (onset + apex) // 2) & (places <= apex)
        spot[rising] = 1.0
        label = emotion_class(one.emotion, classes)
        emotion[rising] = classes if label is None else label
    return spot, emotion
