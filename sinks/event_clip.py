"""Event clips: what the engine saw of an event, as an MCAP file of motion, scores and noise floor.

Below privacy tier `full` a clip holds no image channel at all, so a reviewer can judge an event, and an ethics board
can allow it, without anybody's face. At tier `full` it is a recording of ours as well, with color and depth of the same
frames: every reader of recordings plays it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Header, Schema
from numpy.typing import NDArray

from sfam.capture.clip_memory import LONGEST_EVENT_S
from sfam.capture.clock import SessionClock
from sfam.capture.frame import RGBDFrame
from sfam.capture.frame_encoder import FrameEncoder
from sfam.capture.mcap_chunk import PackedChunk, PackedMessage, pack_chunk
from sfam.capture.mcap_file import GrowingFile, RecordingError
from sfam.capture.mcap_layout import PROFILE, Layout, Topic, layout, source_record, unix_ns
from sfam.capture.own_mcap import CLIP_PROFILE, profile_of
from sfam.capture.source import SourceInfo
from sfam.stream.scene_flow import CROP_PX

from .session_info import NOT_A_LIE_DETECTOR

CLIP_TIERS = ("flow", "blurred", "full")
PICTURE_TIER = "full"
FOLDER = "clips"
BEFORE_S = 0.5
AFTER_S = 0.5
MEMORY_S = BEFORE_S + LONGEST_EVENT_S + AFTER_S
"""How long motion and pictures are held: a clip begins this long ago at most when it is written."""
SCORE, FLOW, EVENT = 21, 22, 23
"""Channel numbers, behind those of a recording."""
TOPICS = {SCORE: "/sfam/score", FLOW: "/sfam/flow", EVENT: "/sfam/event"}
FLOW_ENCODING = "sfam-flow"
"""One line of JSON, the header of a flow message, then its float16 payload (3, 128, 128)."""
FRAMES_AT_ONCE = 4
"""Frames of one image chunk."""


@dataclass(frozen=True, slots=True)
class ClipWish:
    """The stretch of capture time that an event's clip covers."""

    event_id: int
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrame:
    """One frame of a clip."""

    t_ns: int
    """Capture time."""
    score: Mapping[str, Any]
    """As in a `score` message."""
    flow: Mapping[str, Any] | None = None
    """Header of the motion up to this frame, as in a `flow` message."""
    maps: NDArray[np.float16] | None = None
    """(3, 128, 128): u, v in px of the crop, w in mm, NaN where not valid."""


@dataclass(frozen=True, slots=True, eq=False)
class EventClip:
    """An event and the frames around it, of one face."""

    event: Mapping[str, Any]
    frames: tuple[ClipFrame, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Color and depth of a clip's frames, as a recording stores them; never below tier `full`."""

    info: SourceInfo
    frames: Sequence[RGBDFrame]
    """At least one."""
    clock: SessionClock | None = None
    """Of a live session."""
    color: Literal["lossless", "jpeg"] = "lossless"
    jpeg_quality: int = 95


def clip_path(folder: Path, event_id: int) -> Path:
    """Where the clip of an event lies."""
    return folder / FOLDER / f"event_{event_id:05d}.mcap"


def remove_clips(folder: Path) -> None:
    """Take away the clips of a session that is going to be overwritten.

    Raises:
        OSError: one cannot be removed.
    """
    for path in [*(folder / FOLDER).glob("event_*.mcap"), *(folder / FOLDER).glob(".event_*.mcap.new")]:
        path.unlink()


def write_clip(path: Path, clip: EventClip, pictures: Pictures | None = None, *, utc_shift_ns: int = 0) -> None:
    """Write a clip; it appears under its name only when it is whole, in place of one that was there.

    Args:
        path: of the clip.
        clip: motion and scores.
        pictures: at tier `full`, color and depth.
        utc_shift_ns: from capture time to UTC where that is known; stands in the file's log times.

    Raises:
        RecordingError: it cannot be written.
        OSError: it cannot be put in its place.
        ValueError, cv2.error: a picture cannot be encoded.
    """
    plan = Layout((), ()) if pictures is None else layout(pictures.color == "jpeg")
    schemas, channels = _own_schemas(len(plan.schemas))
    header = Header(CLIP_PROFILE if pictures is None else PROFILE, f"sfam-live {version('sfam-live')}")
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    file = GrowingFile(beside, header, [*plan.schemas, *schemas], [*plan.channels, *channels])
    try:
        results = pack_chunk(_messages(clip, utc_shift_ns), "zstd")
        end = results if pictures is None else _append_pictures(file, clip, pictures, results)
        if file.finish(lambda _: end):
            raise RecordingError(f"{path}: the disk is full")
        os.replace(beside, path)
    finally:
        file.close()
        beside.unlink(missing_ok=True)


def _own_schemas(first: int) -> tuple[list[Schema], list[Channel]]:
    names = ("score", "event")
    schemas = [Schema(number, _schema(name), "jsonschema", name) for number, name in enumerate(names, first + 1)]
    channels = [
        Channel(SCORE, TOPICS[SCORE], "json", {}, first + 1),
        Channel(FLOW, TOPICS[FLOW], FLOW_ENCODING, {}, 0),
        Channel(EVENT, TOPICS[EVENT], "json", {"notice": NOT_A_LIE_DETECTOR}, first + 2),
    ]
    return schemas, channels


def _messages(clip: EventClip, shift_ns: int) -> list[PackedMessage]:
    event_ns = max(0, clip.event["onset"]["t_capture_ns"] + shift_ns)
    messages = [PackedMessage(EVENT, event_ns, 0, (_json(clip.event),))]
    for number, frame in enumerate(clip.frames):
        log_ns, score = max(0, frame.t_ns + shift_ns), {"t_capture_ns": frame.t_ns, **frame.score}
        messages.append(PackedMessage(SCORE, log_ns, number, (_json(score),)))
        if frame.flow is not None and frame.maps is not None:
            parts = (_json(frame.flow) + b"\n", frame.maps.tobytes())
            messages.append(PackedMessage(FLOW, log_ns, number, parts))
    return messages


def _append_pictures(file: GrowingFile, clip: EventClip, pictures: Pictures, results: PackedChunk) -> PackedChunk:
    """Everything of a recording but its last note, which is returned; the clip's results stand before that."""
    encoder = FrameEncoder(pictures.color, pictures.jpeg_quality, "zstd")
    frames, clock = pictures.frames, pictures.clock
    more: dict[str, str | int | float | bool] = {"color": pictures.color, "clips": True}
    if clock is not None:
        more |= {"anchor_monotonic_ns": clock.anchor_monotonic_ns, "anchor_utc_ns": clock.anchor_utc_ns}
    encoder.number_of(pictures.info.calibration)
    begin_ns = unix_ns(frames[0])
    file.append([encoder.notes(begin_ns, [(Topic.SOURCE, source_record(pictures.info, **more))])])
    for first in range(0, len(frames), FRAMES_AT_ONCE):
        some = frames[first : first + FRAMES_AT_ONCE]
        chunks = encoder.frames(some)
        calibrations = encoder.new_calibrations()
        file.append([encoder.notes(unix_ns(some[0]), calibrations), *chunks] if calibrations else chunks)
    file.append([results])
    missing = len({frame.score["frame"] for frame in clip.frames} - {frame.sequence for frame in frames})
    totals = {"state": "ended", "reason": "", "frames": len(frames), "drops": {"not_held": missing} if missing else {}}
    return encoder.notes(unix_ns(frames[-1]), [(Topic.END, totals)])


def read_clip(path: Path) -> EventClip:
    """Read motion and scores of a clip.

    Raises:
        RecordingError: it cannot be read, or is none.
    """
    event: Mapping[str, Any] | None = None
    scores: dict[int, tuple[int, Mapping[str, Any]]] = {}
    flows: dict[int, tuple[Mapping[str, Any], NDArray[np.float16]]] = {}
    try:
        for topic, number, log_ns, data in _stored(path):
            if topic == TOPICS[EVENT]:
                event = json.loads(data)
            elif topic == TOPICS[SCORE]:
                score = json.loads(data)
                scores[number] = (score.pop("t_capture_ns", log_ns), score)
            else:
                header, _, payload = data.partition(b"\n")
                maps = np.frombuffer(payload, "<f2").reshape(3, CROP_PX, CROP_PX)
                flows[number] = (json.loads(header), maps)
    except (OSError, ValueError, McapError) as error:
        raise RecordingError(f"{path}: cannot be read as an event clip ({error})") from error
    if event is None:
        raise RecordingError(f"{path}: is no event clip: it names no event")
    return EventClip(
        event,
        tuple(ClipFrame(t_ns, score, *flows.get(number, (None, None))) for number, (t_ns, score) in scores.items()),
    )


def holds_pictures(path: Path) -> bool:
    """Whether a clip is a recording too.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return profile_of(file.read(256)) == PROFILE


def _stored(path: Path) -> Iterator[tuple[str, int, int, bytes]]:
    with path.open("rb") as stream:
        for _, channel, message in make_reader(stream).iter_messages(topics=list(TOPICS.values())):
            yield channel.topic, message.sequence, message.log_time, message.data


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _schema(name: str) -> bytes:
    return json.dumps({"type": "object", "title": name, "description": f"as a `{name}` message of the bus"}).encode()
