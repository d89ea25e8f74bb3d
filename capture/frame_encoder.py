"""Frames and notes as chunks of a recording: the work of compressing, done where no camera waits for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import cv2
import numpy as np

from .foxglove_messages import (
    COLOR_FRAME_ID,
    DEPTH_FRAME_ID,
    Bytes,
    camera_calibration,
    compressed_image,
    raw_image,
)
from .frame import Calibration, RGBDFrame
from .mcap_chunk import PackedChunk, PackedMessage, pack_chunk
from .mcap_layout import Topic, calibration_record, frame_record, unix_ns

Note = tuple[Topic, Mapping[str, Any]]


class FrameEncoder:
    """Numbers calibrations as they come and packs frames.

    Args:
        color: lossless pixels, or JPEG of `jpeg_quality`.
        compression: of the image chunks.
    """

    def __init__(
        self, color: Literal["lossless", "jpeg"], jpeg_quality: int, compression: Literal["lz4", "zstd"]
    ) -> None:
        self._jpeg_quality = jpeg_quality if color == "jpeg" else None
        self._compression = compression
        self._calibrations: list[Calibration] = []
        self._noted = 0

    def number_of(self, calibration: Calibration) -> int:
        """Number of a calibration; a new one waits in `new_calibrations`."""
        if calibration not in self._calibrations:
            self._calibrations.append(calibration)
        return self._calibrations.index(calibration)

    def new_calibrations(self) -> list[Note]:
        """Notes of the calibrations that came since the last call; they go in front of the frames that name them."""
        first, self._noted = self._noted, len(self._calibrations)
        fresh = enumerate(self._calibrations[first:], first)
        return [(Topic.CALIBRATION, calibration_record(number, one)) for number, one in fresh]

    def frames(self, frames: Sequence[RGBDFrame]) -> list[PackedChunk]:
        """An image chunk and a record chunk.

        Raises:
            ValueError, cv2.error: images that cannot be encoded.
        """
        images: list[PackedMessage] = []
        records: list[PackedMessage] = []
        for frame in frames:
            t_ns, number = unix_ns(frame), self.number_of(frame.calibration)
            images.append(PackedMessage(Topic.COLOR, t_ns, frame.sequence, self._color(frame, t_ns)))
            images.append(PackedMessage(Topic.DEPTH, t_ns, frame.sequence, _depth(frame, t_ns)))
            records.append(_json_message(Topic.FRAME, t_ns, frame_record(frame, number), frame.sequence))
        return [pack_chunk(images, self._compression), pack_chunk(records, "")]

    def notes(self, t_ns: int, notes: Iterable[Note]) -> PackedChunk:
        """What is to be said beside the frames; calibrations in Foxglove's form as well."""
        messages: list[PackedMessage] = []
        for topic, record in notes:
            messages.append(_json_message(topic, t_ns, record))
            if topic is Topic.CALIBRATION:
                messages += _foxglove_calibrations(t_ns, self._calibrations[record["number"]])
        return pack_chunk(messages, "")

    def _color(self, frame: RGBDFrame, t_ns: int) -> tuple[Bytes, ...]:
        color = np.ascontiguousarray(frame.color)
        if self._jpeg_quality is None:
            return raw_image(t_ns, COLOR_FRAME_ID, "rgb8", (color.shape[0], color.shape[1]), color.reshape(-1).data)
        bgr = cv2.cvtColor(color, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality))
        if not done:
            raise ValueError(f"color of frame {frame.sequence} does not encode as JPEG")
        return compressed_image(t_ns, COLOR_FRAME_ID, "jpeg", data.tobytes())


def _depth(frame: RGBDFrame, t_ns: int) -> tuple[Bytes, ...]:
    depth = np.ascontiguousarray(frame.depth, dtype="<u2")
    shape = (depth.shape[0], depth.shape[1])
    return raw_image(t_ns, _depth_frame_id(frame.calibration), "16UC1", shape, depth.reshape(-1).view(np.uint8).data)


def _depth_frame_id(calibration: Calibration) -> str:
    return COLOR_FRAME_ID if calibration.depth_aligned else DEPTH_FRAME_ID


def _json_message(topic: Topic, t_ns: int, record: Mapping[str, Any], sequence: int = 0) -> PackedMessage:
    return PackedMessage(topic, t_ns, sequence, (json.dumps(record).encode(),))


def _foxglove_calibrations(t_ns: int, calibration: Calibration) -> list[PackedMessage]:
    color = camera_calibration(t_ns, COLOR_FRAME_ID, calibration.color)
    depth = camera_calibration(t_ns, _depth_frame_id(calibration), calibration.depth)
    return [
        PackedMessage(Topic.COLOR_CALIBRATION, t_ns, 0, (color,)),
        PackedMessage(Topic.DEPTH_CALIBRATION, t_ns, 0, (depth,)),
    ]
