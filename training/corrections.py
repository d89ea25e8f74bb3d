"""Intervals that people corrected after a session, from CSV, ELAN or BORIS.

CSV, frames from 0, both ends inclusive: `subject,video,onset,offset,emotion,kind,verdict,comment`. Verdicts: confirmed
(or empty), corrected, added, rejected. ELAN annotations and BORIS behaviours begin with `micro` or `macro` and the
emotion, as our exports write them; rejecting is deleting.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfam.engine.events import Event
from sfam.sinks.session_reader import SessionRecord

from .dataset import AnnotatedInterval, DataSetError, Finding, Kind, emotion_class, within

COLUMNS = ("subject", "video", "onset", "offset", "emotion", "kind", "verdict", "comment")
KEPT = ("", "confirmed", "corrected", "added")
REJECTED = "rejected"
KINDS: dict[str, Kind] = {"micro": "micro", "macro": "macro"}
NEUTRAL = "neutral"
Corrected = tuple[list[AnnotatedInterval], list[Finding]]


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Frames of a session and their seconds since its first frame."""

    seconds: NDArray[np.float64]
    frames: NDArray[np.int64]
    step_s: float

    @classmethod
    def of(cls, record: SessionRecord) -> _Timeline:
        rows = {int(row["frame"]): int(row["t_capture_ns"]) for row in record.scores if row["t_capture_ns"]}
        if not rows:
            raise DataSetError(f"{record.path}: its scores.csv holds no frame time, so times cannot become frames")
        frames = sorted(rows, key=lambda frame: rows[frame])
        seconds = np.array([record.seconds(rows[frame]) for frame in frames])
        return cls(seconds, np.array(frames, np.int64), record.frame_s())

    def frame(self, second: float) -> int:
        """The frame nearest to a time; before the first and after the last they are counted on, so that it shows."""
        near = int(np.argmin(np.abs(self.seconds - second)))
        beyond_s = second - float(np.clip(second, self.seconds[0], self.seconds[-1]))
        return int(self.frames[near]) + (round(beyond_s / self.step_s) if self.step_s else 0)


def read_corrections(path: Path, record: SessionRecord) -> Corrected:
    """Corrected intervals of one session, by onset, and what was odd.

    Args:
        path: a .csv, .eaf (ELAN), .boris (project) or .tsv (BORIS rows: seconds, subject, behaviour, ...).
        record: the session they belong to; its events lend their apex where an interval overlaps one.

    Raises:
        DataSetError: unreadable, or of no known form.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataSetError(f"{path}: corrections come as {', '.join(_READERS)}; this ends in {path.suffix!r}")
    try:
        intervals, findings = reader(path, record)
    except (OSError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise DataSetError(f"{path}: cannot be read as corrections ({error!r})") from error
    last = max((int(row["frame"]) for row in record.scores), default=-1)
    intervals.sort(key=lambda one: (one.onset, one.offset))
    return list(within(intervals, last, path.name, findings)), findings


def _from_csv(path: Path, record: SessionRecord) -> Corrected:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        table = csv.DictReader(lines)
        missing = [name for name in COLUMNS[:7] if name not in (table.fieldnames or ())]
        if missing:
            raise DataSetError(f"{path}: lacks the columns {', '.join(missing)}; it needs {','.join(COLUMNS)}")
        rows = list(table)
    intervals: list[AnnotatedInterval] = []
    findings: list[Finding] = []
    for number, row in enumerate(rows, start=2):
        where, verdict = f"{path.name} row {number}", (row["verdict"] or "").strip().lower()
        if (row["subject"], row["video"]) != (record.subject, record.video):
            findings.append(Finding(where, f"of {row['subject']}/{row['video']}, another session", False))
        elif verdict not in (*KEPT, REJECTED):
            findings.append(Finding(where, f"unknown verdict {verdict!r}; {', '.join(KEPT[1:])} or rejected", False))
        elif verdict in KEPT:
            _take(where, f"{row['kind']} {row['emotion']}", _frames(row), record, intervals, findings)
    return intervals, findings


def _frames(row: dict[str, str]) -> tuple[int, int] | None:
    try:
        return int(row["onset"]), int(row["offset"])
    except (TypeError, ValueError):
        return None


def _from_elan(path: Path, record: SessionRecord) -> Corrected:
    try:
        from pympi.Elan import Eaf
    except ImportError as error:
        raise DataSetError(f"{path.name}: needs pympi-ling; pip install 'sfam-live[train]'") from error
    try:
        document = Eaf(str(path))
    except Exception as error:  # pympi hands on whatever the XML parser or a missing attribute raised
        raise DataSetError(f"{path}: is no readable ELAN file ({error!r})") from error
    line = _Timeline.of(record)
    intervals: list[AnnotatedInterval] = []
    findings: list[Finding] = []
    for tier in document.get_tier_names():
        for begin_ms, end_ms, text, *_ in document.get_annotation_data_for_tier(tier):
            where = f"{path.name} tier {tier!r} at {begin_ms} ms"
            span = line.frame(begin_ms / 1e3), line.frame(end_ms / 1e3)
            _take(where, text, span, record, intervals, findings)
    return intervals, findings


def _from_boris_project(path: Path, record: SessionRecord) -> Corrected:
    observations = json.loads(path.read_text(encoding="utf-8"))["observations"]
    if record.video not in observations:
        raise DataSetError(f"{path}: holds no observation {record.video!r}; it has {', '.join(observations) or 'none'}")
    return _from_boris_rows(path, observations[record.video]["events"], record)


def _from_boris_table(path: Path, record: SessionRecord) -> Corrected:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return _from_boris_rows(path, rows, record)


def _from_boris_rows(path: Path, rows: Sequence[Sequence[str | float]], record: SessionRecord) -> Corrected:
    """State events: a subject's first row of a behaviour begins it, the next row ends it."""
    line = _Timeline.of(record)
    open_since: dict[tuple[str, str], float] = {}
    intervals: list[AnnotatedInterval] = []
    findings: list[Finding] = []
    for second, subject, behaviour, *_ in sorted(rows, key=lambda row: float(row[0])):
        code, at = str(behaviour), float(second)
        state = str(subject), code
        if state not in open_since:
            open_since[state] = at
            continue
        begin = open_since.pop(state)
        where = f"{path.name} {code!r} at {begin:.3f} s"
        _take(where, code, (line.frame(begin), line.frame(at)), record, intervals, findings)
    findings += [
        Finding(f"{path.name} at {at:.3f} s", f"{code!r} never ends", False) for (_, code), at in open_since.items()
    ]
    return intervals, findings


def _take(
    where: str,
    text: str,
    span: tuple[int, int] | None,
    record: SessionRecord,
    intervals: list[AnnotatedInterval],
    findings: list[Finding],
) -> None:
    """Add the interval that a text and its frames describe, or the finding why not."""
    words = text.lower().split()
    kind = KINDS.get(words[0]) if words else None
    if kind is None:
        findings.append(Finding(where, f"{text!r} begins with neither micro nor macro", False))
        return
    if span is None or not 0 <= span[0] <= span[1]:
        findings.append(Finding(where, f"no frames from onset to offset: {span}", False))
        return
    emotion = words[1] if len(words) > 1 else ""
    known = emotion in ("", NEUTRAL) or any(emotion_class(emotion, count) is not None for count in (4, 7))
    if not known:
        findings.append(Finding(where, f"unknown emotion {emotion!r}: kept without one", True))
    apex = _apex(span, record.events)
    intervals.append(AnnotatedInterval(kind, span[0], apex, span[1], emotion if known and emotion != NEUTRAL else ""))


def _apex(span: tuple[int, int], events: Sequence[Event]) -> int:
    """The apex of the spotted event inside the span, else its middle."""
    inside = [event.apex.frame for event in events if span[0] <= event.apex.frame <= span[1]]
    return inside[0] if len(inside) == 1 else sum(span) // 2


_READERS: dict[str, Callable[[Path, SessionRecord], Corrected]] = {
    ".csv": _from_csv,
    ".eaf": _from_elan,
    ".boris": _from_boris_project,
    ".tsv": _from_boris_table,
}
