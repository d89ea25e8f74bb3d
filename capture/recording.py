"""The contract of file readers, the registry that picks one by content, and the source built on them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import cast

from .clock import SessionClock
from .config import CaptureConfig
from .file_time import FileTime, Start, find_start
from .frame import Calibration, ClockDomain, ColorImage, DepthImage, RGBDFrame
from .pairing import Pair, Pairer, Role
from .source import SOURCES, FrameSource, SourceError, SourceInfo

READERS: dict[bytes, str] = {
    b"#ROSBAG V2.0": "bag:BagRecording",
    b"SQLite format 3\0": "db3:open_db3",
    b"\x89MCAP0\r\n": "own_mcap:open_mcap",
    b"\x1a\x45\xdf\xa3": "kinect_mkv:KinectMkvRecording",
}
"""First bytes of a file -> 'module:class or function' in this room; a file's name never decides."""
FOLDERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("rgb.txt", "depth.txt"), "tum:TumRecording"),
    (("INDEX.txt",), "fakenect:FakenectRecording"),
    (("recording.json",), "image_pairs:ImagePairsRecording"),
    (("color",), "casme:CasmeRecording"),
)
"""What a folder must hold -> 'module:class'; the first that fits."""
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


@dataclass(frozen=True, slots=True, eq=False)
class StreamFrame:
    """One image of one stream, not yet paired."""

    stream: str
    role: Role
    image: ColorImage | DepthImage
    """Color: (H, W, 3) uint8 RGB. Depth: (H, W) uint16 as stored."""
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
        rates = [stream.fps for stream in (self.color, self.depth) if stream is not None and stream.fps]
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
            missing = "color" if self.color is None else "depth"
            raise SourceError(
                f"{self.path}: no {missing} stream in this {self.container}, only "
                f"{', '.join(stream.name for stream in self.streams)}; both color and depth are needed"
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
        head = file.read(64)
    if not head:
        raise SourceError(f"{path}: empty file; nothing was recorded")
    for magic, target in READERS.items():
        if head.startswith(magic):
            return _reader(target)(path, settings)
    raise SourceError(f"{path}: not a recording; its first bytes are {head[:12]!r}, which no reader here knows")


def _open_folder(path: Path, config: CaptureConfig) -> Recording:
    """Open a folder by what it holds."""
    for names, target in FOLDERS:
        if all((path / name).exists() for name in names):
            return _reader(target)(path, config)
    raise SourceError(
        f"{path}: not a recording; a folder must hold rgb.txt and depth.txt (TUM), INDEX.txt (fakenect), "
        "recording.json with color/ and depth/, or color/ with depth images (CAS(ME)^3)"
    )


def _reader(target: str) -> Callable[[Path, CaptureConfig], Recording]:
    """What opens a recording, by 'module:name'."""
    module, _, name = target.partition(":")
    return cast(Callable[[Path, CaptureConfig], Recording], getattr(import_module(f".{module}", __package__), name))


class RecordingSource(FrameSource):
    """A recording as a camera: every pair, in order, at the reader's speed."""

    def __init__(self, config: CaptureConfig) -> None:
        """Open the recording that `config.camera` names.

        Raises:
            SourceError: when it cannot be read, or holds no color or no depth.
        """
        self._config = config
        self._recording = open_recording(Path(config.camera).expanduser(), config)
        try:
            self._color, self._depth = self._recording.require_streams()
            self._calibration = self._recording.calibration
        except SourceError:
            self._recording.close()
            raise
        self._pairer: Pairer[StreamFrame] = Pairer(self._recording.period_ns)
        self._sequence = 0
        self._time = FileTime()
        self._not_recorded = 0

    @property
    def info(self) -> SourceInfo:
        """What was opened; `warnings` grow while reading."""
        recording = self._recording
        counts = [stream.frames for stream in (self._color, self._depth)]
        whole = self._config.from_s == 0 and self._config.to_s is None
        period = self._pairer.period_ns
        return SourceInfo(
            camera=camera_name(recording.path),
            kind="recording",
            live=False,
            fps=round(1e9 / period, 3) if period else 0.0,
            calibration=self._calibration,
            frames=min(count for count in counts if count is not None) if whole and None not in counts else None,
            warnings=tuple(recording.warnings),
            skipped=recording.skipped if whole else {},
            details={"container": recording.container, "writer": recording.writer, **recording.details()},
        )

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames without pair by cause; `unreadable_*` did not decode."""
        unreadable = {f"unreadable_{role}": count for role, count in self._recording.unreadable.items()}
        missing = {"not_recorded": self._not_recorded} if self._not_recorded else {}
        return {**self._pairer.drops, **unreadable, **missing}

    def frames(self) -> Iterator[RGBDFrame]:
        """Pairs in file order, `sequence` from 0, between `from_s` and `to_s` of the recording's own time."""
        recorded = self._recording.recorded_frames()
        if recorded is not None:
            yield from self._as_recorded(recorded)
            return
        start = self._find_start()
        for frame in self._recording.frames_from(start.first if start else 0):
            for pair in self._pairer.push(frame):
                if start is not None:
                    self._time = start.times.pop((pair.color.number, pair.color.t_device_ns), self._time)
                if self._is_past_end(pair.color):
                    return
                yield from self._emit(pair)
        for pair in self._pairer.flush():
            if self._is_past_end(pair.color):
                return
            yield from self._emit(pair)

    def close(self) -> None:
        """Let go of the file."""
        self._recording.close()

    def _as_recorded(self, frames: Iterator[RGBDFrame]) -> Iterator[RGBDFrame]:
        """Recorded frames keep their numbers, so that those never recorded show; after `from_s` they count from 0."""
        first = 0 if self._config.from_s == 0 else None
        for frame in frames:
            if self._is_past_end(frame):
                return
            if self._time.elapsed_ns < self._config.from_s * 1e9:
                continue
            first = frame.sequence if first is None else first
            self._not_recorded += frame.sequence - first - self._sequence
            self._sequence = frame.sequence - first + 1
            yield replace(frame, sequence=frame.sequence - first) if first else frame

    def _find_start(self) -> Start | None:
        """Where `from_s` begins, found by stamps alone; None to read from the front."""
        if self._config.from_s == 0:
            return None
        return find_start(self._recording.stamps(), self._recording.period_ns, round(self._config.from_s * 1e9))

    def _is_past_end(self, now: StreamFrame | RGBDFrame) -> bool:
        """Advance file time; true once it is past `to_s`."""
        elapsed_ns = self._time.advance(now)
        return self._config.to_s is not None and elapsed_ns > self._config.to_s * 1e9

    def _emit(self, pair: Pair[StreamFrame]) -> Iterator[RGBDFrame]:
        """The pair as a frame, unless it lies before `from_s`."""
        if self._time.elapsed_ns < self._config.from_s * 1e9:
            return
        color, depth = pair.color, pair.depth
        in_utc = color.clock_domain in (ClockDomain.SYSTEM, ClockDomain.GLOBAL)
        yield RGBDFrame(
            sequence=self._sequence,
            color=cast(ColorImage, color.image),
            depth=cast(DepthImage, depth.image),
            calibration=self._calibration,
            depth_scale_m=depth.depth_unit_m or self._unit_m(),
            t_capture_ns=color.t_device_ns,
            t_device_ns=color.t_device_ns,
            clock_domain=color.clock_domain,
            t_host_ns=SessionClock.now_ns(),
            t_utc_ns=color.t_device_ns if in_utc else 0,
            t_depth_device_ns=depth.t_device_ns,
            t_sensor_ns=color.t_sensor_ns,
            t_global_ns=color.t_device_ns if color.clock_domain is ClockDomain.GLOBAL else None,
            color_number=color.number,
            depth_number=depth.number,
            segment=self._time.segment,
            dropped_before=pair.dropped_before,
        )
        self._sequence += 1

    def _unit_m(self) -> float:
        """Metres per depth unit of the recording."""
        unit = self._recording.depth_unit_m or self._config.depth_unit_m
        if unit is None:
            raise SourceError(
                f"{self._recording.path}: does not say its depth unit; give it with --set capture.depth_unit_m=0.001"
            )
        return unit


def camera_name(path: Path) -> str:
    """A file's stem as a topic name, in [A-Za-z0-9_-]."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem).strip("_") or "recording"
