"""Our own recordings: every frame comes back equal in each field and byte, also from a file that was cut off."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mcap.opcode import Opcode

from .config import CaptureConfig
from .encoding import decode_png
from .foxglove_messages import COMPRESSED_IMAGE, RAW_IMAGE, decode
from .frame import Calibration, ClockDomain, ColorImage, DepthImage, RGBDFrame
from .mcap_file import MAGIC
from .mcap_layout import FORMAT, PROFILE, Topic, calibration_from, frame_from
from .mcap_scan import ChunkMessage, ChunkView, RawRecord, Scan, let_go
from .recording import FrameStamp, RecordedStream, Recording, StreamFrame
from .source import SourceError

RECORDER_LOST = "recorder_lost_"
"""Begins the names of details that count what a recorder lost, by cause."""
CLIP_PROFILE = "sfam-clip"
"""Of event clips that hold motion and scores only; those with images are recordings."""
_LONGEST_GAP = 1_000_000
"""Frames that one note may call skipped."""
_HOPS = 16
"""Records between two times that pages are let go."""


def open_mcap(path: Path, config: CaptureConfig) -> Recording:
    """Open an mcap file: ours by its profile, else a ROS 2 recording.

    Raises:
        SourceError: when nothing in it can be read.
    """
    with path.open("rb") as file:
        head = file.read(256)
    profile = profile_of(head)
    if profile == PROFILE:
        return OwnMcapRecording(path, config)
    if profile == CLIP_PROFILE:
        raise SourceError(
            f"{path}: an event clip of motion and scores; it holds no images to play. Look at it in the session's "
            "report.html; at --privacy full the clips of a session hold images too"
        )
    from .ros2_mcap import open_mcap as open_ros2_mcap

    return open_ros2_mcap(path, config)


def profile_of(head: bytes) -> str:
    """Profile in an mcap file's header record, or '' where there is none."""
    strings = _strings(head[len(MAGIC) + 9 :])
    return next(strings, "")


def _strings(body: bytes | memoryview) -> Iterator[str]:
    """Length-prefixed strings one after the other."""
    at = 0
    while at + 4 <= len(body):
        length = int.from_bytes(body[at : at + 4], "little")
        yield bytes(body[at + 4 : at + 4 + length]).decode(errors="replace")
        at += 4 + length


class OwnMcapRecording(Recording):
    """A recording of `recorder.Recorder`, read without its index, so that a cut file differs only in its length."""

    def __init__(self, path: Path, config: CaptureConfig) -> None:
        """Hop over the file once: source, calibrations and the places of all frames; no pixel is read.

        Raises:
            SourceError: no whole frame in it, or a newer format.
        """
        super().__init__(path, config)
        self.container = "sfam .mcap"
        self.writer = "unknown"
        self.streams: tuple[RecordedStream, ...] = ()
        self._file = path.open("rb")
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._map)
        self._source: dict[str, Any] = {}
        self._calibrations: dict[int, Calibration] = {}
        self.skipped: dict[int, str] = {}
        self._end: dict[str, Any] = {}
        self._count = 0
        self._blocks: list[tuple[int, RawRecord, RawRecord]] = []
        """First frame number, image chunk, record chunk."""
        try:
            self._scan()
            self._describe()
        except SourceError:
            self.close()
            raise

    @property
    def calibration(self) -> Calibration:
        """Geometry of the first frames; each frame carries its own."""
        if not self._calibrations:
            raise SourceError(f"{self.path}: no calibration in it; it was cut off before its first frame")
        return self._calibrations[min(self._calibrations)]

    @property
    def span(self) -> tuple[int, int]:
        """Numbers of the first and of the last frame."""
        last = [json.loads(bytes(message.data))["sequence"] for message in self._messages(self._blocks[-1][2])]
        return self._blocks[0][0], last[-1]

    def frames(self) -> Iterator[StreamFrame]:
        """Color and depth of each frame, those that the live analysis skipped included."""
        for frame, jpeg in self._read():
            yield StreamFrame(
                stream="color",
                role="color",
                image=frame.color,
                number=frame.color_number,
                t_device_ns=frame.t_device_ns,
                clock_domain=frame.clock_domain,
                t_sensor_ns=frame.t_sensor_ns,
                encoded=jpeg,
            )
            yield StreamFrame(
                stream="depth",
                role="depth",
                image=frame.depth,
                number=frame.depth_number,
                t_device_ns=frame.t_depth_device_ns or frame.t_device_ns,
                clock_domain=frame.clock_domain,
                depth_unit_m=frame.depth_scale_m,
            )

    def recorded_frames(self) -> Iterator[RGBDFrame]:
        """Frames as they were recorded, without those that the live analysis skipped."""
        for frame, _ in self._read():
            if frame.sequence not in self.skipped:
                yield frame

    def stamps(self) -> Iterator[FrameStamp]:
        """Stamps of color and depth, read from the record chunks only."""
        for _, _, records in self._blocks:
            for message in self._messages(records):
                record = json.loads(bytes(message.data))
                domain = ClockDomain(record["clock_domain"])
                yield FrameStamp("color", "color", record["color_number"], record["t_device_ns"], domain)
                depth_ns = record["t_depth_device_ns"] or record["t_device_ns"]
                yield FrameStamp("depth", "depth", record["depth_number"], depth_ns, domain)

    def details(self) -> dict[str, str | int | float | bool]:
        """What was recorded, from what, and how it ended."""
        details = {f"recorded_{key}": value for key, value in self._source.get("details", {}).items()}
        for key in ("camera", "kind", "live", "color"):
            details[f"recorded_{key}"] = self._source.get(key, "unknown")
        for cause, count in self._end.get("drops", {}).items():
            details[f"{RECORDER_LOST}{cause}"] = count
        return {**details, "recorded_skipped": len(self.skipped)}

    def close(self) -> None:
        """Let go of the file."""
        self._view.release()
        self._map.close()
        self._file.close()

    def _scan(self) -> None:
        """Places of all blocks, and everything that stands beside the frames."""
        scan = Scan(self._view)
        image: RawRecord | None = None
        damaged = 0
        for hop, record in enumerate(scan.records()):
            if hop % _HOPS == 0:
                let_go(self._map)
            if record.opcode == Opcode.HEADER:
                self.writer = [*_strings(self._view[record.body : record.end]), "", ""][1] or "unknown"
            if record.opcode != Opcode.CHUNK:
                continue
            try:
                chunk = ChunkView(self._view, record)
                if chunk.compression:
                    image = record
                else:
                    self._take_notes(list(chunk.messages()), image, record)
                    image = None
            except (ValueError, KeyError) as error:
                damaged += 1
                self.warnings.append(f"{error}; what it holds is left out")
        # a clip's frames are stored when its event is decided, which may be after those of a later event
        self._blocks.sort(key=lambda block: block[0])
        self._warn(scan.complete, damaged)

    def _take_notes(self, messages: list[ChunkMessage], image: RawRecord | None, records: RawRecord) -> None:
        """One uncompressed chunk: records of frames, or notes."""
        frames = [message for message in messages if message.channel == Topic.FRAME]
        if frames and image is None:
            raise ValueError(f"the images of {len(frames)} frames before byte {records.start} are damaged")
        if frames and image is not None:
            self._blocks.append((json.loads(bytes(frames[0].data))["sequence"], image, records))
            self._count += len(frames)
        for message in messages:
            if message.channel in (Topic.SOURCE, Topic.CALIBRATION, Topic.SKIPPED, Topic.END):
                self._take_note(Topic(message.channel), json.loads(bytes(message.data)))

    def _take_note(self, topic: Topic, note: dict[str, Any]) -> None:
        if topic is Topic.SOURCE:
            self._source = note
        elif topic is Topic.CALIBRATION:
            self._calibrations[note["number"]] = calibration_from(note)
        elif topic is Topic.SKIPPED:
            gap = range(note["first"], note["last"] + 1)[:_LONGEST_GAP]
            self.skipped.update(dict.fromkeys(gap, str(note["cause"])))
        else:
            self._end = note

    def _warn(self, complete: bool, damaged: int) -> None:
        self.recovered = not complete or damaged > 0
        if not complete:
            self.warnings.append(
                f"cut off: {self._count} frames before the cut are whole, the index is missing; "
                "sfam repair writes it anew"
            )
        if self._end.get("state") == "failed":
            self.warnings.append(f"the recording broke off: {self._end['reason']}")
        lost = {cause: count for cause, count in self._end.get("drops", {}).items() if cause != "outside_clips"}
        if lost:
            self.warnings.append(f"not recorded: {', '.join(f'{count} {cause}' for cause, count in lost.items())}")

    def _describe(self) -> None:
        """Streams, depth unit and rate, from notes and the first record.

        Raises:
            SourceError: no whole frame, or a newer format.
        """
        if self._source.get("format", FORMAT) > FORMAT:
            raise SourceError(
                f"{self.path}: recorded in format {self._source['format']}, this version reads {FORMAT}; update it"
            )
        if not self._blocks or not self._calibrations:
            why = "it was cut off before its first frame" if self.recovered else "no frame was recorded"
            raise SourceError(f"{self.path}: nothing readable in this recording; {why}")
        first = json.loads(bytes(next(self._messages(self._blocks[0][2])).data))
        self.depth_unit_m = first["depth_scale_m"]
        fps = self._source.get("fps") or None
        color, depth = self.calibration.color, self.calibration.depth
        jpeg = self._source.get("color") == "jpeg"
        self.streams = (
            RecordedStream(
                "color",
                "/camera/color/image",
                "color",
                "jpeg" if jpeg else "rgb8",
                color.width,
                color.height,
                self._count,
                fps,
            ),
            RecordedStream(
                "depth", "/camera/depth/image", "depth", "16UC1", depth.width, depth.height, self._count, fps
            ),
        )
        self.choose_streams()

    def _messages(self, records: RawRecord) -> Iterator[ChunkMessage]:
        """Frame records of a block, in order."""
        let_go(self._map)
        for message in ChunkView(self._view, records).messages():
            if message.channel == Topic.FRAME:
                yield message

    def _read(self) -> Iterator[tuple[RGBDFrame, bytes | None]]:
        """Every frame with its JPEG where color was stored as one; a damaged block is counted and passed over."""
        for _, image, records in self._blocks:
            notes = [json.loads(bytes(message.data)) for message in self._messages(records)]
            try:
                yield from list(self._block_frames(image, notes))
            except (ValueError, KeyError) as error:
                self.unreadable.update(color=len(notes), depth=len(notes))
                self.recovered = True
                self.warnings.append(f"{error}; {len(notes)} frames are left out")

    def _block_frames(self, image: RawRecord, notes: list[dict[str, Any]]) -> Iterator[tuple[RGBDFrame, bytes | None]]:
        messages = list(ChunkView(self._view, image).messages())
        colors = [message for message in messages if message.channel == Topic.COLOR]
        depths = [message for message in messages if message.channel == Topic.DEPTH]
        for note, color, depth in zip(notes, colors, depths, strict=True):
            if not color.sequence == depth.sequence == note["sequence"] & 0xFFFFFFFF:
                raise ValueError(f"the images at byte {image.start} belong to other frames")
            picture, jpeg = self._color(color.data)
            yield frame_from(note, self._calibrations[note["calibration"]], picture, _depth(depth.data)), jpeg

    def _color(self, message: memoryview) -> tuple[ColorImage, bytes | None]:
        if self._source.get("color") == "jpeg":
            jpeg = bytes(_bytes(decode(COMPRESSED_IMAGE, message)["data"]))
            return np.asarray(decode_png(jpeg, "color"), np.uint8), jpeg
        fields = decode(RAW_IMAGE, message)
        return np.frombuffer(_bytes(fields["data"]), np.uint8).reshape(*_shape(fields), 3), None


def _depth(message: memoryview) -> DepthImage:
    fields = decode(RAW_IMAGE, message)
    pixels = np.frombuffer(_bytes(fields["data"]), np.dtype("<u2"))
    # the message may begin at an odd byte; arrays that do are slow or refused
    aligned = np.require(pixels, dtype=np.uint16, requirements=["C", "A"])
    return aligned.reshape(_shape(fields))


def _shape(fields: Mapping[str, int | memoryview]) -> tuple[int, int]:
    height, width = fields["height"], fields["width"]
    if not isinstance(height, int) or not isinstance(width, int):
        raise ValueError("an image message has no size")
    return height, width


def _bytes(field: int | memoryview) -> memoryview:
    if isinstance(field, int):
        raise ValueError("an image message holds a number where its pixels should be")
    return field
