"""Small pictures of events for a report: only at privacy tier `full`, from the session's own recording or its clips."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from sfam.capture.config import CaptureConfig
from sfam.capture.frame import ColorImage
from sfam.capture.recorded_parts import own_recording
from sfam.capture.source import SourceError, open_source
from sfam.engine.events import Event

from .event_clip import PICTURE_TIER, clip_path, holds_pictures
from .session_reader import SessionRecord

SIDE_PX = 128
PER_EVENT = 9
MOST_EVENTS = 200
MOST_FROM_CLIPS = 40
"""At the end of a session, whose operator waits for the report."""
AROUND_FRAMES = 4
QUALITY = 80
MARGIN = 0.25
Thumbnails = dict[int, dict[int, str]]
"""By event id and frame: data URI of a JPEG."""


def thumbnails(record: SessionRecord, from_recording: bool = True) -> Thumbnails:
    """Faces around each event, from the recording or, without one, from its clips; empty below tier `full`."""
    if record.summary["privacy"] != PICTURE_TIER or not record.events:
        return {}
    most = MOST_EVENTS if from_recording else MOST_FROM_CLIPS
    wanted = {event.id: frames_of(event) for event in record.events[:most]}
    needed = {frame for frames in wanted.values() for frame in frames}
    boxes = _boxes(record, needed)
    recording = own_recording(record.path)
    if from_recording and recording is not None:
        pictures = _pictures(recording, needed, boxes)
        found = {
            event: {frame: pictures[frame] for frame in frames if frame in pictures} for event, frames in wanted.items()
        }
    else:
        clips = {event: clip_path(record.path, event) for event in wanted}
        found = {event: _pictures(path, set(wanted[event]), boxes) for event, path in clips.items() if _plays(path)}
    return {event: faces for event, faces in found.items() if faces}


def _plays(clip: Path) -> bool:
    try:
        return holds_pictures(clip)
    except OSError:
        return False  # given up when it was to be written, or taken away since


def frames_of(event: Event) -> list[int]:
    """Frames from before the onset to after the offset, evenly spaced, onset, apex and offset among them."""
    first, last = max(0, event.onset.frame - AROUND_FRAMES), event.offset.frame + AROUND_FRAMES
    spread = np.linspace(first, last, PER_EVENT - 3).round().astype(int).tolist()
    return sorted({*spread, event.onset.frame, event.apex.frame, event.offset.frame})


def _boxes(record: SessionRecord, frames: set[int]) -> Mapping[int, Sequence[float]]:
    names = ("box_x", "box_y", "box_width", "box_height")
    return {
        int(row["frame"]): [float(row[name]) for name in names]
        for row in record.scores
        if int(row["frame"]) in frames and row["box_x"]
    }


def _pictures(recording: Path, frames: set[int], boxes: Mapping[int, Sequence[float]]) -> dict[int, str]:
    """By frame; what could be read, where a recording was cut beyond repair: the tables say the rest."""
    found: dict[int, str] = {}
    last = max(frames)
    try:
        with open_source(CaptureConfig(camera=str(recording))) as source:
            for frame in source.frames():
                if frame.sequence in frames:
                    found[frame.sequence] = _data_uri(_face(frame.color, boxes.get(frame.sequence)))
                if frame.sequence >= last:
                    break
    except SourceError:
        return found
    return found


def _face(color: ColorImage, box: Sequence[float] | None) -> ColorImage:
    """The square around the face, or the whole picture where there was none."""
    height, width = color.shape[:2]
    if box is not None:
        x, y, box_width, box_height = box
        half = max(box_width, box_height) * (0.5 + MARGIN)
        middle_x, middle_y = x + box_width / 2, y + box_height / 2
        left, right = max(0, int(middle_x - half)), min(width, int(middle_x + half))
        top, bottom = max(0, int(middle_y - half)), min(height, int(middle_y + half))
        if right > left and bottom > top:
            color = color[top:bottom, left:right]
    scale = SIDE_PX / max(color.shape[:2])
    size = (max(1, round(color.shape[1] * scale)), max(1, round(color.shape[0] * scale)))
    return np.asarray(cv2.resize(color, size, interpolation=cv2.INTER_AREA), np.uint8)


def _data_uri(color: ColorImage) -> str:
    _, jpeg = cv2.imencode(".jpg", color[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
