"""Results as Lab Streaming Layer streams: a plain subscriber of the bus, in its own process.

Scores: for each face that is followed at once a float32 stream at the camera's rate, one sample per frame with its
frame number, for that number, not the stamp, is what joins it to recordings. Events: one string channel of type
`Markers`, a JSON object per sample. A stamp is LSL's `local_clock` now, minus the measured age of the frame.
"""

from __future__ import annotations

import math
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sfam.capture.lsl import LslError, load_lsl, monotonic_ahead_ns
from sfam.capture.lsl_markers import MARKERS_TYPE, OWN_SOURCE

from .curve import SubscriberKeys
from .sink_error import SinkError
from .subscriber import subscribe
from .wire import Kind, Message, compact_json

SENT_KINDS: tuple[Kind, ...] = ("session", "score", "event")
SCORES_TYPE = "Expression"
FAREWELL_S = 0.5
"""What was pushed last needs a moment to leave before its stream ends."""
SCORE_BEGIN = (
    ("frame", "count", "Index"),
    ("face_id", "count", "Index"),
    ("success", "boolean", "Quality"),
    ("confidence", "normalized", "Quality"),
    ("spot", "normalized", "Score"),
)
"""Label, unit and type of the first channels; the probability of each class follows."""
NOT_KNOWN = float("nan")


@dataclass(slots=True)
class _FaceStream:
    """The score stream of one slot, in which one face after the other may stand."""

    outlet: Any
    face: int | None = None
    frame: int = -1
    """The last one with a sample."""
    seen: int = -1
    """The last one with this face."""
    last_s: float = -math.inf


class LslOutput:
    """The outlets of one camera.

    Args:
        session: header of its session message.
        lsl: the module `pylsl`.
        local_clock_s: LSL's clock.
        monotonic_ns: the host's monotonic clock.
    """

    def __init__(
        self,
        session: Mapping[str, Any],
        lsl: Any,
        local_clock_s: Callable[[], float] | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._classes: Sequence[str] = session["classes"]
        self._monotonic_ns = monotonic_ns
        self._local_clock_s: Callable[[], float] = local_clock_s or lsl.local_clock
        self._ahead_ns = monotonic_ahead_ns(self._local_clock_s, monotonic_ns)
        channels = [*SCORE_BEGIN, *((f"p_{name}", "normalized", "Probability") for name in self._classes)]
        rate = float(session["devices"].get("fps") or lsl.IRREGULAR_RATE)
        self._faces = [
            _FaceStream(_outlet(lsl, session, name, SCORES_TYPE, channels, rate, lsl.cf_float32))
            for name in stream_names(int(session.get("max_faces", 1)))
        ]
        events = [("event", "json", MARKERS_TYPE)]
        self._events = _outlet(lsl, session, "events", MARKERS_TYPE, events, lsl.IRREGULAR_RATE, lsl.cf_string)
        self._last_event_s = -math.inf
        self._newest: tuple[int, float] | None = None
        """Frame of the last row, and its stamp."""
        self._waiting: list[tuple[Mapping[str, Any], float]] = []
        """New faces of that frame whose place may still belong to somebody in it."""
        self.counts: Counter[str] = Counter()
        """Samples by kind, and what was held back by cause."""

    def take(self, message: Message) -> None:
        """Send one message on; repeats were sent before."""
        if message.repeat or message.kind not in ("score", "event"):
            return
        now_s, now_ns = self._local_clock_s(), self._monotonic_ns()
        age_ns = age_of(message.header, now_ns)
        if message.kind == "event":
            self._event(message.header, now_s - (age_ns or 0.0) / 1e9)
        elif age_ns is None:
            self.counts["score_without_time"] += 1
        else:
            self._score(message.header, now_s - age_ns / 1e9)

    def close(self) -> None:
        """Let what was pushed leave, then end all streams."""
        self._complete()
        outlets = [self._events, *(face.outlet for face in self._faces)]
        if any(outlet.have_consumers() for outlet in outlets):
            time.sleep(FAREWELL_S)
        del self._events
        self._faces.clear()

    def _score(self, header: Mapping[str, Any], stamp_s: float) -> None:
        if self._newest is None or header["frame"] != self._newest[0]:
            self._complete()
            self._newest = (header["frame"], stamp_s)
        own = next((stream for stream in self._faces if stream.face == header["face_id"]), None)
        if own is None and header["success"] and len(self._faces) > 1:
            self._waiting.append((header, stamp_s))
        else:
            self._sample(header, stamp_s, own)

    def _sample(self, header: Mapping[str, Any], stamp_s: float, own: _FaceStream | None) -> None:
        """A face keeps its stream while it is followed; a new one gets that of the face that has been away longest."""
        frame = header["frame"]
        free = [stream for stream in self._faces if stream.frame != frame]
        stream = own or min(free, key=lambda one: one.seen if header["success"] else 0, default=None)
        if stream is None or stream.frame == frame:
            self.counts["further_faces"] += 1
            return
        if header["success"]:  # else lost just now, or a frame without any face
            stream.face, stream.seen = header["face_id"], frame
        emotion = header["emotion"]
        values = [frame, header["face_id"], header["success"], header["confidence"], header["spot"]]
        self._push(stream, [*values, *(emotion.get(name) for name in self._classes)], frame, stamp_s)

    def _complete(self) -> None:
        """The last frame is over: new faces get their places, and streams without a face a sample that says so."""
        if self._newest is None:
            return
        for header, when_s in self._waiting:
            self._sample(header, when_s, None)
        self._waiting.clear()
        frame, stamp_s = self._newest
        for stream in self._faces:
            if stream.frame != frame:
                self._push(stream, [frame, None, False, None, None, *(None for _ in self._classes)], frame, stamp_s)

    def _push(self, stream: _FaceStream, values: Sequence[float | None], frame: int, stamp_s: float) -> None:
        stream.frame = frame
        if stamp_s < stream.last_s:
            self.counts["score_not_monotonic"] += 1
            return
        stream.last_s = stamp_s
        stream.outlet.push_sample([NOT_KNOWN if value is None else float(value) for value in values], stamp_s)
        self.counts["score"] += 1

    def _event(self, header: Mapping[str, Any], stamp_s: float) -> None:
        """An event is never held back: it is stamped like the one before it at least, and tells its own times."""
        if stamp_s < self._last_event_s:
            self.counts["event_not_monotonic"] += 1
        stamp_s = self._last_event_s = max(stamp_s, self._last_event_s)
        self._events.push_sample([compact_json(event_text(header, self._ahead_ns))], stamp_s)
        self.counts["event"] += 1


def stream_names(max_faces: int) -> list[str]:
    """Of the score streams, one for each face that is followed at once: `scores`, `scores-2`, `scores-3` ..."""
    return ["scores", *(f"scores-{place}" for place in range(2, max_faces + 1))]


def age_of(header: Mapping[str, Any], now_ns: int) -> float | None:
    """Age in ns of the frame behind a message: since it arrived on this host; None where no frame is meant."""
    total_us = header["latency_us"].get("total")
    return None if total_us is None else float(max(0.0, now_ns - header["t_publish_ns"] + total_us * 1e3))


def event_text(header: Mapping[str, Any], monotonic_ahead_ns: int) -> dict[str, Any]:
    """What a marker says of an event; `lsl` holds its moments on LSL's clock where the session is live."""
    moments = {name: header[name] for name in ("onset", "apex", "offset")}
    on_lsl = {
        name: round((moment["t_host_ns"] - monotonic_ahead_ns) / 1e9, 6)
        for name, moment in moments.items()
        if moment.get("t_host_ns") is not None
    }
    kept = ("id", "kind", "state", "emotion", "probabilities", "score", "decision_delay_ms", "track_id", "flags")
    told = {name: header[name] for name in (*kept, "trial", "condition", "t_error_us") if name in header}
    return {**told, **moments, "lsl": on_lsl or None, "session": header["session"], "camera": header["camera"]}


def _outlet(
    lsl: Any,
    session: Mapping[str, Any],
    name: str,
    kind: str,
    channels: Sequence[tuple[str, str, str]],
    rate_hz: float,
    form: int,
) -> Any:
    camera = session["camera"]
    source_id = f"{OWN_SOURCE}{socket.gethostname()}/{camera}/{name}"
    info = lsl.StreamInfo(f"sfam-{camera}-{name}", kind, len(channels), rate_hz, form, source_id)
    listed = info.desc().append_child("channels")
    for label, unit, meaning in channels:
        channel = listed.append_child("channel")
        for key, value in (("label", label), ("unit", unit), ("type", meaning)):
            channel.append_child_value(key, value)
    origin = info.desc().append_child("acquisition")
    for key, value in (
        ("session", session["session"]),
        ("subject", session["subject"]),
        ("model", session["model"].get("name", "")),
        ("threshold", session["threshold"]),
        ("notice", session["notice"]),
    ):
        origin.append_child_value(key, str(value))
    return lsl.StreamOutlet(info)


def require_lsl() -> Any:
    """The module `pylsl`.

    Raises:
        SinkError: it is not installed.
    """
    try:
        return load_lsl()
    except LslError as error:
        raise SinkError(f"--lsl: {error}") from error


def serve_lsl(
    address: str,
    *,
    running: Callable[[], bool] = lambda: True,
    joined: Callable[[], None] = lambda: None,
    keys: SubscriberKeys | None = None,
) -> dict[str, int]:
    """Send a session's results on until it ends; what was sent and held back, by kind and cause.

    Args:
        address: of the bus.
        running: asked twice a second at least.
        joined: called once the session was heard and the streams stand.
        keys: for a bus that lets only listed keys in.

    Raises:
        SinkError: pylsl is not installed, or the address is malformed.
        WireError: something else publishes there.
    """
    lsl = require_lsl()
    outputs: dict[str, LslOutput] = {}
    try:
        for message in subscribe(address, SENT_KINDS, keys=keys, running=running):
            camera = str(message.header["camera"])
            if message.kind == "session" and camera not in outputs:
                outputs[camera] = LslOutput(message.header, lsl)
                joined()
            elif camera in outputs:
                outputs[camera].take(message)
    finally:
        for output in outputs.values():
            output.close()
    return dict(sum((output.counts for output in outputs.values()), Counter[str]()))
