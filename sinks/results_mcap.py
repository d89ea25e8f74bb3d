"""Results as an MCAP file that Foxglove opens: scores to plot, events as log lines, boxes on the picture.

    /sfam/<camera>/score        JSON, the fields of a score message
    /sfam/<camera>/event        JSON, the fields of an event message
    /sfam/<camera>/log          foxglove.Log: a line for each state of each event
    /sfam/<camera>/annotations  foxglove.ImageAnnotations: face box, score and event on the picture
    /sfam/<camera>/image        foxglove.CompressedImage, where the privacy tier lets pictures be stored
    /sfam/<camera>/calibration  foxglove.CameraCalibration of that picture

Times are UTC where the session was live, else those of the recording. The file grows by whole blocks, so a killed
process leaves everything up to `BLOCK_S` before its end, for `sfam repair`-like tools and Foxglove alike.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mcap.records import Channel, Header, Schema

from sfam.capture.foxglove_messages import COLOR_FRAME_ID, camera_calibration, compressed_image, descriptor_set
from sfam.capture.frame import Intrinsics
from sfam.capture.mcap_chunk import PackedChunk, PackedMessage, pack_chunk
from sfam.capture.mcap_file import GrowingFile

from .foxglove_json import ANNOTATIONS, INFO, LOG, Color, image_annotations, log_line, schema_text
from .wire import compact_json, load_schema

PROFILE = ""
"""None of the registered ones: not ROS."""
PICTURE_TIERS = ("blurred", "full")
"""Privacy tiers at which the pictures that leave may be stored; at `blurred` the face in them is gone."""
BLOCK_S = 0.5
BLOCK_BYTES = 4 * 2**20
QUIET_COLOR: Color = (0.6, 0.9, 0.6, 1.0)
EVENT_COLOR: Color = (1.0, 0.6, 0.1, 1.0)
SCORE, EVENT, LOGGED, DRAWN, IMAGE, CALIBRATION = range(1, 7)
SHOWN_AFTER_NS = 1_000_000_000
"""An event's name stands beside its face for so long after it was decided."""


class ResultsMcap:
    """Writes the results of one camera.

    Args:
        path: must not exist.
        session: fields of its session message, or its session.json.
        pictures: store pictures, where the session's privacy tier allows it too.
        clock_s: wall clock that only runs forwards, for the size of blocks.

    Raises:
        RecordingError: the file exists or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        session: Mapping[str, Any],
        pictures: bool = False,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        camera = str(session["camera"])
        self.camera = camera
        self.keeps_pictures = pictures and session["privacy"] in PICTURE_TIERS
        self._color = session["devices"].get("color") or {}
        self._clock_s = clock_s
        schemas = [
            Schema(1, _message_schema("score"), "jsonschema", "sfam.score"),
            Schema(2, _message_schema("event"), "jsonschema", "sfam.event"),
            Schema(3, schema_text(LOG), "jsonschema", LOG),
            Schema(4, schema_text(ANNOTATIONS), "jsonschema", ANNOTATIONS),
        ]
        names = ["score", "event", "log", "annotations"]
        if self.keeps_pictures:
            for number, name in enumerate(("foxglove.CompressedImage", "foxglove.CameraCalibration"), 5):
                schemas.append(Schema(number, descriptor_set(name), "protobuf", name))
            names += ["image", "calibration"]
        channels = [
            Channel(number, f"/sfam/{camera}/{name}", "protobuf" if number >= IMAGE else "json", {}, number)
            for number, name in enumerate(names, 1)
        ]
        self._file = GrowingFile(path, Header(PROFILE, f"sfam-live {version('sfam-live')}"), schemas, channels)
        self._waiting: list[PackedMessage] = []
        self._bytes = 0
        self._began_s = clock_s()
        self._counts = [0] * (CALIBRATION + 1)
        self._events: dict[int, tuple[int, str]] = {}
        self._drawn: tuple[int, list[tuple[list[float], str, Color]]] = (-1, [])
        self.last_ns = 0
        """Time of the newest message."""
        self._closed = False

    @property
    def counts(self) -> dict[str, int]:
        """Messages by channel."""
        names = ("score", "event", "log", "annotations", "image", "calibration")
        return {name: count for name, count in zip(names, self._counts[1:], strict=True) if count}

    def score(self, t_ns: int, fields: Mapping[str, Any]) -> None:
        """A row: one face of one frame."""
        self._json(SCORE, t_ns, fields)
        frame, drawn = self._drawn
        drawn = drawn if fields["frame"] == frame else []
        if fields["box"] is not None:
            drawn.append((list(fields["box"]), *self._caption(t_ns, fields)))
        self._drawn = (fields["frame"], drawn)
        self._json(DRAWN, t_ns, image_annotations(t_ns, drawn))

    def event(self, t_ns: int, fields: Mapping[str, Any]) -> None:
        """A state of an event."""
        self._json(EVENT, t_ns, fields)
        onset, offset = fields["onset"], fields["offset"]
        text = (
            f"{fields['kind']} #{fields['id']} {fields['state']}: {fields['emotion']}, frames {onset['frame']} to "
            f"{offset['frame']}, score {fields['score']:.2f}"
        )
        self._json(LOGGED, t_ns, log_line(t_ns, INFO, text, f"sfam/{self.camera}"))
        if fields["state"] == "confirmed":
            self._events[fields["track_id"]] = (t_ns, f"{fields['kind']} {fields['emotion']}")

    def picture(self, t_ns: int, jpeg: bytes, width: int, height: int) -> None:
        """The color image of a frame as JPEG; left out where the privacy tier forbids it."""
        if not self.keeps_pictures:
            return
        if not self._counts[CALIBRATION] and self._color:
            fx, fy, ppx, ppy = (float(self._color[name]) for name in ("fx", "fy", "ppx", "ppy"))
            camera = Intrinsics(width, height, fx, fy, ppx, ppy)
            self._add(CALIBRATION, t_ns, (camera_calibration(t_ns, COLOR_FRAME_ID, camera),))
        self._add(IMAGE, t_ns, tuple(compressed_image(t_ns, COLOR_FRAME_ID, "jpeg", jpeg)))

    def flush(self) -> None:
        """Hand what waits to the operating system.

        Raises:
            RecordingError: disk full or write error; what was written before stays valid.
        """
        if self._waiting:
            self._file.append([self._packed()])

    def close(self) -> None:
        """Write the rest and the index. Safe to call twice.

        Raises:
            RecordingError: as `flush`.
        """
        if self._closed:
            return
        self._closed = True
        self.flush()
        self._log(self.last_ns, f"end of session; {json.dumps(self.counts)}")
        self._file.finish(lambda given_way: self._packed())

    def _caption(self, t_ns: int, fields: Mapping[str, Any]) -> tuple[str, Color]:
        spot = "" if fields["spot"] is None else f"spot {fields['spot']:.2f}"
        told = self._events.get(fields["face_id"])
        if told is None or not 0 <= t_ns - told[0] < SHOWN_AFTER_NS:
            return spot or str(fields["cause"]), QUIET_COLOR
        return f"{told[1]} {spot}", EVENT_COLOR

    def _log(self, t_ns: int, text: str) -> None:
        self._json(LOGGED, t_ns, log_line(t_ns, INFO, text, f"sfam/{self.camera}"))

    def _json(self, channel: int, t_ns: int, fields: Mapping[str, Any]) -> None:
        self._add(channel, t_ns, (compact_json(fields).encode(),))

    def _add(self, channel: int, t_ns: int, parts: tuple[Any, ...]) -> None:
        t_ns = max(0, t_ns)
        self._waiting.append(PackedMessage(channel, t_ns, self._counts[channel], parts))
        self._counts[channel] += 1
        self._bytes += sum(len(part) for part in parts)
        self.last_ns = max(self.last_ns, t_ns)
        if not self._closed and (self._bytes >= BLOCK_BYTES or self._clock_s() - self._began_s >= BLOCK_S):
            self.flush()

    def _packed(self) -> PackedChunk:
        chunk = pack_chunk(self._waiting, "zstd")
        self._waiting, self._bytes, self._began_s = [], 0, self._clock_s()
        return chunk


def _message_schema(kind: Any) -> bytes:
    """The schema of a kind; nothing is required, for an export knows less than a message says."""
    schema = load_schema(kind)
    return json.dumps({key: schema[key] for key in ("title", "description", "type", "properties")}).encode()
