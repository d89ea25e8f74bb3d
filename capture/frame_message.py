"""One RGB-D frame as a message between two hosts: topic, JSON header, color, depth.

Every message stands for itself: it carries calibration and source, so a host that joins late, or lost what came before,
can read it. Header fields: `schema`, `run` (of the sender), `seq` (a jump is loss on the way), `source`, `calibration`,
`frame` (numbers and stamps as on the camera host), `drops` (of the camera host, by cause so far), `color` and `depth`
(how the pixels are packed). The last message of a run has `end` and `reason` instead of a frame. Before any frame, a
host asks questions, which the camera host answers with a greeting: the source, and its clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
import zstandard

from .encoding import decode_png
from .frame import Calibration, ColorImage, RGBDFrame
from .mcap_layout import calibration_from, frame_from, frame_record, source_record
from .source import SourceInfo

SCHEMA = "sfam.rgbd/1"
KIND = "rgbd"
QUESTION = b"sfam-question/"
"""What a question to a camera host begins with; the rest names who asks, and which question it is."""
LARGEST_IMAGE_BYTES = 64 * 2**20
"""No camera gives more; a header that announces more is refused before anything is unpacked."""
ZSTD_LEVEL = 1

Packing = Literal["jpeg", "zstd"]
Parts = Sequence[bytes]


class FrameMessageError(ValueError):
    """A message is none of ours, damaged, or of a newer version."""


@dataclass(frozen=True, slots=True)
class FrameMessage:
    """What arrived."""

    run: str
    seq: int
    frame: RGBDFrame | None
    """With the camera host's numbers and clocks; None in the last message of a run."""
    source: SourceInfo | None = None
    drops: Mapping[str, int] = field(default_factory=dict)
    end: str = ""
    """'ended' or 'failed' in the last message."""
    reason: str = ""


class FramePacker:
    """Packs the frames of one run.

    Args:
        info: of the camera, as it is open on this host.
        run: name of the run, new for each.
        color: 'jpeg', or 'zstd' = lossless. Depth is always lossless.
        jpeg_quality: of JPEG color.
    """

    def __init__(self, info: SourceInfo, run: str, color: Packing = "jpeg", jpeg_quality: int = 95) -> None:
        self._info = info
        self._run = run
        self._color = color
        self._jpeg_quality = jpeg_quality
        self._zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self._topic = f"sfam/{info.camera}/{KIND}".encode()
        self._geometry: tuple[Calibration, dict[str, Any]] | None = None
        self._seq = 0

    def frame(self, frame: RGBDFrame, drops: Mapping[str, int]) -> list[bytes]:
        """The next message.

        Raises:
            ValueError: color does not encode as JPEG.
        """
        header = {
            "source": source_record(self._info),
            "calibration": self._calibration(frame.calibration),
            "frame": frame_record(frame, 0),
            "drops": dict(drops),
            "color": {"packing": self._color, "shape": frame.color.shape},
            "depth": {"packing": "zstd", "shape": frame.depth.shape},
        }
        depth = np.ascontiguousarray(frame.depth, dtype="<u2")
        return [*self._begin(header), self._packed_color(frame.color), self._zstd.compress(depth.data)]

    def skip(self) -> None:
        """A frame that is not sent; the receiver sees it missing."""
        self._seq += 1

    def end(self, state: str, reason: str) -> list[bytes]:
        """The last message."""
        return [*self._begin({"end": state, "reason": reason}), b"", b""]

    def _begin(self, fields: Mapping[str, Any]) -> list[bytes]:
        header = {"schema": SCHEMA, "run": self._run, "seq": self._seq, **fields}
        self._seq += 1
        return [self._topic, json.dumps(header).encode()]

    def _calibration(self, calibration: Calibration) -> dict[str, Any]:
        if self._geometry is None or self._geometry[0] != calibration:
            self._geometry = calibration, asdict(calibration)
        return self._geometry[1]

    def _packed_color(self, color: ColorImage) -> bytes:
        if self._color == "zstd":
            return self._zstd.compress(np.ascontiguousarray(color).data)
        bgr = cv2.cvtColor(color, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality))
        if not done:
            raise ValueError(f"color of shape {color.shape} does not encode as JPEG")
        return data.tobytes()


def unpack(parts: Parts) -> FrameMessage:
    """The message that arrived.

    Raises:
        FrameMessageError: see there.
    """
    try:
        topic, header_bytes, color_bytes, depth_bytes = parts
        header = json.loads(header_bytes)
        schema = str(header["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise FrameMessageError(f"no message with a frame: {len(parts)} parts, {error!r}") from error
    if schema != SCHEMA:
        raise FrameMessageError(f"schema {schema} on topic {topic.decode(errors='replace')}, expected {SCHEMA}")
    try:
        if "end" in header:
            return FrameMessage(header["run"], int(header["seq"]), None, end=header["end"], reason=header["reason"])
        calibration = calibration_from(header["calibration"])
        color = _color(header["color"], color_bytes)
        depth = _pixels(header["depth"], depth_bytes, np.dtype("<u2"), 2)
        for image, lens, name in ((color, calibration.color, "color"), (depth, calibration.depth, "depth")):
            if image.shape[:2] != (lens.height, lens.width):
                raise ValueError(f"{name} is {image.shape}, its calibration says {lens.width}x{lens.height}")
        frame = frame_from(header["frame"], calibration, color, depth.astype(np.uint16, copy=False))
        drops = {str(cause): int(count) for cause, count in header["drops"].items()}
        source = _source(header["source"], calibration)
        return FrameMessage(header["run"], int(header["seq"]), frame, source, drops)
    except (ValueError, KeyError, TypeError, AttributeError, zstandard.ZstdError, cv2.error) as error:
        raise FrameMessageError(f"a damaged frame message: {error}") from error


def is_end(parts: Parts) -> bool:
    """True for the last message of a run, which has no pixels."""
    return not parts[-1]


def _color(packed: Mapping[str, Any], data: bytes) -> ColorImage:
    if packed["packing"] == "jpeg":
        return np.asarray(decode_png(data, "color"), np.uint8)
    color: ColorImage = _pixels(packed, data, np.dtype(np.uint8), 3)
    return color


def _pixels(packed: Mapping[str, Any], data: bytes, kind: np.dtype[Any], axes: int) -> Any:
    shape = tuple(int(size) for size in packed["shape"])
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if packed["packing"] != "zstd" or len(shape) != axes or not 0 < size <= LARGEST_IMAGE_BYTES:
        raise ValueError(f"pixels packed as {packed!r}")
    if zstandard.frame_content_size(data) != size:  # looked at before anything is allocated for it
        raise ValueError(f"{shape} pixels take {size} bytes, the packed ones another number")
    raw = zstandard.ZstdDecompressor().decompress(data)
    return np.frombuffer(raw, kind).reshape(shape)


def _source(record: Mapping[str, Any], calibration: Calibration) -> SourceInfo:
    return SourceInfo(
        camera=str(record["camera"]),
        kind=str(record["kind"]),
        live=bool(record["live"]),
        fps=float(record["fps"]),
        calibration=calibration,
        warnings=tuple(record["warnings"]),
        details=dict(record["details"]),
    )


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a camera host answers to a question: who it is, and what time it has there."""

    question: bytes
    run: str
    source: SourceInfo
    received_ns: int
    """Its monotonic clock when the question came."""
    sent_ns: int


def greeting(question: bytes, run: str, info: SourceInfo, received_ns: int, now_ns: int) -> list[bytes]:
    """The answer to a question; sent to whoever subscribed to the question's bytes."""
    header = {
        "schema": SCHEMA,
        "run": run,
        "source": source_record(info),
        "calibration": asdict(info.calibration),
        "t_received_ns": received_ns,
        "t_sent_ns": now_ns,
    }
    return [question, json.dumps(header).encode()]


def understood(parts: Parts) -> Greeting:
    """The answer that arrived.

    Raises:
        FrameMessageError: see there.
    """
    try:
        question, header_bytes = parts
        header = json.loads(header_bytes)
        if header["schema"] != SCHEMA:
            raise FrameMessageError(f"the camera host speaks {header['schema']}, this one {SCHEMA}")
        source = _source(header["source"], calibration_from(header["calibration"]))
        return Greeting(question, str(header["run"]), source, int(header["t_received_ns"]), int(header["t_sent_ns"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, FrameMessageError):
            raise
        raise FrameMessageError(f"a damaged answer: {error!r}") from error
