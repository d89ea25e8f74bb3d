"""Rows of a session folder as the fields of the messages they once were, with their times; for exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .session_reader import Row, SessionRecord
from .session_tables import FLAG_SEPARATOR
from .wire_fields import event_fields

BOX = tuple(f"box_{side}" for side in ("x", "y", "width", "height"))


def utc_shift_ns(record: SessionRecord) -> int | None:
    """What turns the capture times of a live session into UTC; None for replays, which have times of their own."""
    if not record.summary["devices"].get("live", False):
        return None
    clock: Mapping[str, int] = record.summary["clock"]
    return clock["anchor_utc_ns"] - clock["anchor_monotonic_ns"]


def score_rows(record: SessionRecord) -> Iterator[tuple[int, dict[str, Any]]]:
    """Capture time and fields of each row that has a time; what the table does not hold is left out."""
    for row in record.scores:
        if not row["t_capture_ns"]:
            continue
        yield (
            int(row["t_capture_ns"]),
            {
                "frame": int(row["frame"]),
                "face_id": int(row["face_id"]),
                "t_capture_ns": int(row["t_capture_ns"]),
                "t_device_ns": int(row["t_device_ns"]) if row["t_device_ns"] else None,
                "confidence": float(row["confidence"]),
                "success": row["success"] == "1",
                "cause": row["cause"],
                "box": [float(row[name]) for name in BOX] if row[BOX[0]] else None,
                "spot": _number(row, "spot"),
                "emotion": {name: float(row[f"p_{name}"]) for name in record.classes if row[f"p_{name}"]},
                "flags": [flag for flag in row["flags"].split(FLAG_SEPARATOR) if flag],
            },
        )


def event_rows(record: SessionRecord) -> Iterator[tuple[int, dict[str, Any]]]:
    """Capture time of the decision, and the fields of each event, by that time."""
    decided = [
        (event.offset.t_capture_ns + round(event.decision_delay_ms * 1e6), event_fields(event, record.classes))
        for event in record.events
    ]
    yield from sorted(decided, key=lambda entry: (entry[0], entry[1]["id"]))


def _number(row: Row, name: str) -> float | None:
    return float(row[name]) if row[name] else None
