"""What a page of one camera needs, gathered from its messages: bounded, matched by frame number, ready to send.

A picture leaves only together with the score of the very frame it shows. The motion field belongs to the same frame
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

from .wire import Message, check_schema, json_ready

KEPT_RESULTS = 128
KEPT_PICTURES = 4
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
            decides.
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
        (3, 16, 16) u, v, w, and the JPEG. None where there is no such frame or it may not leave.
        """
        known = [frame for frame, found in self._pictures.items() if found[0] > since and frame in self._results]
        if not known or not self._may_leave("frame"):
            return None
        frame = max((number for number in known if number in self._flows), default=known[-1])
        serial, picture, jpeg = self._pictures[frame]
        header = {
            "camera": self._session[1].get("camera", ""),
            "frame": frame,
            "width": picture["width"],
            "height": picture["height"],
            "t_s": _seconds(picture["t_capture_ns"]),
            "faces": self._results[frame],
            "crop": self._crops.get(frame),
            "flow_frame": None,
        }
        field = b""
        near = next((n for n in range(frame, frame - FLOW_AGE_FRAMES - 1, -1) if n in self._flows), None)
        if near is not None and not self.blind and self._may_leave("flow"):
            flow_header, payload = self._flows[near]
            header |= {"flow_frame": near, "crop": header["crop"] or flow_header["crop"]}
            field = _thinned(payload)
        text = json.dumps(header, separators=(",", ":")).encode()
        return serial, HEADER_BYTES.pack(len(text), len(field)) + text + field + jpeg

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

    def _may_leave(self, kind: str) -> bool:
        allowed = {"frame": ("full",), "flow": ("full", "flow")}[kind]
        return self._on_this_machine or self._session[1].get("privacy") in allowed


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
