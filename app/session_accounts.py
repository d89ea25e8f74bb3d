"""What became of every frame and event of a session, and what happened to the session itself."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sfam.engine.events import Event
from sfam.sinks.incident import Incident
from sfam.sinks.sink_error import SinkError
from sfam.sinks.unfinished_session import UnfinishedSession

from .interruption import Interruption
from .pause import Hold, Pause
from .session_plan import ANALYSIS_RESTART, Change, EventsSoFar, SessionPlan

MOST_INCIDENTS = 1000
"""Incidents that session.json lists; further ones are counted."""
LOST_CAUSES = ("ring_overwritten", "decimated", "not_recorded", ANALYSIS_RESTART)
"""Causes of rows whose frame never reached the analysis."""


class Accounts:
    """Counts; every frame offered is analysed or has a cause.

    Args:
        plan: whose `left_out` names the causes of a replay.
    """

    def __init__(self, plan: SessionPlan) -> None:
        self._plan = plan
        policy, _, every = plan.config.app.policy.partition(":")
        self._keep_every = int(every) if policy == "decimate" else 1
        self._restarted = False
        self._skipped: Mapping[int, str] = {}
        self.next_frame = 0
        self.analysed = 0
        self.events: Counter[str] = Counter()
        """Messages by state."""
        self.open_events: dict[int, Event] = {}
        """Provisional ones."""
        self.next_event = 0
        self.drops: dict[str, int] = {}
        """As the source and the ring count them."""
        self.lost: Counter[str] = Counter()
        """Holes in the numbers."""
        self.earlier_withheld: Counter[str] = Counter()
        """Frames without window of an analysis before this one."""
        self.analyzer_results: Counter[str] = Counter()
        """By analyzer, since this analysis began."""
        self.interruptions: list[Interruption] = []
        self.incidents: list[dict[str, Any]] = []
        self.incident_count = 0
        self.changes: list[Change] = []
        self.pauses: list[Pause] = []
        self._news: deque[Incident] = deque(maxlen=MOST_INCIDENTS)

    def source_skips(self, skipped: Mapping[int, str]) -> None:
        """Frames that a recording says it lacks, by cause."""
        self._skipped = skipped

    def take_up(self) -> UnfinishedSession | None:
        """What a dead analysis had done, as far as its tables show, counted; None where none went before.

        Raises:
            SinkError: its folder cannot be read.
        """
        if self._plan.resume is None:
            return None
        try:
            left = UnfinishedSession.read(self._plan.folder)
        except (OSError, ValueError, KeyError) as error:
            raise SinkError(f"session folder {self._plan.folder} cannot be taken up: {error}") from error
        self._restarted = True
        self.next_frame = left.next_frame
        self.lost = Counter({cause: left.causes[cause] for cause in LOST_CAUSES if left.causes.get(cause)})
        self.analysed = left.next_frame - sum(self.lost.values())
        self.earlier_withheld = Counter(
            {cause: count for cause, count in left.causes.items() if cause and cause not in self.lost}
        )
        self.events = Counter(left.states)
        self.number_events_from(max((event.id for event in left.events), default=-1) + 1)
        self.number_events_from(self._plan.resume.events.next_id)
        self.interruptions = list(self._plan.resume.interruptions)
        self.incidents = list(left.counters.get("incidents", ()))
        self.incident_count = len(self.incidents) + int(left.counters.get("further_incidents", 0))
        self.changes = [Change(**found) for found in left.counters.get("changes", ())]
        self.pauses = [Pause(**found) for found in left.counters.get("pauses", ())]
        for hold in self._plan.resume.holds:
            self.held(hold)
        for incident in self._plan.resume.incidents:
            if incident.fields() not in self.incidents:
                self.note(incident)
        return left

    def missing_before(self, sequence: int, drops: Mapping[str, int]) -> Iterator[tuple[int, str]]:
        """Frames that never came before this one, each with its cause, counted; the frame itself is offered now."""
        self.drops = dict(drops)
        for number in range(self.next_frame, sequence):
            cause = self.cause_of_gap(number)
            self.lost[cause] += 1
            yield number, cause
        self.next_frame = sequence + 1
        self._restarted = False

    def cause_of_gap(self, number: int) -> str:
        """Why a frame is missing; never by counters, since the moment at which they arrive depends on load."""
        known = self._plan.left_out.get(number) or self._skipped.get(number)
        if known:
            return known
        if number % self._keep_every:  # as capture leaves them out
            return "decimated"
        if self._restarted:
            return ANALYSIS_RESTART
        return "not_recorded" if self._plan.lossless else "ring_overwritten"

    def take_event(self, event: Event) -> None:
        """Count a state of an event."""
        self.events[event.state] += 1
        self.next_event = max(self.next_event, event.id + 1)
        if event.state == "provisional":
            self.open_events[event.id] = event
        else:
            self.open_events.pop(event.id, None)

    def number_events_from(self, event_id: float | None) -> None:
        """No further event has an id below this; None = as it is."""
        self.next_event = max(self.next_event, int(event_id or 0))

    def events_so_far(self) -> EventsSoFar:
        """For an analysis that may have to go on from here."""
        return EventsSoFar(self.next_event, tuple(self.open_events.values()))

    def note(self, incident: Incident) -> None:
        """Keep an incident for session.json and the next heartbeat."""
        self.incident_count += 1
        self._news.append(incident)
        if len(self.incidents) < MOST_INCIDENTS:
            self.incidents.append(incident.fields())

    def news(self) -> tuple[Incident, ...]:
        """Incidents since this was asked last."""
        news = tuple(self._news)
        self._news.clear()
        return news

    def interrupted(self, interruption: Interruption) -> None:
        """Note a time without camera; the same one again replaces what was known of it."""
        if self.interruptions and self.interruptions[-1].began_ns == interruption.began_ns:
            self.interruptions.pop()
        self.interruptions.append(interruption)

    @property
    def is_lost(self) -> bool:
        """True while the camera is away."""
        return bool(self.interruptions) and self.interruptions[-1].ended_ns is None

    def held(self, hold: Hold) -> bool:
        """Note that a pause begins or ends; False where that is known already."""
        utc_ns = self._plan.clock.utc_ns(hold.at_ns)
        last = self.pauses[-1] if self.pauses else None
        if hold.held == self.is_paused or (last is not None and utc_ns <= (last.ended_utc_ns or last.began_utc_ns)):
            return False
        if hold.held:
            self.pauses.append(Pause(utc_ns, self.next_frame - 1))
        else:
            self.pauses[-1] = replace(self.pauses[-1], ended_utc_ns=utc_ns)
        return True

    @property
    def is_paused(self) -> bool:
        """True while a participant's pause lasts."""
        return bool(self.pauses) and self.pauses[-1].ended_utc_ns is None

    def dropped(self) -> dict[str, int]:
        """Drops by cause: those before a frame had a number, and those that left a hole in the numbers."""
        return {**self.drops, **self.lost}

    def totals(self) -> dict[str, Any]:
        """For session.json and the bus."""
        return {
            "offered": self.next_frame,
            "analysed": self.analysed,
            "dropped": self.dropped(),
            "interruptions": [interruption.fields() for interruption in self.interruptions],
            "incidents": list(self.incidents),
            "further_incidents": self.incident_count - len(self.incidents),
            "pauses": [pause.fields() for pause in self.pauses],
            "changes": [change.fields() for change in self.changes],
            "events": dict(self.events),
            "analyzer_results": dict(self.analyzer_results),
        }
