"""A finished (or broken off) session folder, read back."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sfam.engine.events import Event, Moment

from .latency_table import LATENCY
from .session_folder import EVENTS, LANDMARKS, SCORES, SESSION
from .session_tables import FLAG_SEPARATOR
from .sink_error import SinkError

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """Everything a session folder says, as an exporter or report needs it."""

    path: Path
    summary: dict[str, Any]
    """session.json."""
    scores: list[Row]
    """Lines of scores.csv by column, as text."""
    events: list[Event]
    """Events that were not withdrawn, by onset."""
    landmarks: list[Row]
    """Lines of landmarks.csv by column, as text; empty where the session was not asked to keep them."""
    latency: list[Row]
    """Lines of latency.csv by column, as text; empty where the session has none, as one written from the bus."""

    @property
    def subject(self) -> str:
        """Who was filmed."""
        return str(self.summary["subject"])

    @property
    def video(self) -> str:
        """Name of the recording."""
        return str(self.summary["video"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Emotion classes in the model's order."""
        return tuple(self.summary["classes"])

    @property
    def first_ns(self) -> int:
        """Capture time of the first frame: second 0 of every export."""
        return next((int(row["t_capture_ns"]) for row in self.scores if row["t_capture_ns"]), 0)

    def seconds(self, t_capture_ns: int) -> float:
        """Seconds since the first frame."""
        return (t_capture_ns - self.first_ns) / 1e9

    def frame_s(self) -> float:
        """Median time from frame to frame, 0 where there are fewer than two."""
        times = [int(row["t_capture_ns"]) for row in self.scores if row["t_capture_ns"]]
        steps = [(after - before) / 1e9 for before, after in pairwise(times) if after > before]
        return statistics.median(steps) if steps else 0.0


def read_summary(path: Path) -> dict[str, Any]:
    """session.json of a session folder.

    Raises:
        SinkError: there is none, or it is damaged.
    """
    try:
        summary: dict[str, Any] = json.loads((path / SESSION).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _not_a_session(path, error) from error
    except (OSError, ValueError) as error:
        raise SinkError(f"session folder {path} cannot be read: {error}") from error
    return summary


def read_session(path: str | Path) -> SessionRecord:
    """Read a session folder; a line that was cut off by a crash is left out.

    Raises:
        SinkError: when it is no session folder or one of its files is damaged.
    """
    path = Path(path)
    summary = read_summary(path)
    try:
        scores = _table(path / SCORES)
        rows = _table(path / EVENTS)
        landmarks, latency = (_table(path / name) if (path / name).exists() else [] for name in (LANDMARKS, LATENCY))
        events = sorted(
            (_event(row, summary["classes"]) for row in rows), key=lambda event: (event.onset.frame, event.id)
        )
    except FileNotFoundError as error:
        raise _not_a_session(path, error) from error
    except (OSError, ValueError, KeyError) as error:
        raise SinkError(f"session folder {path} cannot be read: {error}") from error
    return SessionRecord(path, summary, scores, events, landmarks, latency)


def _not_a_session(path: Path, error: FileNotFoundError) -> SinkError:
    missing = Path(error.filename).name
    return SinkError(f"{path} is no session folder: {missing} is missing; give the folder that --out named")


def _table(path: Path) -> list[Row]:
    text = path.read_bytes().decode("utf-8", errors="replace")
    whole_lines = text[: text.rfind("\n") + 1]
    return list(csv.DictReader(io.StringIO(whole_lines, newline="")))


def _event(row: Row, classes: list[str]) -> Event:
    probabilities = [row[f"p_{name}"] for name in classes]
    return Event(
        id=int(row["id"]),
        kind="micro" if row["kind"] == "micro" else "macro",
        state="confirmed" if row["state"] == "confirmed" else "provisional",
        onset=Moment(
            int(row["onset"]),
            int(row["t_onset_ns"]),
            t_device_ns=_number(row, "t_onset_device_ns"),
            t_global_ns=_number(row, "t_onset_global_ns"),
        ),
        apex=Moment(int(row["apex"]), int(row["t_apex_ns"])),
        offset=Moment(int(row["offset"]), int(row["t_offset_ns"])),
        emotion=row["emotion"],
        probabilities=tuple(float(value) for value in probabilities if value),
        score=float(row["score"]),
        decision_delay_ms=float(row["decision_delay_ms"]),
        track_id=int(row["track_id"]),
        model_id=row["model_id"],
        flags=tuple(flag for flag in row["flags"].split(FLAG_SEPARATOR) if flag),
        trial=row.get("trial", ""),
        condition=row.get("condition", ""),
    )


def _number(row: Row, name: str) -> int | None:
    """A whole number; None where it is empty, or an older version did not write the column."""
    return int(row[name]) if row.get(name) else None
