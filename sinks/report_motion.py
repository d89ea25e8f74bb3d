"""Small pictures of how the skin moved in an event, from its clip: direction as color, size as brightness, no face."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.mcap_file import RecordingError

from .event_clip import EventClip, clip_path, read_clip
from .session_reader import SessionRecord

PER_EVENT = 7
MOST_EVENTS = 100
SIDE_PX = 96
BRIGHT_SHARE = 0.995
"""Of the motion in a clip is as bright as can be; less would let one noisy pixel darken all others."""
LEAST_PX = 0.3
"""Motion that is fully bright in a clip in which hardly anything moves."""
MotionPictures = dict[int, dict[int, str]]
"""By event id and frame: data URI of a PNG."""


def motion_pictures(record: SessionRecord) -> MotionPictures:
    """Motion in the frames of each event that has a clip; a clip that cannot be read is left out."""
    found: MotionPictures = {}
    for event in record.events[:MOST_EVENTS]:
        path = clip_path(record.path, event.id)
        if path.exists():
            try:
                found[event.id] = film(read_clip(path), event.onset.frame, event.offset.frame)
            except RecordingError:
                continue  # cut off by a crash: the tables say what the clip cannot
    return found


def film(clip: EventClip, onset: int, offset: int) -> dict[int, str]:
    """Evenly spaced frames from onset to offset, all on one scale."""
    maps = {int(one.score["frame"]): one.maps for one in clip.frames if one.maps is not None}
    inside = [frame for frame in sorted(maps) if onset <= frame <= offset]
    if not inside:
        return {}
    chosen = {inside[place] for place in np.linspace(0, len(inside) - 1, PER_EVENT).round().astype(int)}
    sizes = np.concatenate([np.hypot(*maps[frame][:2].astype(np.float32)).ravel() for frame in sorted(chosen)])
    full_px = max(LEAST_PX, float(np.quantile(sizes, BRIGHT_SHARE)))
    return {frame: _data_uri(_colors(maps[frame].astype(np.float32), full_px)) for frame in sorted(chosen)}


def _colors(maps: NDArray[np.float32], full_px: float) -> NDArray[np.uint8]:
    size, angle = cv2.cartToPolar(maps[0], maps[1], angleInDegrees=True)
    value = np.clip(255 * size / full_px, 0, 255)
    hsv = np.stack([angle / 2, np.full_like(size, 220), value], axis=2).astype(np.uint8)
    return np.asarray(cv2.resize(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), (SIDE_PX, SIDE_PX)), np.uint8)


def _data_uri(bgr: NDArray[np.uint8]) -> str:
    _, png = cv2.imencode(".png", bgr)
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()
