"""What the overlay window knows of one camera: bounded, however long the session."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TypeVar

from sfam.engine.events import Event
from sfam.stream.face_track import FaceTrack
from sfam.stream.scene_flow import SceneFlow

from .frame_result import FrameResult
from .live_frames import LiveFrame
from .overlay_palette import Picture
from .status import Status
from .wire import Message
from .wire_fields import parse_event, parse_face, parse_flow, parse_frame, parse_score, parse_status

Found = TypeVar("Found")

KEPT_FRAMES = 64
KEPT_LIVE = 20
KEPT_SCORES = 1200
KEPT_EVENTS = 64


@dataclass(slots=True)
class OverlayState:
    """What is known from its messages and its ring."""

    header: dict[str, object] = field(default_factory=dict)
    """The last `session` header."""
    picture: Picture | None = None
    """(H, W, 3) uint8 RGB: the last analysed frame."""
    frame: int = -1
    """Its number."""
    scale: float = 1.0
    """Pixels of the picture to a pixel of the captured image."""
    faces: OrderedDict[int, FaceTrack] = field(default_factory=OrderedDict)
    flows: OrderedDict[int, SceneFlow] = field(default_factory=OrderedDict)
    scores: deque[FrameResult] = field(default_factory=lambda: deque(maxlen=KEPT_SCORES))
    events: OrderedDict[int, Event] = field(default_factory=OrderedDict)
    status: Status | None = None
    lost: int = 0
    latency_ms: float = math.nan
    """From capture to publishing of the last score."""
    silent_s: float = 0.0
    """How long no message has come."""
    depth: Picture | None = None
    """(h, w, 3) uint8 RGB: the depth of that frame in colors."""
    live: OrderedDict[int, LiveFrame] = field(default_factory=OrderedDict)
    """Frames of the session's ring that wait for their score."""

    @property
    def blind(self) -> bool:
        """True where scores, labels and events are kept from the screen."""
        return bool(self.header.get("blind", False))

    def take(self, message: Message) -> None:
        """Enter one message."""
        header, payload = message.header, message.payload
        self.lost = message.lost
        if message.kind == "session":
            self.header = header
        elif message.kind == "frame" and payload is not None:
            if not self.live and self.depth is None:
                self.picture, self.frame = parse_frame(header, payload), header["frame"]
                self.scale = 1.0
        elif message.kind == "flow" and payload is not None:
            _keep(self.flows, header["frame"], parse_flow(header, payload), KEPT_FRAMES)
        elif message.kind == "face":
            _keep(self.faces, header["frame"], parse_face(header), KEPT_FRAMES)
        elif message.kind == "score":
            self.scores.append(parse_score(header))
            self._show_live(header["frame"])
            self.latency_ms = header["latency_us"].get("total", math.nan) / 1e3
        elif message.kind == "event":
            _keep(self.events, header["id"], parse_event(header), KEPT_EVENTS)
        elif message.kind == "status":
            self.status = parse_status(header)

    def take_live(self, frame: LiveFrame) -> None:
        """Enter a frame of the session's ring; it is shown once its score is known."""
        _keep(self.live, frame.frame, frame, KEPT_LIVE)
        if self.scores and self.scores[-1].frame >= frame.frame:
            self._show_live(frame.frame)

    def _show_live(self, number: int) -> None:
        frame = self.live.get(number)
        if frame is not None and number >= self.frame:
            self.picture, self.frame, self.depth = frame.color, number, frame.depth
            self.scale = frame.color.shape[1] / frame.width


def _keep(shelf: OrderedDict[int, Found], key: int, value: Found, limit: int) -> None:
    shelf[key] = value
    shelf.move_to_end(key)
    while len(shelf) > limit:
        shelf.popitem(last=False)
