"""The contract of file readers, and the registry that picks one by content."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple, cast

from . import color_only
from .config import CaptureConfig
from .frame import Calibration, ClockDomain, ColorImage, DepthImage, Intrinsics, RGBDFrame
from .pairing import Role
from .source import SOURCES, SourceError

READERS: dict[bytes, str] = {
    b"#ROSBAG V2.0": "bag:BagRecording",
    b"SQLite format 3\0": "db3:open_db3",
    b"\x89MCAP0\r\n": "own_mcap:open_mcap",
    b"\x1a\x45\xdf\xa3": "kinect_mkv:open_mkv",
}
"""First bytes of a file -> 'module:class or function' in this room; a file's name never decides."""
FOLDERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("rgb.txt", "depth.txt"), "tum:TumRecording"),
    (("INDEX.txt",), "fakenect:FakenectRecording"),
    (("recording.json",), "image_pairs:ImagePairsRecording"),
    (("session.json", "recording.mcap", "recording_2.mcap"), "recorded_parts:PartsRecording"),
    (("color",), "casme:CasmeRecording"),
)
"""What a folder must hold -> 'module:class'; the first that fits."""
VIDEO = re.compile(
    rb"....(?:ftyp|moov|mdat|wide|free)|RIFF....AVI |\x00\x00\x01[\xba\xb3]|FLV\x01|0&\xb2u|OggS|G.{187}G", re.DOTALL
)
"""How ordinary video begins: mp4 and mov, avi, mpeg, flv, wmv, ogg, transport stream; mkv and webm as Kinect's mkv."""
HEAD_BYTES = 192
"""Enough of a file to tell what it is."""
MOST_FPS = 10_000.0
"""No camera is faster: a damaged rate says nothing."""
_FIRST_STAMPS = 24


@dataclass(frozen=True, slots=True)
class FrameStamp:
    """When one image was taken, without the image."""

    stream: str
    role: Role
    number: int
    """Frame counter of the sensor, -1 = none."""
    t_device_ns: int
    """Stamp as recorded, in `clock_domain`."""
    clock_domain: ClockDomain


class StreamFrame(NamedTuple):
    """One image of one stream, not yet paired; a tuple, as that is made twice as fast as a frozen class."""

    stream: str
    role: Role
    image: ColorImage | DepthImage
    """Color: (H, W, 3) uint8 RGB. Depth: (H, W) uint16 as stored, at whatever byte of the file."""
    number: int
    t_device_ns: int
    clock_domain: ClockDomain
    t_sensor_ns: int | None = None
    t_arrival_ms: float | None = None
    """Host clock at arrival, ms since 1970, where the recorder noted it."""
    depth_unit_m: float | None = None
    """Metres per unit of this image where it says so itself."""
    encoded: bytes | None = None
    """The image as stored where its coding is lossy (JPEG)."""


@dataclass(frozen=True, slots=True)
class RecordedStream:
    """One image stream of a recording."""

    name: str
    """'color', 'depth', 'infrared_1' ...: the same in every container."""
    source: str
    """What the recording itself calls it: topic, track or folder."""
    role: Role | None
    encoding: str
    width: int
    height: int
    frames: int | None = None
    """Counted without decoding, None where that would mean reading the file."""
    fps: float | None = None
    """Nominal rate."""


class Recording(ABC):
    """One opened file or folder. A reader fills the fields in its constructor; frames are decoded one by one."""

    container: str
    writer: str
    streams: tuple[RecordedStream, ...]
    color: RecordedStream | None = None
    depth: RecordedStream | None = None
    depth_unit_m: float | None = None
    recovered: bool = False
    """True when the file was read past damage."""
    skipped: Mapping[int, str] = {}
    """Frames that the recorded session's analysis never saw, by cause; left out of `recorded_frames`."""

    def __init__(self, path: Path, config: CaptureConfig) -> None:
        self.path = path
        self.config = config
        self.warnings: list[str] = []
        self.unreadable: Counter[str] = Counter()
        """Images that did not decode, by stream role."""
        self.verify = False
        """Set before `frames()`: compare checksums where the container has them and reading skips them."""

    @property
    @abstractmethod
    def calibration(self) -> Calibration:
        """Geometry of the chosen streams.

        Raises:
            SourceError: when the recording does not hold it.
        """

    @abstractmethod
    def frames(self) -> Iterator[StreamFrame]:
        """Frames of the chosen streams in file order, decoded; `warnings` and `recovered` may grow."""

    def frames_from(self, first: int) -> Iterator[StreamFrame]:
        """Frames from the `first`-th image of `stamps()` on; readers that can, do not decode those before."""
        return islice(self.frames(), first, None)

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; frames handed out stay valid."""

    def stamps(self) -> Iterator[FrameStamp]:
        """Stamps of the chosen streams in file order; readers that can, give them without reading images."""
        for frame in self.frames():
            yield FrameStamp(frame.stream, frame.role, frame.number, frame.t_device_ns, frame.clock_domain)

    def recorded_frames(self) -> Iterator[RGBDFrame] | None:
        """Whole frames exactly as recorded, with their numbers; None where color and depth are to be paired here."""
        return None

    def warn(self, text: str) -> None:
        """Add a warning, once however often the recording is read."""
        if text not in self.warnings:
            self.warnings.append(text)

    def details(self) -> dict[str, str | int | float | bool]:
        """Serial, firmware and the like, for session.json."""
        return {}

    @cached_property
    def period_ns(self) -> int | None:
        """Period of the faster stream: nominal, else by the first stamps; None for a single frame."""
        told = [stream.fps or 0.0 for stream in (self.color, self.depth) if stream is not None]
        rates = [fps for fps in told if 0 < fps <= MOST_FPS]
        if rates:
            return round(1e9 / max(rates))
        seen: dict[str, list[int]] = {}
        unreadable = self.unreadable.copy()
        for stamp in islice(self.stamps(), _FIRST_STAMPS):
            seen.setdefault(stamp.stream, []).append(stamp.t_device_ns)
        self.unreadable = unreadable
        medians = [
            median(steps) for stamps in seen.values() if (steps := [b - a for a, b in pairwise(stamps) if b > a])
        ]
        return round(min(medians)) if medians else None

    @property
    def is_color_only(self) -> bool:
        """True where there is no depth and none is asked for."""
        return self.config.color_only and self.color is not None and self.depth is None

    def color_camera(self) -> Intrinsics | None:
        """Intrinsics of the color stream, for use without depth; None where they are not recorded."""
        return None

    def choose_streams(self) -> None:
        """Pick color and depth by the configured names, else the first of each kind, saying so where it is a choice."""
        self.color = self._choose("color", self.config.color_stream)
        self.depth = self._choose("depth", self.config.depth_stream)

    def require_streams(self) -> tuple[RecordedStream, RecordedStream]:
        """Color and depth.

        Raises:
            SourceError: when one of them, or everything, is missing.
        """
        if not self.streams:
            raise SourceError(f"{self.path}: nothing readable in this {self.container}; it holds no image stream")
        if self.color is None or self.depth is None:
            missing, way_out = ("color", "") if self.color is None else ("depth", f"; {color_only.HOW_TO}")
            raise SourceError(
                f"{self.path}: no {missing} stream in this {self.container}, only "
                f"{', '.join(stream.name for stream in self.streams)}; both color and depth are needed{way_out}"
            )
        return self.color, self.depth

    def _choose(self, role: Role, wanted: str | None) -> RecordedStream | None:
        """The stream of a role, by name or first."""
        if wanted is not None:
            for stream in self.streams:
                if wanted.lower() in (stream.name, stream.source.lower()):
                    return stream
            raise SourceError(
                f"{self.path}: no stream named {wanted}; it has {', '.join(one.name for one in self.streams) or 'none'}"
            )
        fitting = [stream for stream in self.streams if stream.role == role]
        if len(fitting) > 1:
            names = ", ".join(stream.name for stream in fitting)
            self.warnings.append(
                f"{len(fitting)} {role} streams ({names}); using {fitting[0].name}, choose with capture.{role}_stream"
            )
        return fitting[0] if fitting else None


def open_recording(path: Path, config: CaptureConfig | None = None) -> Recording:
    """Open a file by its first bytes.

    Raises:
        SourceError: missing, empty or unknown file; a reader's own complaint.
    """
    settings = config or CaptureConfig.model_validate({"camera": str(path)})
    if not path.exists():
        raise SourceError(f"{path}: no such file, and no camera of that name; cameras are {', '.join(SOURCES)}")
    if path.is_dir():
        return _open_folder(path, settings)
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise SourceError(f"{path}: empty file; nothing was recorded")
    for magic, target in READERS.items():
        if head.startswith(magic):
            return _reader(target)(path, settings)
    if VIDEO.match(head):
        return _reader("video:VideoRecording")(path, settings)
    raise SourceError(f"{path}: not a recording; its first bytes are {head[:12]!r}, which no reader here knows")


def _open_folder(path: Path, config: CaptureConfig) -> Recording:
    """Open a folder by what it holds."""
    for names, target in FOLDERS:
        if all((path / name).exists() for name in names):
            return _reader(target)(path, config)
    raise SourceError(
        f"{path}: not a recording; a folder must hold rgb.txt and depth.txt (TUM), INDEX.txt (fakenect), "
        "recording.json with color/ and depth/, color/ with depth images (CAS(ME)^3), or be a session's with several "
        "recordings; of one with a single recording give the file"
    )


def _reader(target: str) -> Callable[[Path, CaptureConfig], Recording]:
    """What opens a recording, by 'module:name'."""
    module, _, name = target.partition(":")
    return cast(Callable[[Path, CaptureConfig], Recording], getattr(import_module(f".{module}", __package__), name))
