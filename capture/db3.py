"""RealSense SDK recordings in ROS 2 bags (.db3, SDK 2.58 and later): zstd blobs, PNG images or raw ones.

Everything but images is text, `key=value;...`. The image's own header carries file time, so number and stamp of a frame
come from the metadata text with the same time of recording.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from . import cdr
from .config import CaptureConfig
from .decode_ahead import DecodeAhead
from .encoding import Payload, decode_payload
from .file_time import ns_from_text
from .frame import ClockDomain, Extrinsics, Intrinsics
from .pairing import Role
from .realsense_names import STREAM_TOPIC, intrinsics, positive, sensor_ns
from .realsense_recording import RealSenseRecording, SdkStream
from .recording import FrameStamp, RecordedStream, Recording, StreamFrame
from .ros2_topics import RosTopicRecording
from .rosbag2 import Rosbag2

IMAGES = ("image/data", "image/data/compressedDepth", "image/data/compressed")
METADATA = "image/metadata"
_ENCODINGS = {"z16": "mono16", "rgb8": "rgb8", "bgr8": "bgr8", "rgba8": "rgba8", "bgra8": "bgra8", "y8": "mono8"}
_HELD = 3


@dataclass(slots=True)
class _Held:
    """An image that waits for its metadata."""

    stream: RecordedStream
    time_ns: int
    data: bytes
    metadata: dict[str, str] = field(default_factory=dict)
    number: int = -1
    stamp_ns: int = 0
    domain: ClockDomain = ClockDomain.FILE


class Db3Recording(RealSenseRecording):
    """One RealSense .db3."""

    def __init__(self, path: Path, config: CaptureConfig, bag: Rosbag2) -> None:
        """Read the texts before the frames: streams, calibration, device.

        Raises:
            SourceError: when the database is damaged, or a stream asked for by name is not in it.
        """
        super().__init__(path, config)
        self._bag = bag
        self._read_head()
        forms = {one.image_topic.rpartition("/")[2] for one in self.found.values()}
        form = "PNG images" if any("compressed" in one for one in forms) else "raw images"
        self.container = f"ROS 2 bag (SQLite), {'zstd messages' if bag.compressed else form}"
        self.writer = self.name_writer()
        self.streams = tuple(
            self.recorded(one, bag.counts[one.image_topic]) for one in self.found.values() if one.image_topic
        )
        self.choose_streams()
        self.depth_unit_m = self.unit_or_usual(self._first_unit_m())

    def frames(self) -> Iterator[StreamFrame]:
        """Color and depth images in file order, decoded on two threads where they are compressed."""
        return self.frames_from(0)

    def frames_from(self, first: int) -> Iterator[StreamFrame]:
        """The same from the `first`-th image on."""
        packed = self._bag.compressed or any(self._is_compressed(one) for one in self.chosen())
        threads = 2 if packed else 0
        for frame in DecodeAhead(self._decode, threads=threads).over(islice(self._with_metadata(), first, None)):
            if isinstance(frame, StreamFrame):
                yield frame
            else:
                self.unreadable[frame] += 1

    def stamps(self) -> Iterator[FrameStamp]:
        """Stamps from the metadata alone."""
        topics = {f"{one.source}/{METADATA}": one for one in self.chosen()}
        for topic, time_ns, data in self._bag.messages(topics):
            stream, metadata = topics[topic], _metadata(data)
            number, stamp_ns, domain = self._read_metadata(stream, metadata, time_ns)
            yield FrameStamp(stream.name, self.role_of(stream), number, stamp_ns, domain)

    def close(self) -> None:
        """Let go of the file."""
        self._bag.close()

    def _is_compressed(self, stream: RecordedStream) -> bool:
        """True where every image costs a decoder's time."""
        return not self.found[stream.source].image_topic.endswith(IMAGES[0])

    def _with_metadata(self) -> Iterator[_Held]:
        """Images in file order, each with the metadata that follows it."""
        images = {self.found[one.source].image_topic: one for one in self.chosen()}
        texts = {f"{one.source}/{METADATA}": one for one in self.chosen()}
        held: deque[_Held] = deque()
        for topic, time_ns, data in self._bag.stored({*images, *texts}):
            if topic in images:
                held.append(_Held(images[topic], time_ns, data))
                if len(held) > _HELD:
                    yield self._stamped(held.popleft())
                continue
            for image in reversed(held):
                if image.stream is texts[topic] and image.time_ns == time_ns:
                    image.metadata = _metadata(self._bag.plain(data))
                    break
        while held:
            yield self._stamped(held.popleft())

    def _stamped(self, held: _Held) -> _Held:
        """Number and stamp taken in file order, before the images go to threads."""
        held.number, held.stamp_ns, held.domain = self._read_metadata(held.stream, held.metadata, held.time_ns)
        return held

    def _decode(self, held: _Held) -> StreamFrame | Role:
        """The image as a frame, or the role of one that does not decode."""
        stream, role = held.stream, self.role_of(held.stream)
        try:
            data = self._bag.plain(held.data)
            message = cdr.compressed_image(data) if self._is_compressed(stream) else cdr.image(data)
            image = decode_payload(
                Payload(
                    message.pixels,
                    message.encoding,
                    message.format,
                    message.width or stream.width,
                    message.height or stream.height,
                    message.step,
                    message.big_endian,
                ),
                role,
            )
        except ValueError:
            return role
        metadata = held.metadata
        return StreamFrame(
            stream=stream.name,
            role=role,
            image=image,
            number=held.number,
            t_device_ns=held.stamp_ns,
            clock_domain=held.domain,
            t_sensor_ns=sensor_ns(metadata),
            t_arrival_ms=positive(metadata.get("Time Of Arrival") or metadata.get("system_time")),
            depth_unit_m=positive(metadata.get("depth_units")) if role == "depth" else None,
        )

    def _read_metadata(
        self, stream: RecordedStream, metadata: dict[str, str], file_ns: int
    ) -> tuple[int, int, ClockDomain]:
        """Number, stamp in ns and clock domain; an image whose metadata is missing keeps file time."""
        try:
            stamp_ns = ns_from_text(metadata["timestamp"], 10**6)
        except (KeyError, ValueError):
            return -1, file_ns, ClockDomain.FILE
        number = metadata.get("Frame number", "")
        domain = self.domain_of(stream, metadata)
        return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else -1, stamp_ns, domain

    def _read_head(self) -> None:
        """Texts that describe the recording."""
        for topic in self._bag.topics:
            match = STREAM_TOPIC.match(topic)
            if match is None:
                continue
            sensor, kind, index, rest = match.groups()
            base = topic[: -len(rest) - 1]
            stream = self.found.setdefault(base, SdkStream(kind, int(index), sensor, base))
            if rest in IMAGES:
                stream.image_topic = topic
        wanted = [topic for topic in self._bag.topics if topic.endswith(("/info", "/camera_info", "/file_version"))]
        wanted += [topic for topic in self._bag.topics if "/tf/" in topic]
        wanted = [topic for topic in wanted if not topic.endswith("image/camera_info")]
        # with the number of them known the search ends at the last one, not at the end of the file
        for topic, _, data in self._bag.messages(wanted, sum(self._bag.counts[topic] for topic in wanted)):
            try:
                self._take(topic, data)
            except ValueError as error:
                self.warnings.append(f"{topic} is not readable ({error}) and was left out")

    def _take(self, topic: str, data: bytes) -> None:
        """One text."""
        if topic == "/file_version":
            self.version = cdr.uint32(data)
            return
        texts = _texts(cdr.string(data))
        match = STREAM_TOPIC.match(topic)
        if match is None:
            if topic.count("/") == 2:
                self.device.update(texts)
            return
        rest = match.group(4)
        stream = self.found[topic[: -len(rest) - 1]]
        if rest == "info":
            name, fps = texts.get("encoding", ""), texts.get("fps", "")
            stream.encoding = _ENCODINGS.get(name.lower(), name)
            stream.fps = float(fps) if fps.isdigit() and int(fps) else None
        elif rest == "camera_info":
            stream.camera = _camera(texts)
        elif rest.startswith("tf/"):
            stream.poses[rest] = _pose(texts)

    def _first_unit_m(self) -> float | None:
        """Metres per depth unit of the first depth frame."""
        if self.depth is None:
            return None
        for _, _, data in self._bag.messages([f"{self.depth.source}/{METADATA}"], 1):
            return positive(_metadata(data).get("depth_units"))
        return None


def open_db3(path: Path, config: CaptureConfig) -> Recording:
    """Open a .db3 as what its topics say it is.

    Raises:
        SourceError: when the database is damaged or holds neither form.
    """
    bag = Rosbag2(path)
    if any(topic.startswith("/device_0/") for topic in bag.topics):
        return Db3Recording(path, config, bag)
    return RosTopicRecording(path, config, bag, "ROS 2 bag (SQLite)", "unknown")


def _metadata(data: bytes) -> dict[str, str]:
    """A frame's metadata text; one that is not readable counts as missing."""
    try:
        return _texts(cdr.string(data))
    except ValueError:
        return {}


def _texts(text: str) -> dict[str, str]:
    """`key=value;key=value` as a mapping."""
    return {key: value for key, found, value in (part.partition("=") for part in text.split(";")) if found}


def _camera(texts: dict[str, str]) -> Intrinsics | None:
    """Intrinsics from text."""
    try:
        focal, centre = (float(texts["fx"]), float(texts["fy"])), (float(texts["ppx"]), float(texts["ppy"]))
        coeffs = [float(one) for one in texts.get("coeffs", "").split(",") if one]
        return intrinsics(int(texts["width"]), int(texts["height"]), focal, centre, texts.get("model", ""), coeffs)
    except KeyError as error:
        raise ValueError(f"camera_info lacks {error}") from error


def _pose(texts: dict[str, str]) -> Extrinsics:
    """A pose from text; the rotation is column-major and has six decimals only."""
    columns = [float(one) for one in texts.get("rotation", "").split(",") if one]
    moved = [float(one) for one in texts.get("translation", "").split(",") if one]
    return Extrinsics.of(np.reshape(columns, (3, -1)).T, moved)
