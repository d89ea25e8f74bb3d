"""What a killed analysis left in its session folder, for the one that goes on in its place."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfam.engine.events import Event

from .wire_fields import event_from_fields


@dataclass(frozen=True, slots=True)
class UnfinishedSession:
    """Read from the tables, which are exact up to their last whole line; never from counters, which may lag behind."""

    next_frame: int = 0
    """First frame without a row."""
    first_ns: int | None = None
    """Capture time of the first row: what the column `timestamp` counts from."""
    causes: Mapping[str, int] = field(default_factory=dict)
    """Frames by cause, '' for those with a score."""
    events: tuple[Event, ...] = ()
    """The last state of every event, by id."""
    states: Mapping[str, int] = field(default_factory=dict)
    """Lines of events.jsonl by state."""
    decided: frozenset[int] = frozenset()
    """Ids that stand in events.csv."""
    counters: Mapping[str, Any] = field(default_factory=dict)
    """Of session.json, up to a second old."""
    start_check: Mapping[str, Any] = field(default_factory=dict)
    """Of session.json."""

    @classmethod
    def read(cls, folder: Path) -> UnfinishedSession:
        """Read a folder.

        Raises:
            OSError: one of its files cannot be read.
            ValueError: one of its files is damaged.
        """
        last, first_ns, causes = -1, None, Counter[str]()
        for number, capture_ns, cause in _rows(folder / "scores.csv", "frame", "t_capture_ns", "cause"):
            frame = int(number)
            if first_ns is None and capture_ns:
                first_ns = int(capture_ns)
            if frame != last:  # of several faces the first speaks for the frame
                causes[cause] += 1
            last = frame
        events, states = dict[int, Event](), Counter[str]()
        for line in _whole_lines(folder / "events.jsonl"):
            event = event_from_fields(json.loads(line))
            events[event.id] = event
            states[event.state] += 1
        summary = json.loads((folder / "session.json").read_text(encoding="utf-8"))
        return cls(
            next_frame=last + 1,
            first_ns=first_ns,
            causes=dict(causes),
            events=tuple(events[number] for number in sorted(events)),
            states=dict(states),
            decided=frozenset(int(number) for (number,) in _rows(folder / "events.csv", "id")),
            counters=summary.get("counters", {}),
            start_check=summary.get("start_check", {}),
        )

    @property
    def open_events(self) -> tuple[Event, ...]:
        """Events that were seen and never decided."""
        return tuple(event for event in self.events if event.state == "provisional")

    @property
    def unlisted(self) -> tuple[Event, ...]:
        """Confirmed events that did not reach events.csv any more."""
        return tuple(event for event in self.events if event.state == "confirmed" and event.id not in self.decided)


def _whole_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="") as lines:
        yield from (line for line in lines if line.endswith("\n"))


def _rows(path: Path, *columns: str) -> Iterator[tuple[str, ...]]:
    """Some columns of each row; a table may hold hours, so the others are passed over."""
    lines = csv.reader(_whole_lines(path))
    header = next(lines, [])
    if not header:
        return
    places = [header.index(column) for column in columns]
    for row in lines:
        yield tuple(row[place] for place in places)
