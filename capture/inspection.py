"""What a recording holds and whether a run could use it, said without reading its images unless asked to."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from . import color_only
from .config import CaptureConfig
from .frame import ClockDomain
from .pairing import Pairer
from .recording import FrameStamp, RecordedStream, Recording, StreamFrame, open_recording
from .source import SourceError

_GAP_PERIODS = 1.5
"""An interval longer than this many periods, one lost frame included, is a gap."""


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One image stream."""

    name: str
    encoding: str
    width: int
    height: int
    frames: int
    sha256: str | None
    """Over all frames in file order: depth as little-endian uint16, color as RGB8, JPEG as stored; only when deep."""
    fps: float | None = None
    """By the median of the stamps; None of streams that a run would not use."""
    clock_domain: ClockDomain = ClockDomain.UNKNOWN
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in a stream."""

    after_index: int
    """Place in the file of the stream's frame before it, from 0."""
    ms: int


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """Everything `sfam inspect` says."""

    container: str
    writer: str
    duration_s: float
    pairs: int
    recovered: bool
    depth_unit_m: float | None
    gaps: tuple[Gap, ...]
    """Of the color stream, as are the rate, the clock and the segments; each stream has its own."""
    duplicates: tuple[int, ...]
    """Places in the file of color frames that repeat the one before, from 0."""
    warnings: tuple[str, ...]
    streams: tuple[StreamReport, ...]
    clock_domain: ClockDomain = ClockDomain.UNKNOWN
    fps: float | None = None
    """Color rate by the median of the stamps."""
    segments: int = 0
    """Stretches between which the stamps jump back."""
    error: str | None = None
    """Why a run could not use it: color or depth missing, or nothing readable."""

    def to_json(self) -> dict[str, Any]:
        """The object that `sfam inspect --json` prints."""
        return {
            "container": self.container,
            "writer": self.writer,
            "duration_s": self.duration_s,
            "pairs": self.pairs,
            "recovered": self.recovered,
            "depth_unit_m": self.depth_unit_m,
            "gaps": _gaps_json(self.gaps),
            "duplicates": list(self.duplicates),
            "warnings": list(self.warnings),
            "streams": [
                {
                    "name": stream.name,
                    "encoding": stream.encoding,
                    "width": stream.width,
                    "height": stream.height,
                    "frames": stream.frames,
                    "sha256": stream.sha256,
                    "fps": stream.fps,
                    "clock_domain": str(stream.clock_domain),
                    "gaps": _gaps_json(stream.gaps),
                }
                for stream in self.streams
            ],
            "fps": self.fps,
            "clock_domain": str(self.clock_domain),
            "segments": self.segments,
        }


def inspect(path: Path, deep: bool = False, config: CaptureConfig | None = None) -> RecordingReport:
    """Look at a recording.

    Args:
        path: file or folder.
        deep: decode every frame and hash it; else only headers and indexes are read.
        config: stream names and depth unit where the recording leaves a choice.

    Returns:
        A report; `error` is set, and what could be read is there, when a run could not use the recording.
    """
    try:
        recording = open_recording(path, config)
    except SourceError as error:
        return _nothing(str(error))
    try:
        return _report(recording, deep)
    finally:
        recording.close()


class _Tally:
    """Counts and hashes while frames pass."""

    def __init__(self, recording: Recording) -> None:
        try:
            period_ns = recording.period_ns
        except SourceError:
            period_ns = None  # the walk through all stamps meets the same damage and reports it
        self._pairer: Pairer[FrameStamp] = Pairer(period_ns)
        self._hashes: dict[str, hashlib._Hash] = {}
        self.frames: Counter[str] = Counter()
        self.pairs = 0
        self.stamps: dict[str, list[FrameStamp]] = {}

    def add(self, item: FrameStamp | StreamFrame) -> None:
        """Take the next frame of either stream."""
        if isinstance(item, StreamFrame) and item.stream != color_only.STREAM:
            content = self._hashes.setdefault(item.stream, hashlib.sha256())
            content.update(np.ascontiguousarray(item.image).data if item.encoded is None else item.encoded)
        stamp = FrameStamp(item.stream, item.role, item.number, item.t_device_ns, item.clock_domain)
        self.frames[stamp.stream] += 1
        if stamp.stream != color_only.STREAM:
            self.stamps.setdefault(stamp.stream, []).append(stamp)
        self.pairs += len(self._pairer.push(stamp))

    def finish(self) -> None:
        """The end of the file."""
        self.pairs += len(self._pairer.flush())

    def stream(self, stream: RecordedStream) -> StreamReport:
        """A stream with what was counted, or with what the reader knows of one that was not read."""
        content = self._hashes.get(stream.name)
        frames = self.frames.get(stream.name, stream.frames or 0)
        digest = content.hexdigest() if content else None
        timing = _timing(self.stamps.get(stream.name, []))
        return StreamReport(
            stream.name,
            stream.encoding,
            stream.width,
            stream.height,
            frames,
            digest,
            timing.fps,
            timing.clock_domain,
            timing.gaps,
        )


def _report(recording: Recording, deep: bool) -> RecordingReport:
    """Read what is needed and put it together."""
    tally = _Tally(recording)
    recording.verify = deep
    error: str | None = None
    try:
        for item in _items(recording, deep):
            tally.add(item)
        if recording.is_color_only:
            color_only.color_calibration(recording)
        else:
            recording.require_streams()
            _ = recording.calibration
    except SourceError as problem:
        error = str(problem)
    tally.finish()
    unreadable = [f"{count} {role} images do not decode" for role, count in recording.unreadable.items()]
    color = _timing(tally.stamps.get(recording.color.name, []) if recording.color else [])
    return RecordingReport(
        container=recording.container,
        writer=recording.writer,
        duration_s=color.duration_s,
        pairs=tally.pairs if error is None else 0,
        recovered=recording.recovered,
        depth_unit_m=recording.depth_unit_m,
        gaps=color.gaps,
        duplicates=color.duplicates,
        warnings=(*recording.warnings, *unreadable, *([error] if error else [])),
        streams=tuple(tally.stream(stream) for stream in recording.streams),
        clock_domain=color.clock_domain,
        fps=color.fps,
        segments=color.segments,
        error=error,
    )


@dataclass(frozen=True, slots=True)
class _Timing:
    """What the stamps of one stream say."""

    duration_s: float
    fps: float | None
    clock_domain: ClockDomain
    gaps: tuple[Gap, ...]
    duplicates: tuple[int, ...]
    segments: int


def _timing(stamps: list[FrameStamp]) -> _Timing:
    """Look at the stamps of one stream, in file order."""
    fresh, duplicates = _without_repeats(stamps)
    steps = [
        (later[1].t_device_ns - earlier[1].t_device_ns, earlier[0] + skipped, skipped)
        for earlier, later, skipped in fresh
    ]
    forward = [step for step, _, _ in steps if step > 0]
    period = median(forward) if forward else None
    return _Timing(
        duration_s=round(sum(forward) / 1e9, 6),
        fps=round(1e9 / period, 3) if period else None,
        clock_domain=stamps[0].clock_domain if stamps else ClockDomain.UNKNOWN,
        gaps=tuple(
            Gap(place, round(step / 1e6))
            for step, place, skipped in steps
            if period and step > _GAP_PERIODS * period * (1 + skipped)
        ),
        duplicates=tuple(duplicates),
        segments=1 + sum(step < 0 for step, _, _ in steps) if stamps else 0,
    )


def _items(recording: Recording, deep: bool) -> Iterator[FrameStamp] | Iterator[StreamFrame]:
    """Frames or their stamps; where color alone is used each has an empty depth image beside it."""
    if deep:
        frames = recording.frames()
        return color_only.with_empty_depth(frames) if recording.is_color_only else frames
    stamps = recording.stamps()
    return color_only.stamps_with_depth(stamps) if recording.is_color_only else stamps


def _without_repeats(
    stamps: list[FrameStamp],
) -> tuple[list[tuple[tuple[int, FrameStamp], tuple[int, FrameStamp], int]], list[int]]:
    """Neighbouring distinct frames with the repeats between them, and the places of all repeats."""
    neighbours: list[tuple[tuple[int, FrameStamp], tuple[int, FrameStamp], int]] = []
    repeats: list[int] = []
    last: tuple[int, FrameStamp] | None = None
    skipped = 0
    for place, stamp in enumerate(stamps):
        if last is not None and (stamp.number, stamp.t_device_ns) == (last[1].number, last[1].t_device_ns):
            repeats.append(place)
            skipped += 1
            continue
        if last is not None:
            neighbours.append((last, (place, stamp), skipped))
        last, skipped = (place, stamp), 0
    return neighbours, repeats


def _nothing(error: str) -> RecordingReport:
    """The report of what is no recording."""
    return RecordingReport("unknown", "unknown", 0.0, 0, False, None, (), (), (error,), (), error=error)


def _gaps_json(gaps: tuple[Gap, ...]) -> list[dict[str, int]]:
    return [{"after_index": gap.after_index, "ms": gap.ms} for gap in gaps]
