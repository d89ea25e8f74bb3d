"""What a page of one camera needs, gathered from its messages: bounded, matched by frame number, ready to send.

Pictures of a session of this machine come from its ring, those of others from their bus. A picture leaves only together
with the score of the very frame it shows. The motion field belongs to the same frame
too, or, as frame and flow messages are thinned apart, to one of the two before it, and then says so.
"""

from __future__ import annotations

import json
import struct
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from sfam.stream.scene_flow import CROP_PX

from .live_frames import LiveFrame
from .pixelate import pixelated
from .wire import Message, check_schema, json_ready
from .wire_fields import frame_payload

KEPT_RESULTS = 128
KEPT_PICTURES = 4
KEPT_LIVE = 20
"""Frames from the ring that may wait for their score: as many as a ring has slots, and some."""
JPEG_QUALITY = 80
PICTURE_TIERS, FLOW_TIERS = ("full",), ("full", "blurred", "flow")
KEPT_SCORES = 900
KEPT_EVENTS = 32
FLOW_AGE_FRAMES = 2
ARROW_STEP_PX = 8
HEADER_BYTES = struct.Struct("<II")
"""In front of a picture: length of its JSON header, length of its motion field."""
SESSION_FIELDS = (
    *("session", "camera", "state", "subject", "video", "source", "threshold", "model", "privacy", "notice"),
    *("unsuitable_uses", "counters"),
)
Found = TypeVar("Found")


class CameraFeed:
    """The present of one camera.

    Args:
        on_this_machine: pixels and motion are for eyes at this machine, whatever the privacy tier; else the tier
            decides, and pictures of tier `blurred` are pixelated.
        clock_s: wall clock that only runs forwards.
    """

    def __init__(self, on_this_machine: bool = True, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._on_this_machine = on_this_machine
        self._clock_s = clock_s
        self._serial = 0
        self._heard_s = clock_s()
        self._session: tuple[int, dict[str, Any]] = (0, {})
        self._status: tuple[int, dict[str, Any]] = (0, {})
        self._forget()

    def _forget(self) -> None:
        """A new session: nothing of the last one may stand beside it."""
        self._results: OrderedDict[int, list[dict[str, Any]]] = OrderedDict()
        self._crops: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._flows: OrderedDict[int, tuple[dict[str, Any], bytes]] = OrderedDict()
        self._pictures: OrderedDict[int, tuple[int, dict[str, Any], bytes]] = OrderedDict()
        self._live: OrderedDict[int, tuple[int, LiveFrame]] = OrderedDict()
        self._packed: tuple[int, bytes] = (-1, b"")
        self._scores: deque[tuple[int, list[Any]]] = deque(maxlen=KEPT_SCORES)
        self._events: OrderedDict[int, tuple[int, dict[str, Any]]] = OrderedDict()
        self._lost = 0
        self._latency_ms: float | None = None

    @property
    def blind(self) -> bool:
        """True where labels, scores and events are kept from the screen."""
        return bool(self._session[1].get("blind", False))

    def take(self, message: Message) -> None:
        """Enter one message.

        Raises:
            WireError: it is of another major version.
        """
        header, payload = message.header, message.payload
        check_schema(header, message.kind)
        self._serial += 1
        self._heard_s = self._clock_s()
        self._lost = message.lost
        if message.kind == "session":
            self._take_session(header)
        elif message.kind == "status":
            self._status = (self._serial, header)
        elif message.kind == "score":
            self._take_score(header)
        elif message.kind == "event":
            _keep(self._events, header["id"], (self._serial, _event(header)), KEPT_EVENTS)
        elif message.kind == "face":
            _keep(self._crops, header["frame"], header["crop"], KEPT_RESULTS)
        elif message.kind == "flow" and payload is not None:
            _keep(self._flows, header["frame"], (header, payload), KEPT_PICTURES)
        elif message.kind == "frame" and payload is not None:
            _keep(self._pictures, header["frame"], (self._serial, header, payload), KEPT_PICTURES)

    def take_live(self, frame: LiveFrame) -> None:
        """Enter a frame of the session's ring; from now on the pictures of its bus are not looked at."""
        self._serial += 1
        _keep(self._live, frame.frame, (self._serial, frame), KEPT_LIVE)

    def news(self, since: int) -> tuple[int, dict[str, Any]]:
        """What came after the serial number `since`, as JSON-ready fields, and the number up to which it goes."""
        news: dict[str, Any] = {
            "camera": self._session[1].get("camera", ""),
            "silent_s": round(self._clock_s() - self._heard_s, 2),
            "lost": self._lost,
            "latency_ms": self._latency_ms,
        }
        if self._session[0] > since:
            news["session"] = self._session[1]
        if self._status[0] > since:
            news["status"] = self._status[1]
        news["scores"] = [row for serial, row in self._scores if serial > since]
        news["events"] = [] if self.blind else [found for serial, found in self._events.values() if serial > since]
        return self._serial, news

    def picture(self, since: int) -> tuple[int, bytes] | None:
        """The newest frame that came after the serial number `since` and whose score is known, with its own number.

        Two little-endian uint32 (lengths of header and motion field), the JSON header, the motion field as float32
        (3, 16, 16) u, v, w, a JPEG of the depth (`depth_bytes` of the header, 0 where there is none), and the JPEG of
        the picture. None where there is no such frame or it may not leave.
        """
        shelf = {frame: found[0] for frame, found in (self._live or self._pictures).items()}
        known = [frame for frame, serial in shelf.items() if serial > since and frame in self._results]
        if not known:
            return None
        frame = max((number for number in known if number in self._flows), default=known[-1])
        serial = shelf[frame]
        if self._packed[0] != serial:
            self._packed = (serial, self._pack(frame))
        return (serial, self._packed[1]) if self._packed[1] else None

    def _pack(self, frame: int) -> bytes:
        """The message of a frame; empty where it may not leave."""
        found = self._images(frame)
        if found is None:
            return b""
        header, depth, jpeg = found
        header |= {
            "camera": self._session[1].get("camera", ""),
            "frame": frame,
            "faces": self._results[frame],
            "crop": self._crops.get(frame),
            "flow_frame": None,
            "depth_bytes": len(depth),
        }
        field = b""
        near = next((n for n in range(frame, frame - FLOW_AGE_FRAMES - 1, -1) if n in self._flows), None)
        if near is not None and not self.blind and self._may_leave(FLOW_TIERS):
            flow_header, payload = self._flows[near]
            header |= {"flow_frame": near, "crop": header["crop"] or flow_header["crop"]}
            field = _thinned(payload)
        text = json.dumps(header, separators=(",", ":")).encode()
        return HEADER_BYTES.pack(len(text), len(field)) + text + field + depth + jpeg

    def _images(self, frame: int) -> tuple[dict[str, Any], bytes, bytes] | None:
        """What to say of a frame's images, and depth and color as JPEG; None where they may not leave."""
        pixelate = not self._may_leave(PICTURE_TIERS)
        if pixelate and self._session[1].get("privacy") != "blurred":
            return None
        if not self._live:
            _, picture, jpeg = self._pictures[frame]  # pixelated by its session already
            t_s = _seconds(picture["t_capture_ns"])
            return {"width": picture["width"], "height": picture["height"], "t_s": t_s}, b"", jpeg
        live = self._live[frame][1]
        color, depth = live.color, b"" if pixelate else frame_payload(live.depth, JPEG_QUALITY)
        if pixelate:
            scale = color.shape[1] / live.width
            boxes = [tuple(scale * side for side in face["box"]) for face in self._results[frame] if face["box"]]
            color = pixelated(color, boxes)
        header = {
            "width": live.width,
            "height": live.height,
            "t_s": _seconds(live.t_capture_ns),
            "depth_m": [round(limit, 2) for limit in live.depth_m],
        }
        return header, depth, frame_payload(color, JPEG_QUALITY)

    def _take_session(self, header: dict[str, Any]) -> None:
        if header["session"] != self._session[1].get("session"):
            self._forget()
            self._status = (0, {})
        found = {name: header[name] for name in SESSION_FIELDS}
        self._session = (self._serial, json_ready({**found, "blind": bool(header.get("blind", False))}))

    def _take_score(self, header: dict[str, Any]) -> None:
        frame, blind = header["frame"], self.blind
        spot = None if blind else header["spot"]
        face = {
            "face_id": header["face_id"],
            "box": header["box"],
            "spot": spot,
            "cause": header["cause"],
            "flags": [] if blind else header["flags"],
        }
        _keep(self._results, frame, [*self._results.get(frame, []), face], KEPT_RESULTS)
        total_us = header["latency_us"].get("total")
        self._latency_ms = self._latency_ms if total_us is None else round(total_us / 1e3, 2)
        self._scores.append((self._serial, [frame, header["face_id"], _seconds(header["t_capture_ns"]), spot]))

    def _may_leave(self, tiers: tuple[str, ...]) -> bool:
        return self._on_this_machine or self._session[1].get("privacy") in tiers


def _keep(shelf: OrderedDict[int, Found], key: int, value: Found, limit: int) -> None:
    shelf[key] = value
    shelf.move_to_end(key)
    while len(shelf) > limit:
        shelf.popitem(last=False)


def _seconds(t_ns: int | None) -> float | None:
    return None if t_ns is None else round(t_ns / 1e9, 4)


def _event(header: dict[str, Any]) -> dict[str, Any]:
    kept = ("id", "kind", "state", "emotion", "probabilities", "score", "decision_delay_ms", "track_id", "flags")
    moments = {
        name: {"frame": header[name]["frame"], "t_s": _seconds(header[name]["t_capture_ns"])}
        for name in ("onset", "apex", "offset")
    }
    return {name: header[name] for name in kept} | moments


def _thinned(payload: bytes) -> bytes:
    """Every 8th vector of a flow payload, both ways, as float32 (3, 16, 16); w is 0 where not valid."""
    maps = np.frombuffer(payload, dtype="<f2").reshape(3, CROP_PX, CROP_PX)
    start = ARROW_STEP_PX // 2
    thin = maps[:, start::ARROW_STEP_PX, start::ARROW_STEP_PX].astype("<f4")
    found: bytes = np.nan_to_num(thin).tobytes()
    return found
