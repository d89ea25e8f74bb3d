"""Recordings of the realsense-ros node (any namespace), whichever ROS 2 container they lie in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

from . import cdr
from .config import CaptureConfig
from .decode_ahead import DecodeAhead
from .encoding import FLOAT_DEPTH_UNIT_M, Payload, decode_payload
from .frame import Calibration, ClockDomain, Extrinsics, Intrinsics
from .pairing import Role
from .recording import FrameStamp, RecordedStream, Recording, StreamFrame
from .source import SourceError

_IMAGE = re.compile(
    r"^(?P<base>.*/(?P<stream>[^/]+))/(?:image_raw|image_rect_raw|image_rect|image)(?P<form>/compressedDepth|/compressed)?$"
)
_STAMP_BYTES = 64
"""A message's header, which holds its stamp, begins it."""
_HEAD_MESSAGES = 400
"""After so many messages without it, a recording is taken to lack the rest of its calibration."""


class RosContainer(Protocol):
    """What holds ROS 2 messages."""

    topics: dict[str, str]
    """Topic -> type."""
    damage: str | None
    """What ended the reading early."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Messages per topic."""

    def messages(self, topics: Collection[str], limit: int | None = None) -> Iterator[tuple[str, int, bytes]]:
        """(topic, time in ns, CDR data) in file order."""

    def heads(self, topics: Collection[str], size: int) -> Iterator[tuple[str, int, bytes]]:
        """The same with the first `size` bytes of the data only."""

    def close(self) -> None:
        """Let go of the file."""


@dataclass(slots=True)
class _Stream:
    """One image topic and what belongs to it."""

    name: str
    base: str
    topic: str
    form: str
    encoding: str = ""
    frame_id: str = ""
    size: tuple[int, int] = (0, 0)
    camera: Intrinsics | None = None
    extras: list[str] = field(default_factory=list)
    """The same images under other topics."""


class RosTopicRecording(Recording):
    """Color and depth topics of one node; depth aligned to color is taken where it was recorded."""

    def __init__(self, path: Path, config: CaptureConfig, container: RosContainer, kind: str, writer: str) -> None:
        """Find the streams and their calibration in the first messages.

        Raises:
            SourceError: when a stream asked for by name is not in the recording.
        """
        super().__init__(path, config)
        self._ros = container
        self.container, self.writer = kind, writer
        self._found = _find_streams(container.topics)
        self._extrinsics: Extrinsics | None = None
        self._poses: dict[tuple[str, str], Extrinsics] = {}
        self._read_head()
        self.streams = tuple(self._recorded(one) for one in self._found.values())
        self.choose_streams()
        if self.depth is not None:
            is_float = self._found[self.depth.source].encoding.upper().startswith("32FC1")
            self.depth_unit_m = FLOAT_DEPTH_UNIT_M if is_float else 0.001  # REP 118: integer depth is in millimetres

    @property
    def calibration(self) -> Calibration:
        """Intrinsics from camera_info, extrinsics from their own topic or from the transform tree."""
        color, depth = (self._found[stream.source] for stream in self.require_streams())
        if color.camera is None or (depth.camera is None and not _is_aligned(depth)):
            raise SourceError(f"{self.path}: no usable camera_info for color or depth; the recording cannot be aligned")
        if depth.camera is None or _is_aligned(depth):
            return Calibration(color.camera, color.camera, depth_aligned=True)
        between = self._extrinsics or _through_tree(self._poses, depth.frame_id, color.frame_id)
        if between is None:
            self.warn("no extrinsics between depth and color in the recording; taken as one camera")
        return Calibration(color.camera, depth.camera, between or Extrinsics())

    def color_camera(self) -> Intrinsics | None:
        """Intrinsics of the color stream alone."""
        return self._found[self.color.source].camera if self.color is not None else None

    def frames(self) -> Iterator[StreamFrame]:
        """Color and depth images in file order, decoded on two threads where they are compressed."""
        return self.frames_from(0)

    def frames_from(self, first: int) -> Iterator[StreamFrame]:
        """The same from the `first`-th image on."""
        topics = self._chosen_topics()
        threads = 2 if any(self._found[one.source].form for one in topics.values()) else 0
        given = 0
        jobs = ((topics[topic], data) for topic, _, data in islice(self._ros.messages(topics), first, None))
        for frame in DecodeAhead(self._decode, threads=threads).over(jobs):
            if isinstance(frame, StreamFrame):
                given += 1
                yield frame
            else:
                self.unreadable[frame] += 1
        self._note_damage(given)

    def stamps(self) -> Iterator[FrameStamp]:
        """Stamps from the images' headers; the pixels are not decoded."""
        topics = self._chosen_topics()
        given = 0
        for topic, _, data in self._ros.heads(topics, _STAMP_BYTES):
            stream = topics[topic]
            try:
                stamp_ns = cdr.CdrReader(data).stamp_ns()
            except ValueError:
                self.unreadable[self._role(stream)] += 1
                continue
            given += 1
            yield FrameStamp(stream.name, self._role(stream), -1, stamp_ns, ClockDomain.SYSTEM)
        self._note_damage(given)

    def close(self) -> None:
        """Let go of the file."""
        self._ros.close()

    def _chosen_topics(self) -> dict[str, RecordedStream]:
        """Image topics of color and depth."""
        return {one.source: one for one in (self.color, self.depth) if one is not None}

    def _role(self, stream: RecordedStream) -> Role:
        """What a chosen stream is used as."""
        return "depth" if stream is self.depth else "color"

    def _decode(self, job: tuple[RecordedStream, bytes]) -> StreamFrame | Role:
        """The image as a frame, or the role of one that does not decode."""
        stream, data = job
        role = self._role(stream)
        try:
            message = _message(self._found[stream.source], data)
            image = decode_payload(
                Payload(
                    message.pixels,
                    message.encoding,
                    message.format,
                    message.width,
                    message.height,
                    message.step,
                    message.big_endian,
                ),
                role,
            )
        except ValueError:
            return role
        is_jpeg = role == "color" and bytes(message.pixels[:2]) == b"\xff\xd8" and message.format
        return StreamFrame(
            stream=stream.name,
            role=role,
            image=image,
            number=-1,
            t_device_ns=message.stamp_ns,
            clock_domain=ClockDomain.SYSTEM,
            encoded=bytes(message.pixels) if is_jpeg else None,
        )

    def _note_damage(self, given: int) -> None:
        """Say what was recovered, once."""
        if self._ros.damage is None:
            return
        self.recovered = True
        self.warn(f"{self._ros.damage}; recovered {given} frames")

    def _read_head(self) -> None:
        """First image and camera_info of every stream, extrinsics, static transforms."""
        infos = {f"{stream.base}/camera_info": stream for stream in self._found.values()}
        moved = [topic for topic in self._ros.topics if topic.endswith("/extrinsics/depth_to_color")]
        trees = [topic for topic in self._ros.topics if topic.endswith("/tf_static")]
        wanted = [*infos, *moved, *trees, *self._found]
        for seen, (topic, _, data) in enumerate(self._ros.messages(wanted)):
            try:
                if topic in infos:
                    infos[topic].camera = infos[topic].camera or cdr.camera_info(data)
                elif topic in moved:
                    self._extrinsics = cdr.extrinsics(data)
                elif topic in trees:
                    self._poses.update(cdr.transforms(data))
                elif not self._found[topic].encoding:
                    self._note_image(self._found[topic], data)
            except ValueError as error:
                self.warnings.append(f"{topic} holds a message that is not readable ({error})")
            whole = all(one.camera is not None and one.encoding for one in self._found.values())
            if seen >= _HEAD_MESSAGES or (whole and (self._extrinsics or not (moved or trees))):
                break

    @staticmethod
    def _note_image(stream: _Stream, data: bytes) -> None:
        """Encoding, size and frame of a stream from its first image."""
        message = _message(stream, data)
        stream.encoding = message.encoding or message.format
        stream.frame_id, stream.size = message.frame_id, (message.width, message.height)

    def _recorded(self, stream: _Stream) -> RecordedStream:
        """A stream as the contract wants it; raw depth has no role of its own beside aligned depth."""
        width, height = (stream.camera.width, stream.camera.height) if stream.camera else stream.size
        counts = self._ros.counts
        return RecordedStream(
            stream.name, stream.topic, self._role_of(stream), stream.encoding, width, height, counts.get(stream.topic)
        )

    def _role_of(self, stream: _Stream) -> Role | None:
        """By the stream's name."""
        last = stream.base.rpartition("/")[2].lower()
        if _is_aligned(stream):
            return "depth"
        if "depth" in last:
            namespace = stream.base.rpartition("/")[0]
            beside = [one for one in self._found.values() if one.base.rpartition("/")[0] == namespace]
            return None if any(_is_aligned(one) for one in beside) else "depth"
        return "color" if last in ("color", "rgb") else None


def _is_aligned(stream: _Stream) -> bool:
    """True for depth that the node already put on the color grid."""
    return stream.base.rpartition("/")[2].lower() == "aligned_depth_to_color"


def _message(stream: _Stream, data: bytes) -> cdr.RosImage:
    """An image message in the form its topic says."""
    return cdr.compressed_image(data) if stream.form else cdr.image(data)


def _find_streams(topics: Mapping[str, str]) -> dict[str, _Stream]:
    """Image topic -> stream; of several forms of the same images the raw one, named short where that is unambiguous."""
    best: dict[str, tuple[int, str, str]] = {}
    for topic in topics:
        match = _IMAGE.match(topic)
        if match is None:
            continue
        base, form = match["base"], match["form"] or ""
        if "depth" in match["stream"].lower() and form == "/compressed":
            continue  # an 8-bit picture of the depth, no depth
        rank = ("", "/compressedDepth", "/compressed").index(form)
        best[base] = min(best.get(base, (rank, topic, form)), (rank, topic, form))
    short = [base.rpartition("/")[2].lower() for base in best]
    return {
        topic: _Stream(last if short.count(last) == 1 else base.strip("/"), base, topic, form)
        for last, (base, (_, topic, form)) in zip(short, best.items(), strict=True)
    }


def _through_tree(poses: Mapping[tuple[str, str], Extrinsics], start: str, end: str) -> Extrinsics | None:
    """Transform of points from one frame into another through their common ancestor; None where there is none."""
    parents = {child: (frame, pose) for (frame, child), pose in poses.items()}
    chains = []
    for frame in (start, end):
        chain, to_root = {frame: Extrinsics()}, Extrinsics()
        while frame in parents and len(chain) <= len(parents):
            frame, pose = parents[frame]
            to_root = pose.after(to_root)
            chain[frame] = to_root
        chains.append(chain)
    for frame, from_start in chains[0].items():
        if frame in chains[1]:
            return chains[1][frame].inverse().after(from_start)
    return None
