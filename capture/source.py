"""The contract of everything that yields frames, and the lazy registry that opens it by name."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import TracebackType
from typing import cast

from .config import CaptureConfig
from .frame import Calibration, RGBDFrame


class SourceError(ConnectionError):
    """A camera or recording cannot be opened or read; the text says what to do, in one line.

    Damaged files bring their own letters into it: those that a terminal would obey are shown as spaces.
    """

    def __str__(self) -> str:
        """The line."""
        return "".join(letter if letter.isprintable() else " " for letter in super().__str__())


class AbsentError(SourceError):
    """The camera asked for is not connected (now)."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source once it is open."""

    camera: str
    """Name for topics: 'demo', a serial or a file stem, in [A-Za-z0-9_-]."""
    kind: str
    """'synthetic', 'recording' or 'device'."""
    live: bool
    """True when frames come whether or not anyone is ready; a file waits."""
    fps: float
    calibration: Calibration
    frames: int | None = None
    """Pairs to expect, None when unknown."""
    warnings: tuple[str, ...] = ()
    stamped: bool = False
    """Live: frames carry the monotonic time of their arrival; without it they get that of being handed on."""
    skipped: Mapping[int, str] = field(default_factory=dict)
    """Recordings of a session: frames that its analysis never saw, by cause; they are left out of the replay."""
    details: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """Serial, firmware, container, writer ...: goes to session.json as it is."""


class FrameSource(ABC):
    """One camera or one recording. Open in the constructor, `frames()` once, then `close()`."""

    @property
    @abstractmethod
    def info(self) -> SourceInfo:
        """What was opened; warnings may grow while reading."""

    @abstractmethod
    def frames(self) -> Iterator[RGBDFrame]:
        """Frames in capture order, `sequence` from 0.

        Raises:
            SourceError: when the device is lost or nothing can be read.
        """

    @property
    @abstractmethod
    def drops(self) -> Mapping[str, int]:
        """Frames that never became a pair, counted by cause; grows while reading."""

    @abstractmethod
    def close(self) -> None:
        """Release the device or file; safe to call twice."""

    def __enter__(self) -> FrameSource:
        """Context manager: closes at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close whatever happened."""
        self.close()


SOURCES: dict[str, str] = {
    "demo": "synthetic:SyntheticSource",
    "realsense": "realsense:RealSenseSource",
    "kinect": "kinect:KinectSource",
    "orbbec": "orbbec:OrbbecSource",
    "oak": "oak:OakSource",
    "webcam": "webcam:WebcamSource",
    "tcp": "remote:RemoteSource",
}
"""Live cameras by name as 'module:class' in this room; anything else names a file or folder."""
ENTRY_POINTS = "sfam.sources"
"""Group under which an installed package may offer cameras of its own: name = module:class taking a CaptureConfig."""
_CAMERA_NAME = re.compile(r"[\w.-]+")
"""A path with a folder in it is no camera's: the installed packages are not searched for it, which takes 6 ms."""


def is_camera(name: str) -> bool:
    """Whether a `capture.camera` names a camera, of this project or of an installed package, and no file or folder."""
    kind = name.partition(":")[0]
    return kind in SOURCES or _offered(kind) is not None


def _offered(name: str) -> EntryPoint | None:
    if name in SOURCES or not _CAMERA_NAME.fullmatch(name):
        return None
    return next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)


def open_source(config: CaptureConfig) -> FrameSource:
    """Open what `config.camera` names.

    Raises:
        SourceError: unknown name, missing or unreadable file, absent device.
    """
    name = config.camera.partition(":")[0]
    if (offered := _offered(name)) is not None:
        return cast(FrameSource, offered.load()(config))
    target = SOURCES.get(name, "recording_source:RecordingSource")
    module, _, attribute = target.partition(":")
    source = getattr(import_module(f".{module}", __package__), attribute)(config)
    return cast(FrameSource, source)
