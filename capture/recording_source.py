"""A recording as a camera: its images paired, in file time, between two seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from . import color_only
from .clock import SessionClock
from .config import CaptureConfig
from .file_time import FileTime, Start, find_start
from .frame import ClockDomain, ColorImage, DepthImage, RGBDFrame
from .pairing import Pair, Pairer
from .recording import StreamFrame, open_recording
from .source import FrameSource, SourceError, SourceInfo


class RecordingSource(FrameSource):
    """A recording as a camera: every pair, in order, at the reader's speed."""

    def __init__(self, config: CaptureConfig) -> None:
        """Open the recording that `config.camera` names.

        Raises:
            SourceError: when it cannot be read, or holds no color or no depth.
        """
        self._config = config
        self._recording = open_recording(Path(config.camera).expanduser(), config)
        self._color_only = self._recording.is_color_only
        try:
            if self._color_only:
                self._calibration = color_only.color_calibration(self._recording)
            else:
                self._recording.require_streams()
                self._calibration = self._recording.calibration
            self._pairer: Pairer[StreamFrame] = Pairer(self._recording.period_ns)
        except SourceError:
            self._recording.close()
            raise
        self._sequence = 0
        self._time = FileTime()
        self._not_recorded = 0

    @property
    def info(self) -> SourceInfo:
        """What was opened; `warnings` grow while reading."""
        recording = self._recording
        counts = [stream.frames for stream in (recording.color, recording.depth) if stream is not None]
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
        unpaired = self._pairer.drops
        if self._color_only:
            unpaired = {cause: count for cause, count in unpaired.items() if not cause.endswith("_depth")}
        return {**unpaired, **unreadable, **missing}

    def frames(self) -> Iterator[RGBDFrame]:
        """Pairs in file order, `sequence` from 0, between `from_s` and `to_s` of the recording's own time."""
        recorded = self._recording.recorded_frames()
        if recorded is not None:
            yield from self._as_recorded(recorded)
            return
        start = self._find_start()
        for frame in self._images(start.first if start else 0):
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

    def _images(self, first: int) -> Iterator[StreamFrame]:
        """Images of both streams from the `first`-th on; one of another size than calibrated counts as unreadable."""
        if self._color_only:
            frames = color_only.with_empty_depth(self._recording.frames_from(first // 2))
        else:
            frames = self._recording.frames_from(first)
        geometry = self._calibration
        cameras = {"color": geometry.color, "depth": geometry.color if geometry.depth_aligned else geometry.depth}
        for frame in frames:
            camera = cameras[frame.role]
            if frame.image.shape[:2] == (camera.height, camera.width):
                yield frame
            else:
                self._recording.unreadable[frame.role] += 1

    def _find_start(self) -> Start | None:
        """Where `from_s` begins, found by stamps alone; None to read from the front."""
        if self._config.from_s == 0:
            return None
        stamps = self._recording.stamps()
        if self._color_only:
            stamps = color_only.stamps_with_depth(stamps)
        return find_start(stamps, self._recording.period_ns, round(self._config.from_s * 1e9))

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
            depth=_aligned(cast(DepthImage, depth.image)),
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
            depth_missing=self._color_only,
        )
        self._sequence += 1

    def _unit_m(self) -> float:
        """Metres per depth unit of the recording."""
        if self._color_only:
            return 0.001
        unit = self._recording.depth_unit_m or self._config.depth_unit_m
        if unit is None:
            raise SourceError(
                f"{self._recording.path}: does not say its depth unit; give it with --set capture.depth_unit_m=0.001"
            )
        return unit


def _aligned(depth: DepthImage) -> DepthImage:
    """Depth at an even address, as loops in C need it; a file may hold it at an odd one."""
    if depth.flags.aligned:
        return depth
    copied = depth.copy()
    copied.setflags(write=False)
    return copied


def camera_name(path: Path) -> str:
    """A file's stem as a topic name, in [A-Za-z0-9_-]."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem).strip("_") or "recording"
