"""Export for BORIS: a project with the events of the session, and the same events as rows to paste.

Each expression is a state event, so it has two rows with the same behaviour code: its begin and its end. BORIS pairs
the rows of a subject and code in the order of time, so where two faces show the same at once, the second is a subject
of its own. BORIS 8.27.4's own code opens these projects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from sfam.engine.events import Event

from .session_reader import SessionRecord

PROJECT_FORMAT = "7.0"
EventRow = list[float | str | int]


def export_boris(
    record: SessionRecord, out: Path, media: Path | None = None, media_offset_s: float = 0.0
) -> list[Path]:
    """Write boris.boris and boris_events.tsv.

    Times are seconds since the session's first frame, so that corrected ones come back as they are; BORIS's own time
    offset says where in the video that is (BORIS 8.27.4 takes time = place in the video + offset).

    The rows hold seconds, subject, behaviour, modifier and comment, and with a video the frame number too: what
    BORIS expects of pasted events. The last row has no line feed, for BORIS refuses an empty row.

    Args:
        record: the session.
        out: folder to write to; made when missing.
        media: a video that BORIS can play; None makes a live observation without one.
        media_offset_s: time in the video at which the session's first frame lies.
    """
    subjects = _subjects(record)
    rows = _rows(record, subjects, with_frames=media is not None)
    date = datetime.fromtimestamp(record.summary["clock"]["anchor_utc_ns"] / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    project = {
        "time_format": "hh:mm:ss",
        "project_date": date,
        "project_name": record.video,
        "project_description": f"Written by sfam-live. {record.summary['notice']}",
        "project_format_version": PROJECT_FORMAT,
        "subjects_conf": {
            str(place): {"key": "", "name": name, "description": ""}
            for place, name in enumerate(sorted({record.subject, *subjects.values()}))
        },
        "behaviors_conf": {str(place): _behavior(code) for place, code in enumerate(_codes(record))},
        "observations": {record.video: _observation(record, rows, media, media_offset_s, date)},
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    out.mkdir(parents=True, exist_ok=True)
    written = [out / "boris.boris", out / "boris_events.tsv"]
    written[0].write_text(json.dumps(project, indent=1) + "\n", encoding="utf-8", newline="\n")
    lines = ["\t".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row) for row in rows]
    written[1].write_text("\n".join(lines), encoding="utf-8", newline="\n")
    return written


def _code(event: Event) -> str:
    return f"{event.kind} {event.emotion}"


def _codes(record: SessionRecord) -> list[str]:
    """Every code that the model can give, so that a coder can correct to any of them."""
    return [f"{kind} {name}" for kind in ("micro", "macro") for name in record.classes]


def _behavior(code: str) -> dict[str, object]:
    return {
        "type": "State event",
        "key": "",
        "code": code,
        "description": "spotted by sfam-live",
        "color": "",
        "category": "",
        "modifiers": {},
        "excluded": "",
        "coding map": "",
    }


def _subjects(record: SessionRecord) -> dict[int, str]:
    """The subject of each event: the session's, or `s01 (2)` while an event of the same code lasts."""
    ends: dict[str, list[int]] = {}
    subjects: dict[int, str] = {}
    for event in record.events:
        taken = ends.setdefault(_code(event), [])
        free = (place for place, end in enumerate(taken) if end <= event.onset.frame)
        place = next(free, len(taken))
        taken[place : place + 1] = [event.offset.frame]
        subjects[event.id] = record.subject if place == 0 else f"{record.subject} ({place + 1})"
    return subjects


def _rows(record: SessionRecord, subjects: Mapping[int, str], with_frames: bool) -> list[EventRow]:
    rows: list[EventRow] = []
    for event in record.events:
        comment = ", ".join([f"score {event.score:.2f}", event.state, *event.flags])
        for moment in (event.onset, event.offset):
            seconds = round(record.seconds(moment.t_capture_ns), 3)
            row: EventRow = [seconds, subjects[event.id], _code(event), "", comment]
            rows.append([*row, moment.frame] if with_frames else row)
    return sorted(rows, key=lambda row: row[0])


def _observation(
    record: SessionRecord, rows: list[EventRow], media: Path | None, media_offset_s: float, date: str
) -> dict[str, object]:
    observation: dict[str, object] = {
        "date": date,
        "type": "LIVE",
        "description": f"model {record.summary['model'].get('name', '')}",
        "time offset": 0.0,
        "events": rows,
        "independent_variables": {},
        "visualize_spectrogram": False,
        "close_behaviors_between_videos": False,
        "scan_sampling_time": 0,
        "file": [],
        "media_info": {"offset": {}},
    }
    if media is None:
        return observation
    name, step_s = str(media), record.frame_s()
    length_s = record.seconds(max((int(row["t_capture_ns"] or 0) for row in record.scores), default=0))
    media_info = {
        "length": {name: length_s},
        "fps": {name: round(1 / step_s, 3) if step_s else 0},
        "hasVideo": {name: True},
        "hasAudio": {name: False},
        "offset": {"1": 0.0},
    }
    there = {"type": "MEDIA", "time offset": 0.0 - media_offset_s, "file": {"1": [name]}, "media_info": media_info}
    return {**observation, **there}
