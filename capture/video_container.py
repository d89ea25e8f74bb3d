"""PyAV, the one door to it: video containers opened for reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .source import SourceError


def pyav(path: Path) -> Any:
    """PyAV's module.

    Raises:
        SourceError: when it is not installed, with the way to get it; `path` is the file that needs it.
    """
    try:
        import av
    except ImportError as error:
        raise SourceError(f"{path}: a video file needs PyAV; run pip install '.[files]' in the checkout") from error
    return av


def open_container(path: Path) -> Any:
    """A video file as PyAV opens it.

    Raises:
        SourceError: when PyAV is missing, or nothing in the file can be read.
    """
    av = pyav(path)
    try:
        return av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"{path}: nothing readable in this video file ({error})") from error
