"""All network inputs of a recording at once, for the tools that look at a model rather than at a stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfam.capture.config import CaptureConfig
from sfam.capture.source import open_source
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig


def windows_of(recording: Path, stream: StreamConfig | None = None) -> NDArray[np.float32]:
    """(M, 3, 42, 42) maps of every window of a recording, in the order of time.

    Raises:
        SourceError: the recording cannot be read.
    """
    analysis = Analysis(stream or StreamConfig())
    with open_source(CaptureConfig(camera=str(recording))) as source:
        maps = [window.maps for frame in source.frames() for window in analysis.push(frame)]
    analysis.close()
    return np.stack(maps) if maps else np.zeros((0, 3, 42, 42), np.float32)
