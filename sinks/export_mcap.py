"""Export as MCAP for Foxglove, with the pictures of the session's own recording where its privacy tier had one."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from sfam.capture.frame import RGBDFrame
from sfam.capture.mcap_layout import unix_ns

from .results_mcap import ResultsMcap
from .session_reader import SessionRecord
from .session_rows import event_rows, score_rows, utc_shift_ns
from .wire_fields import frame_payload

JPEG_QUALITY = 85
Entry = tuple[int, int, Literal["event", "frame", "score"], Any]


def export_mcap(record: SessionRecord, out: Path, frames: Iterable[RGBDFrame] = ()) -> list[Path]:
    """Write one file in the order of time.

    Args:
        record: the session.
        out: folder to write to.
        frames: of its recording; kept only where the session's privacy tier allows it.

    Raises:
        RecordingError: the file exists or cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{record.path.resolve().name}.mcap"
    shift_ns = utc_shift_ns(record) or 0
    file = ResultsMcap(path, record.summary, pictures=True)
    try:
        for t_ns, _, kind, item in heapq.merge(_events(record), _pictures(frames, shift_ns), _scores(record)):
            if kind == "event":
                file.event(t_ns + shift_ns, item)
            elif kind == "score":
                file.score(t_ns + shift_ns, item)
            elif file.keeps_pictures:
                height, width = item.color.shape[:2]
                file.picture(t_ns + shift_ns, frame_payload(item.color, JPEG_QUALITY), width, height)
    finally:
        file.close()
    return [path]


def _events(record: SessionRecord) -> Iterator[Entry]:
    return ((t_ns, number, "event", fields) for number, (t_ns, fields) in enumerate(event_rows(record)))


def _scores(record: SessionRecord) -> Iterator[Entry]:
    return ((t_ns, number, "score", fields) for number, (t_ns, fields) in enumerate(score_rows(record)))


def _pictures(frames: Iterable[RGBDFrame], shift_ns: int) -> Iterator[Entry]:
    """On the same clock as the rows: the recording of a live session is stamped in UTC."""
    return ((unix_ns(frame) - (shift_ns if frame.t_utc_ns else 0), frame.sequence, "frame", frame) for frame in frames)
