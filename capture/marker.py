"""Trial markers: what a stimulus program says of its trials, and which trial a moment belongs to."""

from __future__ import annotations

import json
from bisect import bisect_right, insort
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

KEPT_MARKERS = 10_000
LONGEST_TEXT = 4096
ENDS = frozenset({"trial_end", "end"})
"""Plain texts that end a trial."""


@dataclass(frozen=True, slots=True)
class Marker:
    """One marker, on the session's clock."""

    t_capture_ns: int
    """Host monotonic clock: that of a live session's frames."""
    text: str
    """As it was sent."""
    source: str
    """The stream it came by."""
    trial: str = ""
    """Name or number of the trial that begins; empty where the sender gave none."""
    condition: str = ""
    ends: bool = False
    """True where the trial ends and none follows."""

    def fields(self) -> dict[str, Any]:
        """For a line of markers.jsonl."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Trial:
    """What was shown at a moment; both empty where no trial ran."""

    trial: str = ""
    condition: str = ""


NO_TRIAL = Trial()


def parse_marker(text: str, t_capture_ns: int, source: str) -> Marker:
    """A marker from what was sent.

    A JSON object says `trial`, `condition` and, where a trial ends without another one, `"end": true`; every other
    text is a condition, and its trial is counted. `trial_end` and `end` end a trial.
    """
    text = text[:LONGEST_TEXT]
    found = json_object(text)
    if found is None:
        ends = text.strip().lower() in ENDS
        return Marker(t_capture_ns, text, source, condition="" if ends else text.strip(), ends=ends)
    trial, condition = (str(found[name]) if found.get(name) is not None else "" for name in ("trial", "condition"))
    return Marker(t_capture_ns, text, source, trial, condition, found.get("end") is True)


def json_object(text: str) -> Mapping[str, Any] | None:
    """The JSON object that a text is, None where it is something else."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


class Trials:
    """Which trial ran when; holds the last `KEPT_MARKERS` markers. A marker may come later than its time."""

    def __init__(self) -> None:
        self._began: list[tuple[int, int, Trial]] = []
        self._count = 0

    def add(self, marker: Marker) -> Trial:
        """Enter a marker; the trial it begins. One that says nothing of trials changes nothing."""
        if marker.ends:
            trial = NO_TRIAL
        elif marker.trial or marker.condition:
            self._count += 1
            trial = Trial(marker.trial or str(self._count), marker.condition)
        else:
            return self.at(marker.t_capture_ns)
        insort(self._began, (marker.t_capture_ns, len(self._began), trial), key=lambda entry: entry[:2])
        del self._began[:-KEPT_MARKERS]
        return trial

    def at(self, t_capture_ns: int) -> Trial:
        """The trial that ran at a moment of session time."""
        place = bisect_right(self._began, t_capture_ns, key=lambda entry: entry[0])
        return self._began[place - 1][2] if place else NO_TRIAL
