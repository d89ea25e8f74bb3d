"""The recording of a session whose recorder was started again: several files, read as the one they are parts of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from .config import CaptureConfig
from .frame import Calibration, RGBDFrame
from .own_mcap import RECORDER_LOST, OwnMcapRecording
from .recording import FrameStamp, Recording, StreamFrame, open_recording
from .source import SourceError

Item = TypeVar("Item")
RECORDING, SECOND_PART = "recording.mcap", "recording_2.mcap"
_PART = re.compile(r"recording(?:_(\d+))?\.mcap")


def own_recording(session: Path) -> Path | None:
    """What to open of a session folder's own recording: its file, the folder where it has several, None for none."""
    if not (session / RECORDING).exists():
        return None
    return session if (session / SECOND_PART).exists() else session / RECORDING


def part_files(session: Path) -> list[Path]:
    """Files of a session folder's own recording, in order; none where it has no recording."""
    numbered = {int(match[1] or 1): one for one in session.iterdir() if (match := _PART.fullmatch(one.name))}
    return [file for _, file in sorted(numbered.items())]


class PartsRecording(Recording):
    """A session's folder with `recording.mcap`, `recording_2.mcap` ... in it."""

    def __init__(self, path: Path, config: CaptureConfig) -> None:
        """Open every part; one in which nothing can be read is left out with a warning.

        Raises:
            SourceError: nothing can be read in any of them, or their frames do not follow each other.
        """
        super().__init__(path, config)
        self._parts: list[OwnMcapRecording] = []
        try:
            self._open(config)
            self._check_order()
            first = self._parts[0]
            self.container, self.writer, self.depth_unit_m = first.container, first.writer, first.depth_unit_m
            self.streams = tuple(
                replace(stream, frames=sum(part.streams[place].frames or 0 for part in self._parts))
                for place, stream in enumerate(first.streams)
            )
            self.choose_streams()
        except SourceError:
            self.close()
            raise
        self.skipped = {frame: cause for part in self._parts for frame, cause in part.skipped.items()}

    @property
    def calibration(self) -> Calibration:
        """Geometry of the first frames; each frame carries its own."""
        return self._parts[0].calibration

    def frames(self) -> Iterator[StreamFrame]:
        """Color and depth of each frame of every part, in order."""
        return self._of_each(OwnMcapRecording.frames)

    def recorded_frames(self) -> Iterator[RGBDFrame]:
        """Frames as they were recorded; those between two parts are missing by their numbers."""
        frames = self._of_each(OwnMcapRecording.recorded_frames)
        return (frame for frame in frames if frame.sequence not in self.skipped)

    def stamps(self) -> Iterator[FrameStamp]:
        """Stamps of color and depth."""
        return self._of_each(OwnMcapRecording.stamps)

    def details(self) -> dict[str, str | int | float | bool]:
        """What was recorded, from what, and how often the recorder began anew; counts are of all parts."""
        together: dict[str, str | int | float | bool] = {}
        lost: Counter[str] = Counter()
        for details in (part.details() for part in self._parts):
            together = {**details, **together}
            lost.update({name: int(value) for name, value in details.items() if name.startswith(RECORDER_LOST)})
        return {**together, **lost, "recorded_skipped": len(self.skipped), "recorded_parts": len(self._parts)}

    def close(self) -> None:
        """Let go of all files."""
        for part in self._parts:
            part.close()

    def _open(self, config: CaptureConfig) -> None:
        files = part_files(self.path)
        for file in files:
            try:
                part = open_recording(file, config)
            except SourceError as error:
                self.warn(f"{error}; this part is left out")
                self.recovered = True
                continue
            if not isinstance(part, OwnMcapRecording):
                part.close()
                raise SourceError(f"{file}: not a recording of ours but a {part.container}; play it by itself")
            self._parts.append(part)
            part.unreadable = self.unreadable
            self._take_over(part, 0)
        if not self._parts:
            raise SourceError(f"{self.path}: nothing readable in any of {len(files)} parts; {self.warnings[0]}")

    def _check_order(self) -> None:
        for before, after in pairwise(self._parts):
            if after.span[0] <= before.span[1]:
                raise SourceError(
                    f"{after.path}: begins with frame {after.span[0]}, but {before.path.name} ends with frame "
                    f"{before.span[1]}; they are not parts of one recording, play each file by itself"
                )

    def _of_each(self, read: Callable[[OwnMcapRecording], Iterator[Item]]) -> Iterator[Item]:
        for part in self._parts:
            told = len(part.warnings)
            yield from read(part)
            self._take_over(part, told)

    def _take_over(self, part: OwnMcapRecording, told: int) -> None:
        """Say what a part has said since it had said `told` things."""
        for text in part.warnings[told:]:
            self.warn(f"{part.path.name}: {text}")
        self.recovered = self.recovered or part.recovered
