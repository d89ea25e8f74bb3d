"""Ordinary video (mp4, mov, mkv, webm, avi ...) through PyAV: color alone, taken only where that was asked for."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from . import color_only
from .config import CaptureConfig
from .frame import Calibration, ClockDomain, ColorImage
from .matroska_blocks import MatroskaBlocks
from .recording import FrameStamp, RecordedStream, Recording, StreamFrame
from .source import SourceError
from .video_container import open_container, pyav

_REORDERED = 32
"""Packets come in coding order; no codec shows a frame later than so many after the first it could have been."""


class VideoRecording(Recording):
    """The first video track of a file; its sound and further tracks stay unread."""

    def __init__(self, path: Path, config: CaptureConfig) -> None:
        """Find the track and decode its first frame, which tells size and rotation.

        Raises:
            SourceError: when color alone was not asked for, PyAV is missing or nothing decodes.
        """
        super().__init__(path, config)
        if not config.color_only:
            raise SourceError(f"{path}: an ordinary video, without depth; {color_only.HOW_TO}")
        file = open_container(path)
        with file:
            if not file.streams.video:
                raise SourceError(f"{path}: no video track in this {file.format.name} file")
            track = file.streams.video[0]
            self.container = f"video ({file.format.name})"
            self.writer = file.metadata.get("encoder", "unknown")
            self._place = track.index
            self._turns, height, width = self._look_at_first(file, track)
            rate = float(track.average_rate) if track.average_rate else None
            self.streams = (
                RecordedStream(
                    "color", "video 0", "color", track.codec_context.name, width, height, track.frames or None, rate
                ),
            )
        self.choose_streams()

    @property
    def calibration(self) -> Calibration:
        """Never there: a video holds no depth to be calibrated."""
        raise SourceError(f"{self.path}: an ordinary video, without depth or calibration; {color_only.HOW_TO}")

    def frames(self) -> Iterator[StreamFrame]:
        """Images in order of time, up to the end or the damage."""
        with open_container(self.path) as file:
            track = file.streams.video[0]
            track.thread_type = "AUTO"
            given = 0
            for number, frame in enumerate(self._decoded(file, track)):
                stamp_ns = _stamp_ns(frame.pts, frame.time_base)
                image: ColorImage = np.rot90(frame.to_ndarray(format="rgb24"), self._turns)
                if stamp_ns is None or not image.size:
                    self.unreadable["color"] += 1
                    continue
                image = np.ascontiguousarray(image)
                image.flags.writeable = False
                given += 1
                yield StreamFrame("color", "color", image, number, stamp_ns, ClockDomain.FILE)
        if self.recovered:
            self.warn(f"recovered {given} frames before the damage")

    def stamps(self) -> Iterator[FrameStamp]:
        """Stamps in order of time, by the file's index where it has one that tells; nothing is decoded."""
        indexed = self._indexed_stamps()
        if indexed is not None:
            for number, stamp_ns in enumerate(indexed):
                yield FrameStamp("color", "color", number, stamp_ns, ClockDomain.FILE)
            return
        waiting: list[int] = []
        number = 0
        for stamp_ns in self._block_stamps():
            insort(waiting, stamp_ns)
            if len(waiting) > _REORDERED:
                yield FrameStamp("color", "color", number, waiting.pop(0), ClockDomain.FILE)
                number += 1
        for place, stamp_ns in enumerate(waiting):
            yield FrameStamp("color", "color", number + place, stamp_ns, ClockDomain.FILE)

    def close(self) -> None:
        """Nothing is held open."""

    def _look_at_first(self, file: Any, track: Any) -> tuple[int, int, int]:
        """Quarter turns to the left that the file asks for, height and width after them."""
        frame = next(self._decoded(file, track), None)
        if frame is None or not frame.width or not frame.height:
            raise SourceError(f"{self.path}: nothing readable in this video: its first frame does not decode")
        turns = round(getattr(frame, "rotation", 0) / 90) % 4
        return (turns, frame.width, frame.height) if turns % 2 else (turns, frame.height, frame.width)

    def _decoded(self, file: Any, track: Any) -> Iterator[Any]:
        """Decoded frames until the end or the damage, which becomes a warning."""
        av = pyav(self.path)
        try:
            yield from file.decode(track)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.recovered = True
            self.warn(f"damaged: {error}")

    def _indexed_stamps(self) -> list[int] | None:
        """Stamps from the index of an mp4 or avi; None where there is none, or where its times are not those shown."""
        with open_container(self.path) as file:
            track = file.streams.video[0]
            entries = [entry.timestamp for entry in track.index_entries]
            if self._is_matroska() or not entries or len(entries) != track.frames:
                return None
            first = next(self._decoded(file, track), None)
            steps = {later - earlier for earlier, later in pairwise(entries)}
            # the index holds decoding times: with frames out of order they fit only where the rate is constant
            if first is None or first.pts is None or (track.codec_context.has_b_frames and len(steps) > 1):
                return None
            stamps = [_stamp_ns(entry - entries[0] + first.pts, track.time_base) for entry in entries]
        return [stamp for stamp in stamps if stamp is not None]

    def _is_matroska(self) -> bool:
        """True for mkv and webm, whose index names only a few frames."""
        return "matroska" in self.container

    def _block_stamps(self) -> Iterator[int]:
        """Presentation times in file order: from block heads in mkv and webm, else from the packets."""
        given = 0
        if self._is_matroska():
            blocks = MatroskaBlocks(self.path)
            for place, time_ns in blocks.stamps():
                if place == self._place:
                    given += 1
                    yield time_ns
            if blocks.whole:
                return
        self.warn("no index of its frames: all of the file is read")
        yield from islice(self._packet_stamps(), given, None)

    def _packet_stamps(self) -> Iterator[int]:
        """Presentation times of the packets in file order."""
        av = pyav(self.path)
        with open_container(self.path) as file:
            try:
                for packet in file.demux(file.streams.video[0]):
                    stamp_ns = _stamp_ns(packet.pts, packet.time_base)
                    if stamp_ns is not None and not packet.is_discard:
                        yield stamp_ns
            except (av.error.FFmpegError, OSError, ValueError) as error:
                self.recovered = True
                self.warn(f"damaged: {error}")


def _stamp_ns(pts: int | None, base: Any) -> int | None:
    """A time stamp in ns, exactly; None where there is none."""
    return None if pts is None or base is None else round(pts * base * 1_000_000_000)
