"""Event clips: what the engine saw of an event, as an MCAP file of motion, scores and noise floor, without appearance.

Written at privacy tiers that let motion be stored. A clip holds no image channel at all, so a reviewer can judge an
event, and an ethics board can allow it, without anybody's face.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Header, Schema
from numpy.typing import NDArray

from sfam.capture.mcap_file import GrowingFile, PackedMessage, RecordingError, pack_chunk
from sfam.capture.own_mcap import CLIP_PROFILE
from sfam.engine.events import Event
from sfam.stream.scene_flow import CROP_PX, SceneFlow

from .frame_result import FrameResult
from .session_info import NOT_A_LIE_DETECTOR
from .wire_fields import event_fields, flow_fields, flow_payload, score_fields

CLIP_TIERS = ("flow", "blurred", "full")
FOLDER = "clips"
BEFORE_S = 0.5
AFTER_S = 0.5
MEMORY_FRAMES = 300
"""Frames of motion that are remembered, about 100 kB each: ten seconds at 30 fps."""
WAITING_CLIPS = 8
SCORE, FLOW, EVENT = 1, 2, 3
TOPICS = {SCORE: "/sfam/score", FLOW: "/sfam/flow", EVENT: "/sfam/event"}
FLOW_ENCODING = "sfam-flow"
"""One line of JSON, the header of a flow message, then its float16 payload (3, 128, 128)."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrame:
    """One frame of a clip."""

    t_ns: int
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


@dataclass(slots=True)
class _Wanted:
    event: Event
    until_ns: int


@dataclass(slots=True)
class ClipKeeper:
    """Remembers the last seconds of motion and writes a clip of each confirmed event, on a thread of its own.

    Args:
        folder: of the session.
        classes: of the model.
    """

    folder: Path
    classes: tuple[str, ...]
    lost: int = 0
    """Clips given up because the disk was behind or failed."""
    _memory: deque[tuple[int, FrameResult, Mapping[str, Any] | None, bytes]] = field(
        default_factory=lambda: deque(maxlen=MEMORY_FRAMES)
    )
    _wanted: list[_Wanted] = field(default_factory=list)
    _queue: queue.Queue[tuple[Path, EventClip] | None] = field(default_factory=lambda: queue.Queue(WAITING_CLIPS))
    _writer: threading.Thread | None = None

    def push(self, rows: Sequence[FrameResult], flows: Sequence[SceneFlow]) -> None:
        """Remember a frame; write the clips that it completes."""
        # as float16 at once: half the memory, and nobody can change it any more
        by_face = {flow.track_id: (flow_fields(flow), flow_payload(flow)) for flow in flows}
        for row in rows:
            if row.t_capture_ns is not None:
                self._memory.append((row.t_capture_ns, row, *by_face.get(row.face_id, (None, b""))))
        if self._wanted and self._memory:
            now_ns = self._memory[-1][0]
            for wanted in [one for one in self._wanted if now_ns >= one.until_ns]:
                self._write(wanted)

    def keep(self, event: Event) -> None:
        """Write a clip of a confirmed event once the time after it has come."""
        self._wanted.append(_Wanted(event, event.offset.t_capture_ns + round(AFTER_S * 1e9)))

    def close(self) -> None:
        """Write what is still wanted, and wait for it. Safe to call twice."""
        for wanted in list(self._wanted):
            self._write(wanted)
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writer = None

    def _write(self, wanted: _Wanted) -> None:
        self._wanted.remove(wanted)
        event = wanted.event
        begin_ns = event.onset.t_capture_ns - round(BEFORE_S * 1e9)
        frames = tuple(
            ClipFrame(
                t_ns,
                score_fields(row, self.classes),
                flow,
                np.frombuffer(maps, "<f2").reshape(3, CROP_PX, CROP_PX) if maps else None,
            )
            for t_ns, row, flow, maps in self._memory
            if row.face_id == event.track_id and begin_ns <= t_ns <= wanted.until_ns
        )
        if self._writer is None:
            self._writer = threading.Thread(target=self._run, name="clips", daemon=True)
            self._writer.start()
        clip = EventClip(event_fields(event, self.classes), frames)
        try:
            self._queue.put_nowait((clip_path(self.folder, event.id), clip))
        except queue.Full:
            self.lost += 1

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            path, clip = task
            try:
                path.parent.mkdir(exist_ok=True)
                write_clip(path, clip)
            except OSError:  # a full disk: the session itself says so, and goes on
                self.lost += 1


def clip_path(folder: Path, event_id: int) -> Path:
    """Where the clip of an event lies."""
    return folder / FOLDER / f"event_{event_id:05d}.mcap"


def write_clip(path: Path, clip: EventClip) -> None:
    """Write a clip.

    Raises:
        RecordingError: it exists already, or cannot be written.
    """
    schemas = [Schema(number, _schema(name), "jsonschema", name) for number, name in enumerate(("score", "event"), 1)]
    channels = [
        Channel(SCORE, TOPICS[SCORE], "json", {}, 1),
        Channel(FLOW, TOPICS[FLOW], FLOW_ENCODING, {}, 0),
        Channel(EVENT, TOPICS[EVENT], "json", {"notice": NOT_A_LIE_DETECTOR}, 2),
    ]
    messages = [PackedMessage(EVENT, max(0, clip.event["onset"]["t_capture_ns"]), 0, (_json(clip.event),))]
    for number, frame in enumerate(clip.frames):
        messages.append(PackedMessage(SCORE, max(0, frame.t_ns), number, (_json(frame.score),)))
        if frame.flow is not None and frame.maps is not None:
            parts = (_json(frame.flow) + b"\n", frame.maps.tobytes())
            messages.append(PackedMessage(FLOW, max(0, frame.t_ns), number, parts))
    file = GrowingFile(path, Header(CLIP_PROFILE, f"sfam-live {version('sfam-live')}"), schemas, channels)
    try:
        file.finish(lambda _: pack_chunk(messages, "zstd"))
    finally:
        file.close()


def read_clip(path: Path) -> EventClip:
    """Read a clip.

    Raises:
        RecordingError: it cannot be read, or is none.
    """
    event: Mapping[str, Any] | None = None
    scores: dict[int, tuple[int, Mapping[str, Any]]] = {}
    flows: dict[int, tuple[Mapping[str, Any], NDArray[np.float16]]] = {}
    try:
        with path.open("rb") as stream:
            for _, channel, message in make_reader(stream).iter_messages():
                if channel.topic == TOPICS[EVENT]:
                    event = json.loads(message.data)
                elif channel.topic == TOPICS[SCORE]:
                    scores[message.sequence] = (message.log_time, json.loads(message.data))
                elif channel.topic == TOPICS[FLOW]:
                    header, _, payload = message.data.partition(b"\n")
                    maps = np.frombuffer(payload, "<f2").reshape(3, CROP_PX, CROP_PX)
                    flows[message.sequence] = (json.loads(header), maps)
    except (OSError, ValueError, McapError) as error:
        raise RecordingError(f"{path}: cannot be read as an event clip ({error})") from error
    if event is None:
        raise RecordingError(f"{path}: is no event clip: it names no event")
    return EventClip(
        event,
        tuple(ClipFrame(t_ns, score, *flows.get(number, (None, None))) for number, (t_ns, score) in scores.items()),
    )


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _schema(name: str) -> bytes:
    return json.dumps({"type": "object", "title": name, "description": f"as a `{name}` message of the bus"}).encode()
