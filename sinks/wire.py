"""The wire: topic, header and payload of a bus message.

A message has two or three parts: the topic `sfam/<camera>/<kind>`, a UTF-8 JSON header and, for frame and flow, a
payload. Every header begins with the same fields (`schema`, `session`, `camera`, `seq`, stamps, `latency_us`); the
rest belongs to its kind and is written down in `schema/<kind>.schema.json`. Within a major version fields are only
added, so a reader must ignore what it does not know.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal, cast, get_args

from sfam.capture.frame import RGBDFrame

Kind = Literal["session", "score", "event", "status", "face", "frame", "flow", "analyzer"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PAYLOAD_KINDS: tuple[Kind, ...] = ("frame", "flow")
"""Kinds that carry a payload; they are only sent to those who subscribe to their full topic."""
MAJOR_VERSION = 1
_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
ROOT = "sfam/"


class WireError(ValueError):
    """A message cannot be written or understood."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """When the frame behind a message was captured; None = not known or no frame."""

    t_capture_ns: int | None = None
    t_device_ns: int | None = None
    t_utc_ns: int | None = None
    t_host_ns: int | None = None
    """Host monotonic at arrival; the publisher turns it into `latency_us.total` and never sends it."""
    latency_us: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: RGBDFrame, latency_us: Mapping[str, float] | None = None) -> Stamps:
        """Stamps of a frame and, by stage, the microseconds spent on it."""
        return cls(frame.t_capture_ns, frame.t_device_ns, frame.t_utc_ns or None, frame.t_host_ns, latency_us or {})


@dataclass(frozen=True, slots=True)
class Message:
    """One received message."""

    topic: str
    kind: Kind
    header: dict[str, Any]
    payload: bytes | None = None
    lost: int = 0
    """Messages this subscriber has lost so far, by gaps in `seq`."""
    stale: int = 0
    """Messages this subscriber has left out so far because they were too old."""
    repeat: bool = False
    """True when this message was received before (a snapshot for late joiners)."""


def camera_name(text: str) -> str:
    """A name fit for a topic: everything but letters, digits, `_` and `-` becomes `_`."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_") or "camera"


def topic_of(camera: str, kind: Kind) -> str:
    """`sfam/<camera>/<kind>`.

    Raises:
        WireError: when the camera's name cannot stand in a topic.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", camera):
        raise WireError(f"camera name {camera!r} must consist of letters, digits, _ and -; use camera_name() on it")
    return f"{ROOT}{camera}/{kind}"


def json_ready(value: object) -> Any:
    """A copy that JSON can hold: NaN and infinity become None, tuples lists, numpy scalars plain numbers.

    Raises:
        WireError: when a value has no JSON form.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        return [json_ready(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if hasattr(value, "tolist"):
        return json_ready(value.tolist())
    raise WireError(f"a header cannot hold {type(value).__name__}: {value!r}")


def encode_header(
    kind: Kind, session: str, camera: str, seq: int, stamps: Stamps, t_publish_ns: int, fields: Mapping[str, object]
) -> bytes:
    """The JSON header of one message, common fields first."""
    latency_us = dict(stamps.latency_us)
    if stamps.t_host_ns is not None:
        latency_us["total"] = (t_publish_ns - stamps.t_host_ns) / 1e3
    header = {
        "schema": f"sfam.{kind}/{MAJOR_VERSION}",
        "session": session,
        "camera": camera,
        "seq": seq,
        "t_capture_ns": stamps.t_capture_ns,
        "t_device_ns": stamps.t_device_ns,
        "t_utc_ns": stamps.t_utc_ns,
        "t_publish_ns": t_publish_ns,
        "latency_us": {stage: round(value, 1) for stage, value in latency_us.items() if math.isfinite(value)},
        **fields,
    }
    return compact_json(header).encode()


def compact_json(value: object) -> str:
    """One line of JSON; what JSON cannot hold is made ready first, see `json_ready`."""
    try:
        return _COMPACT.encode(value)
    except (TypeError, ValueError):  # a NaN or a numpy number: rare, and the detour costs five times as much
        return _COMPACT.encode(json_ready(value))


def decode(parts: Sequence[bytes]) -> Message:
    """A message from its parts.

    Raises:
        WireError: when the parts are no message of ours or come from a newer major version.
    """
    if len(parts) not in (2, 3):
        raise WireError(f"a message has 2 or 3 parts, got {len(parts)}")
    try:
        topic = parts[0].decode()
        header = json.loads(parts[1])
    except ValueError as error:
        raise WireError(f"topic {parts[0][:60]!r}: header is no UTF-8 JSON ({error})") from error
    kind = topic.rpartition("/")[2]
    if not topic.startswith(ROOT) or kind not in KINDS or not isinstance(header, dict):
        raise WireError(f"topic {topic!r} is none of {ROOT}<camera>/<{'|'.join(KINDS)}>")
    check_schema(header, kind)
    return Message(topic, kind, header, parts[2] if len(parts) == 3 else None)


def check_schema(header: Mapping[str, Any], kind: Kind) -> None:
    """Refuse a header of another kind or of a major version this reader does not know.

    Raises:
        WireError: naming both versions.
    """
    found = str(header.get("schema"))
    if found != f"sfam.{kind}/{MAJOR_VERSION}":
        raise WireError(
            f"expected schema sfam.{kind}/{MAJOR_VERSION}, got {found}; update the side with the lower number"
        )


def load_schema(kind: Kind) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a kind's header, with examples."""
    text = files("sfam.sinks").joinpath("schema").joinpath(f"{kind}.schema.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))
