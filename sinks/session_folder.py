"""The session folder: tables that are complete up to the last moment, whatever ends the process.

Rows are handed to a writer thread through a bounded queue and reach the operating system in whole lines within
`FLUSH_S`, so a killed process loses at most that much. The writer looks by itself rather than being woken for each
row: a waking thread takes the interpreter away from the analysis. `lossless` sessions wait for the writer, `latest`
ones count the rows that did not fit.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from sfam.engine.events import Event

from .disk_reserve import DiskReserve
from .frame_result import FrameResult
from .growing_file import GrowingFile
from .latency_table import LATENCY, LATENCY_HEADER, LatencyRow
from .replaced_file import replace_file
from .session_info import SessionInfo, SessionState
from .session_tables import EventTable, ScoreTable, event_line, landmark_header, landmark_row
from .sink_error import SinkError
from .unfinished_session import UnfinishedSession
from .wire import json_ready

FORMAT = "sfam.session_folder/1"
SCORES, EVENTS, EVENT_STATES = "scores.csv", "events.csv", "events.jsonl"
LANDMARKS = "landmarks.csv"
SESSION, CONFIG = "session.json", "config.yaml"
FLUSH_S = 0.2
SUMMARY_EVERY_S = 1.0
ROWS_AT_ONCE = 256
ROOM_FOR_EVENTS = 1024
"""Places in the queue that rows cannot take, so that events are not lost with them."""

Item = FrameResult | Event | LatencyRow


class SessionFolder:
    """Writes one session; use it as a context manager.

    Args:
        path: the folder itself; made with its parents.
        info: what session.json says.
        config_yaml: the effective configuration, written to config.yaml as it is.
        policy: `lossless` waits for the disk, `latest` counts rows that did not fit.
        force: allow a folder that already holds something; files of the same names are overwritten.
        landmarks: keep the 68 points of each frame too, in landmarks.csv (about 1 kB a frame; the OpenFace export
            needs them).
        queue_rows: rows that may wait for the writer.
        resume: go on with the tables that a killed process left there, see `UnfinishedSession.read`.

    Raises:
        SinkError: when the folder cannot be made, is not empty, or cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        info: SessionInfo,
        config_yaml: str = "",
        *,
        policy: Literal["lossless", "latest"] = "lossless",
        force: bool = False,
        landmarks: bool = False,
        queue_rows: int = 2048,
        resume: UnfinishedSession | None = None,
    ) -> None:
        self.path = Path(path)
        self._info = info
        self._policy = policy
        self._queue_rows = queue_rows
        self._queue: deque[Item] = deque()
        self._look = threading.Event()
        self._looked = threading.Event()
        self._failure: Exception | None = None
        self._closed = False
        self._closing = False
        self._state: SessionState = "running"
        self._written_summary = ""
        self._counters: Mapping[str, object] = {}
        self._rows_lost = 0
        self._extras: dict[str, object] = {}
        self._score_table = ScoreTable(info.classes, None if resume is None else resume.first_ns)
        self._event_table = EventTable(info.classes, info.subject, info.video)
        self._latency: GrowingFile | None = None
        self._goes_on = goes_on = resume is not None
        if not goes_on:
            _make_room(self.path, force)
        try:
            self._reserve = DiskReserve(self.path)
            self._scores = GrowingFile(self.path / SCORES, self._score_table.header(), resume=goes_on)
            self._events = GrowingFile(self.path / EVENTS, self._event_table.header(), resume=goes_on)
            self._states = GrowingFile(self.path / EVENT_STATES, resume=goes_on)
            self._landmarks = (
                GrowingFile(self.path / LANDMARKS, landmark_header(), resume=goes_on) if landmarks else None
            )
            (self.path / CONFIG).write_text(config_yaml, encoding="utf-8", newline="\n")
            if resume is not None:
                self._events.append("".join(self._event_table.lines(event) for event in resume.unlisted))
            self._write_summary()
        except OSError as error:
            raise SinkError(f"cannot write to session folder {self.path}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._run, name="session folder", daemon=True)
        self._thread.start()

    def row(self, result: FrameResult | LatencyRow) -> None:
        """Queue one row of scores.csv, or of latency.csv, which is made with its first.

        Raises:
            SinkError: when the folder can no longer be written; what was written before stays valid.
        """
        self._raise_failure()
        if self._policy == "latest" and len(self._queue) >= self._queue_rows:
            self._rows_lost += 1
            return
        self._put(result)

    def event(self, event: Event) -> None:
        """Queue a new state of an event, for events.jsonl and, once it is confirmed, events.csv.

        Raises:
            SinkError: when the folder can no longer be written.
        """
        self._raise_failure()
        self._put(event)

    def describe(self, name: str, value: object) -> None:
        """Add a key to session.json that becomes known while the session runs."""
        self._extras[name] = value

    def enter(self, state: SessionState, counters: Mapping[str, object]) -> None:
        """Where the session stands and its totals, written to session.json within a second."""
        self._state = state
        self.count(counters)

    def count(self, counters: Mapping[str, object]) -> None:
        """Replace the totals in session.json; they are written once a second and at the end."""
        self._counters = dict(counters)

    @property
    def rows_lost(self) -> int:
        """Rows that did not fit into the queue (policy `latest` only)."""
        return self._rows_lost

    def close(self, counters: Mapping[str, object] | None = None, state: SessionState = "ended") -> None:
        """Write what is queued and the totals, and close all files. May be repeated.

        Raises:
            SinkError: when something could not be written.
        """
        if self._closed:
            return
        self._closed = True
        if counters is not None:
            self.count(counters)
        self._state = state
        self._closing = True
        self._look.set()
        self._thread.join()
        self._raise_failure()

    def __enter__(self) -> SessionFolder:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close(state="failed" if error is not None else "ended")

    def _put(self, item: Item) -> None:
        """Queue for the writer; where the queue is full, wait until there is room again."""
        while len(self._queue) >= self._queue_rows + ROOM_FOR_EVENTS:
            self._looked.clear()
            self._look.set()
            self._looked.wait(FLUSH_S)
            self._raise_failure()
        self._queue.append(item)

    @property
    def failure(self) -> str:
        """What the errors of this folder say; '' while it can be written."""
        if self._failure is None:
            return ""
        reason = getattr(self._failure, "strerror", None) or self._failure
        return (
            f"session folder {self.path} can no longer be written: {reason}; its {self._scores.lines} rows and "
            f"{self._events.lines} events stay valid; free some space or choose another --out"
        )

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise SinkError(self.failure) from self._failure

    def _run(self) -> None:
        try:
            self._write_until_closed()
            self._events.append(self._event_table.last_lines())
            for table in self._tables():
                table.close()
            self._write_summary()
            self._reserve.free()
        except Exception as error:  # handed to the next caller
            self._leave_word(error)
            self._failure = error

    def _leave_word(self, error: Exception) -> None:
        """Say in session.json what ended the tables, in the room that was kept free for it."""
        self._state = "failed"
        self.describe("writing_failed", getattr(error, "strerror", None) or str(error))
        for table in self._tables():
            with contextlib.suppress(OSError):  # the first error is the one to tell
                table.close()
        with contextlib.suppress(OSError):
            self._reserve.free()
            self._write_summary()

    def _tables(self) -> list[GrowingFile]:
        tables = (self._scores, self._events, self._states, self._landmarks, self._latency)
        return [table for table in tables if table is not None]

    def _write_until_closed(self) -> None:
        summary_due = time.monotonic() + SUMMARY_EVERY_S
        closing = False
        while not closing:
            self._look.wait(FLUSH_S)
            self._look.clear()
            closing = self._closing
            while self._queue:
                self._write([self._queue.popleft() for _ in range(min(len(self._queue), ROWS_AT_ONCE))])
                self._looked.set()
            if time.monotonic() >= summary_due:
                self._write_summary()
                summary_due = time.monotonic() + SUMMARY_EVERY_S

    def _write(self, batch: list[Item]) -> None:
        rows, events, states = [], [], []
        for item in batch:
            if isinstance(item, FrameResult):
                rows.append(self._score_table.row(item))
            elif isinstance(item, Event):
                events.append(self._event_table.lines(item))
                states.append(event_line(item, self._info.classes))
            else:
                self._write_latency(item.line())
        self._scores.append("".join(rows))
        self._states.append("".join(states))
        self._events.append("".join(events))
        if self._landmarks is not None:
            self._landmarks.append("".join(landmark_row(item) for item in batch if isinstance(item, FrameResult)))

    def _write_latency(self, line: str) -> None:
        if self._latency is None:
            self._latency = GrowingFile(self.path / LATENCY, LATENCY_HEADER, resume=self._goes_on)
        self._latency.append(line)

    def _write_summary(self) -> None:
        summary = {
            "format": FORMAT,
            "session": self._info.session,
            "camera": self._info.camera,
            **self._info.fields(self._state, self._counters),
            **self._extras,
            "frame_numbers": "from 0, inclusive",
            "rows": {table.path.name: table.lines for table in self._tables()},
            "rows_lost": self._rows_lost,
        }
        text = json.dumps(json_ready(summary), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        if text != self._written_summary:  # nothing is written while nothing happens, above all in a pause
            replace_file(self.path / SESSION, text)
            self._written_summary = text


def _make_room(path: Path, force: bool) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        occupied = any(path.iterdir())
    except OSError as error:
        raise SinkError(
            f"cannot make session folder {path}: {error.strerror or error}; choose another --out"
        ) from error
    for name in (LANDMARKS, LATENCY) if force else ():
        (path / name).unlink(missing_ok=True)  # not every session makes them: none may be left of the one before
    if occupied and not force:
        raise SinkError(
            f"session folder {path} is not empty; choose another --out, or --force to overwrite the session in it"
        )
