"""RealSense SDK recordings in ROS1 bags (.bag; version 2.57 also under a .db3 name), every frame, without the SDK.

SDKs of 2018 to 2.57 write them: a frame's stamp and number stand in the image's own header, its clock domain in
metadata messages that follow it, and the extrinsics come with the first frame of each stream.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .bag_stamps import peek_stamps
from .config import CaptureConfig
from .encoding import color_image, depth_image
from .frame import ColorImage, DepthImage
from .realsense_names import STREAM_TOPIC, positive, sensor_ns
from .realsense_recording import RealSenseRecording, SdkStream
from .recording import FrameStamp, RecordedStream, StreamFrame
from .ros1 import ImageForm, camera_info, float32, image_header, key_value, stream_info, trailing_unit_m, transform
from .rosbag1 import FRONT, Rosbag1
from .rosbag1_records import Chunk, Connection

IMAGE = "image/data"
METADATA = "image/metadata"
TOLD = ("timestamp_domain", "Sensor Timestamp", "Time Of Arrival", "system_time")
"""Metadata that become part of a frame; some twenty others of each image are passed over unread."""
_TOLD_FRONTS = frozenset((bytes(4) + key.encode())[FRONT] for key in TOLD)
_HEAD_CHUNKS = 400
"""Extrinsics come with the first frames; no recording needs more chunks than this to show them."""
_HELD = 3
"""Images held back until their metadata, which follows each of them, has surely been read."""


@dataclass(slots=True)
class _Held:
    """An image that waits for its metadata."""

    stream: RecordedStream
    time_ns: int
    number: int
    stamp_ns: int
    form: ImageForm
    data: memoryview
    texts: list[memoryview] = field(default_factory=list)
    """Its metadata messages."""


class BagRecording(RealSenseRecording):
    """One RealSense bag."""

    def __init__(self, path: Path, config: CaptureConfig) -> None:
        """Open and read the head: streams, calibration, depth unit, device.

        Raises:
            SourceError: when it is not a bag, or a stream asked for by name is not in it.
        """
        super().__init__(path, config)
        self._bag = Rosbag1(path)
        self._options: dict[str, float] = {}
        self._compression = ""
        self._read_head()
        self.container = f"ROS1 bag, {self._compression or 'no'} chunks"
        self.writer = self.name_writer()
        self.streams = tuple(self.recorded(one, self._images(one)) for one in self.found.values() if one.encoding)
        self.choose_streams()
        self.depth_unit_m = self.unit_or_usual(self._option_unit_m())
        if self._bag.index_damage:
            self.recovered = True
            self.warnings.append(f"{self._bag.index_damage}; all of the file is read, up to any damage")

    def frames(self) -> Iterator[StreamFrame]:
        """Color and depth images in file order; those before any damage, which `warnings` then count."""
        return self.frames_from(0)

    def frames_from(self, first: int) -> Iterator[StreamFrame]:
        """The same from the `first`-th image on; with an index the chunks before it are not touched."""
        given = 0
        for held in self._with_metadata(first):
            frame = self._decode(held)
            if frame is not None:
                given += 1
                yield frame
        self._note_damage(given)

    def stamps(self) -> Iterator[FrameStamp]:
        """Stamps from the image headers alone; of an unindexed bag all is unpacked, but no image is decoded."""
        if self._bag.index is None:
            yield from self._walked_stamps()
            return
        chosen = {f"{one.source}/{IMAGE}": one for one in self.chosen()}
        given = 0
        for topic, number, stamp_ns in peek_stamps(self._bag, chosen):
            given += 1
            stream = chosen[topic]
            yield FrameStamp(stream.name, self.role_of(stream), number, stamp_ns, self.domain_of(stream, {}))
        self._note_damage(given)

    def close(self) -> None:
        """Let go of the file."""
        self._bag.close()

    def _walked_stamps(self) -> Iterator[FrameStamp]:
        given = 0
        for held in self._with_metadata(0):
            given += 1
            stream, domain = held.stream, self.domain_of(held.stream, self._metadata(held))
            yield FrameStamp(stream.name, self.role_of(stream), held.number, held.stamp_ns, domain)
        self._note_damage(given)

    def _chunk_before(self, first: int, topics: Collection[str]) -> tuple[int | None, int]:
        """Position of the chunk that holds the `first`-th image of some topics, and the images before it."""
        before, index = 0, self._bag.index
        if index is None or first == 0:
            return None, 0
        numbers = {number for number, one in index.connections.items() if one.topic in topics}
        for position, counts in index.chunks:
            here = sum(count for number, count in counts.items() if number in numbers)
            if before + here >= first:
                return position, before
            before += here
        return None, 0

    def _with_metadata(self, first: int) -> Iterator[_Held]:
        """Images in file order from the `first`-th on, each with the metadata that follow it."""
        self._bag.verify = self.verify
        images = {f"{one.source}/{IMAGE}": one for one in self.chosen()}
        texts = {f"{one.source}/{METADATA}": one for one in self.chosen()}
        held: deque[_Held] = deque()
        forms: dict[str, ImageForm] = {}
        start, place = self._chunk_before(first, images)

        def wanted(one: Connection) -> bool | frozenset[bytes]:
            return _TOLD_FRONTS if one.topic in texts else one.topic in images

        for connection, time_ns, data in self._bag.messages(wanted, start):
            topic = connection.topic
            if topic in texts:
                _give(held, texts[topic], time_ns, data)
                continue
            place += 1
            image = self._hold(images[topic], time_ns, data, forms) if place > first else None
            if image is not None:
                held.append(image)
                if len(held) > _HELD:
                    yield held.popleft()
        yield from held

    def _hold(
        self, stream: RecordedStream, time_ns: int, data: memoryview, forms: dict[str, ImageForm]
    ) -> _Held | None:
        """An image message, mostly of the form of its stream's last one; None (counted) when it is cut."""
        try:
            number, stamp_ns, form = image_header(data, forms.get(stream.name))
        except ValueError:
            self.unreadable[self.role_of(stream)] += 1
            return None
        forms[stream.name] = form
        return _Held(stream, time_ns, number, stamp_ns, form, data)

    def _metadata(self, held: _Held) -> dict[str, str]:
        """What the metadata of an image say; those that are cut are left out."""
        told = {}
        for text in held.texts:
            try:
                key, value = key_value(text)
            except ValueError as error:
                self.warn(f"metadata of {held.stream.name} is not readable ({error}) and was left out")
            else:
                told[key] = value
        return told

    def _decode(self, held: _Held) -> StreamFrame | None:
        """The image as a frame; None (counted) when its size and encoding do not fit its bytes."""
        stream, form = held.stream, held.form
        is_depth = stream is self.depth
        pixels = held.data[form.start : form.start + form.size]
        try:
            image: ColorImage | DepthImage
            if is_depth:
                image = depth_image(pixels, form.encoding, form.width, form.height, form.step, big=form.big_endian)
            else:
                image = color_image(pixels, form.encoding, form.width, form.height, form.step)
        except ValueError:
            self.unreadable["depth" if is_depth else "color"] += 1
            return None
        image.setflags(write=False)
        metadata = self._metadata(held)
        return StreamFrame(
            stream=stream.name,
            role="depth" if is_depth else "color",
            image=image,
            number=held.number,
            t_device_ns=held.stamp_ns,
            clock_domain=self.domain_of(stream, metadata),
            t_sensor_ns=sensor_ns(metadata),
            t_arrival_ms=positive(metadata.get("Time Of Arrival") or metadata.get("system_time")),
            depth_unit_m=trailing_unit_m(held.data, form) if is_depth else None,
        )

    def _note_damage(self, given: int) -> None:
        """Say what was recovered, once."""
        damage = self._bag.damage
        if damage is None and not self.recovered:
            return
        self.recovered = True
        before = f", before {damage}" if damage else ""
        self.warn(f"recovered {given} frames{before}")

    def _read_head(self) -> None:
        """Everything that is not an image, from the chunks that hold it."""
        bag = self._bag
        if bag.index is None:
            chunks = (chunk for chunk, _ in zip(bag.chunks(), range(_HEAD_CHUNKS), strict=False))
        else:
            still = {
                number for number, one in bag.connections.items() if self._is_head(one) and METADATA not in one.topic
            }
            places = [place for place, counts in bag.index.chunks if still.intersection(counts)]
            chunks = (bag.chunk_at(place) for place in places[:_HEAD_CHUNKS])
        for chunk in self._readable(chunks):
            self._compression = self._compression or chunk.compression.upper().replace("NONE", "uncompressed")
            for connection, _, data in bag.messages_of(chunk, self._is_head):
                try:
                    self._take(connection, data)
                except (struct.error, ValueError) as error:
                    self.warnings.append(f"{connection.topic} is not readable ({error}) and was left out")
            if bag.index is None and self._is_complete():
                break

    def _readable(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Chunks up to the first that an index names in vain."""
        try:
            yield from chunks
        except ValueError as error:
            self.warn(f"damaged: {error}")

    @staticmethod
    def _is_head(connection: Connection) -> bool:
        """Topics that describe the recording rather than one image; metadata for the first clock domain."""
        topic = connection.topic
        return not topic.endswith((IMAGE, "/description")) and "/notification" not in topic

    def _is_complete(self) -> bool:
        """True once color and depth are known with calibration and pose."""
        ready = [one.kind.lower() for one in self.found.values() if one.camera is not None and one.poses]
        return "color" in ready and "depth" in ready

    def _take(self, connection: Connection, data: memoryview) -> None:
        """One message of the head."""
        topic = connection.topic
        if topic == "/file_version":
            self.version = int.from_bytes(data[:4], "little")
        elif topic.endswith("/value") and "/option/" in topic:
            self._options[topic] = float32(data)
        elif match := STREAM_TOPIC.match(topic):
            sensor, kind, index, rest = match.groups()
            base = topic[: -len(rest) - 1]
            stream = self.found.setdefault(base, SdkStream(kind, int(index), sensor, base))
            if rest == "info":
                fps, stream.encoding = stream_info(data)
                stream.fps = float(fps) or None
            elif rest == "info/camera_info":
                stream.camera = camera_info(data)
            elif rest.startswith("tf/"):
                stream.poses[rest] = transform(data)
            elif rest == METADATA and base not in self.domains:
                key, value = key_value(data)
                self.note_domain(base, {key: value})
        elif topic.endswith("/info") and topic.count("/") == 2:
            key, value = key_value(data)
            self.device[key] = value

    def _images(self, stream: SdkStream) -> int | None:
        """Images of a stream by the index, None without one."""
        if self._bag.index is None:
            return None
        topic = f"{stream.topic}/{IMAGE}"
        numbers = {number for number, one in self._bag.connections.items() if one.topic == topic}
        return sum(counts.get(number, 0) for _, counts in self._bag.index.chunks for number in numbers)

    def _option_unit_m(self) -> float | None:
        """Metres per depth unit from the depth sensor's options."""
        if self.depth is None:
            return None
        sensor = self.found[self.depth.source].sensor
        for topic, value in self._options.items():
            if f"/{sensor}/option/" in topic and topic.split("/")[-2].replace(" ", "_") == "Depth_Units" and value > 0:
                return value
        return None


def _give(held: deque[_Held], stream: RecordedStream, time_ns: int, text: memoryview) -> None:
    """A metadata message to the image it belongs to: same stream, same record time."""
    for image in reversed(held):
        if image.stream is stream and image.time_ns == time_ns:
            image.texts.append(text)
            return
