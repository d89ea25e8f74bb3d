"""The two annotation tables of CAS(ME)^3 part A, joined: all expressions, and the emotions of the micro ones.

Rows keep what they say: frames become 0-based, emotions lower case, and every oddity is a finding with its row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .dataset import EMOTIONS, AnnotatedInterval, DataSetError, Finding, Kind, published_offset, subject_key

ALL_COLUMNS = ("Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Expression type", "Objective class")
EMOTION_COLUMNS = ("Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion")
KINDS: dict[str, Kind] = {"micro-expression": "micro", "macro-expression": "macro"}
VideoKey = tuple[str, str]
"""Subject key and lower-case video name."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What both tables say."""

    intervals: dict[VideoKey, list[AnnotatedInterval]]
    names: dict[VideoKey, tuple[str, str]]
    """Subject and video as the table spells them."""
    findings: tuple[Finding, ...]

    def count(self, kind: Kind) -> int:
        """Intervals of a kind."""
        return sum(one.kind == kind for rows in self.intervals.values() for one in rows)


@dataclass(frozen=True, slots=True)
class _Row:
    """One table row with its place."""

    where: str
    subject: str
    video: str
    frames: tuple[int, int, int]
    """1-based onset, apex, offset."""
    kind_or_emotion: str

    @property
    def key(self) -> tuple[str, str, int, int, int]:
        return (subject_key(self.subject), self.video.lower(), *self.frames)


def read_annotation(folder: Path) -> Annotation:
    """Read `*part_A_v2.xls` and `*ME_label*.xlsx` of a folder.

    Raises:
        DataSetError: a table is missing, unreadable or has other columns.
    """
    findings: list[Finding] = []
    every = _rows(_one(folder, "*part_A_v2.xls*"), ALL_COLUMNS, "Expression type", findings)
    labelled = _rows(_one(folder, "*ME_label*.xls*"), EMOTION_COLUMNS, "emotion", findings)
    emotions = _emotions(labelled, findings)
    used: set[tuple[str, str, int, int, int]] = set()
    intervals: dict[VideoKey, list[AnnotatedInterval]] = {}
    names: dict[VideoKey, tuple[str, str]] = {}
    _report_repeats(every, findings)
    for row in every:
        interval = _interval(row, emotions, findings)
        if interval is None:
            continue
        used.add(row.key)
        intervals.setdefault(row.key[:2], []).append(interval)
        names.setdefault(row.key[:2], (row.subject, row.video))
    findings += [
        Finding(row.where, "emotion of an expression that the other table does not have", False)
        for row in labelled
        if row.key not in used
    ]
    for rows in intervals.values():
        rows.sort(key=lambda one: (one.onset, one.offset))
    return Annotation(intervals, names, tuple(findings))


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise DataSetError(
            f"{folder}: {len(found)} files match {pattern}, one is needed; give the folder with both annotation "
            "tables of CAS(ME)^3 part A"
        )
    return found[0]


def _rows(path: Path, columns: Sequence[str], last: str, findings: list[Finding]) -> list[_Row]:
    """Typed rows of the first sheet; a row that holds no three frame numbers is a finding."""
    table = _openpyxl_sheet(path) if path.suffix.lower() == ".xlsx" else _calamine_sheet(path)
    header = [str(cell or "").strip() for cell in table[0]] if table else []
    missing = [name for name in columns if name not in header]
    if missing:
        raise DataSetError(f"{path.name}: the first sheet lacks the columns {', '.join(missing)}; it has {header}")
    place = {name: header.index(name) for name in columns}
    rows = []
    for number, cells in enumerate(table[1:], start=2):
        if not any(cell not in (None, "") for cell in cells):
            continue
        where = f"{path.name} row {number}"
        frames = [_frame(cells[place[name]]) for name in ("Onset", "Apex", "Offset")]
        if any(frame is None for frame in frames):
            findings.append(Finding(where, f"frames {[cells[place[c]] for c in columns[2:5]]} are no numbers", False))
            continue
        if any(isinstance(cells[place[name]], int | float) for name in ("Onset", "Apex", "Offset")):
            findings.append(Finding(where, "a frame is a number where the others are text: read as the same", True))
        onset, apex, offset = (frame for frame in frames if frame is not None)
        subject, video = str(cells[place["Subject"]]).strip(), str(cells[place["Filename"]]).strip()
        rows.append(_Row(where, subject, video, (onset, apex, offset), str(cells[place[last]] or "").strip()))
    return rows


def _frame(cell: Any) -> int | None:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return int(value) if value == int(value) else None


def _openpyxl_sheet(path: Path) -> list[list[Any]]:
    """First sheet of an .xlsx."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise DataSetError(f"{path.name}: needs openpyxl; pip install 'sfam-live[train]'") from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
        rows = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # openpyxl raises whatever the archive or its XML met
        raise DataSetError(f"{path}: is no readable .xlsx table ({error})") from error
    return rows


def _calamine_sheet(path: Path) -> list[list[Any]]:
    """First sheet of an .xls."""
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError as error:
        raise DataSetError(f"{path.name}: needs python-calamine; pip install 'sfam-live[train]'") from error
    try:
        book = CalamineWorkbook.from_path(str(path))
        rows: list[list[Any]] = book.get_sheet_by_index(0).to_python()
    except (CalamineError, OSError) as error:
        raise DataSetError(f"{path}: is no readable .xls table ({error})") from error
    return rows


def _emotions(rows: list[_Row], findings: list[Finding]) -> dict[tuple[str, str, int, int, int], str]:
    _report_repeats(rows, findings)
    known = {}
    for row in rows:
        emotion = row.kind_or_emotion.lower()
        if emotion != row.kind_or_emotion:
            findings.append(Finding(row.where, f"emotion {row.kind_or_emotion!r} read as {emotion!r}", True))
        if emotion not in EMOTIONS[7]:
            findings.append(Finding(row.where, f"unknown emotion {row.kind_or_emotion!r}: kept without one", True))
            emotion = ""
        known[row.key] = emotion
    return known


def _report_repeats(rows: list[_Row], findings: list[Finding]) -> None:
    counts = Counter(row.key for row in rows)
    findings += [
        Finding(row.where, f"one of {counts[row.key]} equal rows; all are kept", True)
        for row in rows
        if counts[row.key] > 1
    ]


def _interval(
    row: _Row, emotions: dict[tuple[str, str, int, int, int], str], findings: list[Finding]
) -> AnnotatedInterval | None:
    """The interval of a row, 0-based, by the published rule for long micros."""
    kind = KINDS.get(row.kind_or_emotion.lower())
    onset, apex, offset = (frame - 1 for frame in row.frames)
    if kind is None or not onset <= apex <= offset:
        what = f"kind {row.kind_or_emotion!r}" if kind is None else f"onset, apex, offset {row.frames} do not ascend"
        findings.append(Finding(row.where, f"{what}: cannot be used", False))
        return None
    if onset < 0:
        findings.append(Finding(row.where, f"frame 0 where frames count from 1: {row.frames}; taken as 1", True))
        onset, apex, offset = (max(frame, 0) for frame in (onset, apex, offset))
    emotion = emotions.get(row.key, "")
    if kind == "micro" and row.key not in emotions:
        findings.append(Finding(row.where, "micro-expression without an emotion row", True))
    offset, changed = published_offset(kind, onset, apex, offset)
    if changed:
        findings.append(Finding(row.where, changed, True))
    if offset == onset:
        findings.append(Finding(row.where, "onset, apex and offset are one frame; published scores leave it out", True))
    return AnnotatedInterval(kind, onset, apex, offset, emotion)
