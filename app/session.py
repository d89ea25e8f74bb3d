"""What the analysis process does with each frame: pipeline, then tables, bus and heartbeat."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sfam.capture.frame import RGBDFrame
from sfam.capture.marker import Marker
from sfam.capture.source import SourceInfo
from sfam.engine.backend import check_parity
from sfam.engine.events import Event
from sfam.engine.model import ModelArtifact
from sfam.engine.scorer import Scorer
from sfam.sinks.frame_result import FrameResult
from sfam.sinks.incident import Incident
from sfam.sinks.session_info import SessionState
from sfam.sinks.shared_bus import SharedBus
from sfam.sinks.unfinished_session import UnfinishedSession
from sfam.sinks.wire import Stamps
from sfam.sinks.wire_fields import status_fields
from sfam.stream.analyzer import AnalyzerResult
from sfam.stream.face import FaceDetector
from sfam.stream.ring_reader import StreamEnd

from .interruption import Interruption
from .pause import Hold
from .pipeline import FrameAnalysis, Pipeline
from .role_link import Tell
from .session_accounts import Accounts
from .session_description import describe
from .session_gaps import Gaps
from .session_outlets import Outlets
from .session_pace import Pace
from .session_plan import EVENTS, Change, Reload, Resume, SessionPlan
from .session_status import heartbeat, shown
from .session_watches import Watches
from .start_check import StartCheck


class Session:
    """One session: takes frames, writes tables, publishes, and accounts for every frame.

    Args:
        plan: what to do.
        tell: carries lines to the operator: ('event', text) and ('warning', text).
        scorer: shared with other cameras of this process.
        bus: shared with them too.
        detector: finds faces; default is the configured one, in this process.

    Raises:
        ModelError, SinkError, FaceError: as the parts do.
    """

    def __init__(
        self,
        plan: SessionPlan,
        tell: Tell,
        *,
        scorer: Scorer | None = None,
        bus: SharedBus | None = None,
        detector: FaceDetector | None = None,
    ) -> None:
        self._plan = plan
        self._tell = tell
        say = partial(tell, "engine")
        self._pipeline = Pipeline(plan.config, scorer, may_swap=not plan.lossless, say=say, detector=detector)
        self._bus = bus
        self._model: ModelArtifact = self._pipeline.model
        self._out = Outlets(plan, self._model, tell)
        self._accounts = Accounts(plan)
        self._changes = deque(plan.changes)
        self._gaps = Gaps(after_gap=plan.resume is not None)
        self._pace = Pace()
        self._watches = Watches(plan)
        self._orphans: tuple[Event, ...] = ()
        self._unwritten: tuple[Event, ...] = ()
        self._is_watched = not plan.lossless and not plan.config.app.single_process
        self._memory_mb = float("nan")
        self._check = StartCheck(
            plan.config.stream,
            check_parity(self._pipeline.scorer.backend, self._model),
            selftest=plan.config.app.selftest and plan.resume is None,
        )
        self._blind = plan.config.sinks.blind
        self._is_recorded = plan.config.capture.record != "none"
        self._hold = Hold(False, 0)
        self._last: FrameAnalysis | None = None
        self._total: int | None = None
        if detector is not None:
            detector.load()

    def begin(self, info: SourceInfo) -> None:
        """Open folder and bus for the source."""
        self._total = info.frames
        self._accounts.source_skips(info.skipped)
        left = self._taken_up()
        self._out.open(describe(self._plan, info, self._pipeline), left, self._bus)
        self._out.know(info)
        self._out.note("start_check", self._check.fields() if left is None else left.start_check)
        if left is not None:
            self._pace.wait_for_listeners()
        if self._accounts.is_paused:  # the analysis before this one died in a pause
            self._out.enter("paused", self.totals())

    def push(self, frame: RGBDFrame, stage_ns: Mapping[str, int], drops: Mapping[str, int]) -> None:
        """Analyse a frame, write its rows, publish it."""
        if self._last is None and frame.sequence < self._accounts.next_frame:
            return  # still the newest in the ring, and judged by the analysis before this one
        self._pace.began(frame)
        self._account_for_missing(frame, drops)
        frame = self._changed(frame)
        result = self._gaps.named(self._pipeline.process(frame))
        self._accounts.analysed += 1
        self._last = result
        started = time.perf_counter_ns()
        self._store(result)
        self._out.send(result)
        spent = {
            **stage_ns,
            **result.stage_ns,
            "publish": time.perf_counter_ns() - started,
            "total": time.monotonic_ns() - frame.t_host_ns,
        }
        self._pace.done(spent)
        self._watches.latency.add(spent["total"])
        self._check.push(frame, result.windows, result.tracks)
        if self._pace.due:
            self._heartbeat(time.monotonic())
        if self._plan.lossless:  # capture waits, and may always have a frame ready
            self._check.step()

    def interrupted(self, interruption: Interruption) -> None:
        """Note a time without camera, and say it on the bus at once."""
        self._accounts.interrupted(interruption)
        self._heartbeat(time.monotonic())

    def analyzed(self, result: AnalyzerResult) -> None:
        """Publish what an analyzer found; its own process keeps the file."""
        self._accounts.analyzer_results[result.analyzer] += 1
        self._out.analyzed(result)

    def mark(self, marker: Marker) -> None:
        """Tag what begins from the marker's time on with its trial."""
        self._out.mark(marker)

    def note(self, incident: Incident) -> None:
        """Keep an incident, and say it on the bus at once."""
        self._accounts.note(incident)
        self._heartbeat(time.monotonic())

    def memory(self, memory_mb: float) -> None:
        """Show what all processes of the session hold."""
        self._memory_mb = memory_mb

    def reload(self, reload: Reload) -> None:
        """Take changed thresholds from the next frame on."""
        if reload.threshold_changed:
            self._changes.append(Change(-1, "threshold", reload.threshold))
        self._watches.set_budget(reload.latency_budget_ms)
        self.note(reload.incident())

    def pause(self, hold: Hold) -> None:
        """Go silent once the frames from before have been dealt with; go on."""
        if not hold.held:
            self._note_pause()  # it may have begun and ended before there was time to say so
        self._hold = hold
        if not hold.held and self._accounts.held(hold):
            self._pace.count_from(time.monotonic(), self._accounts.analysed)
            self._out.enter("running", self.totals())

    def spare(self) -> None:
        """Go on with the self-test."""
        self._check.step()

    def idle(self) -> None:
        """Keep the heartbeat going while no frame comes; in a pause, say so once and then nothing."""
        if self._note_pause():
            self._out.enter("paused", self.totals())
        if self._last is not None and self._pace.due:
            self._heartbeat(time.monotonic())

    def status(self) -> Mapping[str, Any]:
        """What the status line shows."""
        shown_now = shown(self._accounts, self._pace, self._last, self._blind)
        return {**shown_now, "total": self._total, "next_seq": self._out.publisher.next_seq()}

    def finish(self, end: StreamEnd, drops: Mapping[str, int]) -> Mapping[str, Any]:
        """Decide what is open, write the totals, say goodbye on the bus."""
        self._note_pause()
        self._accounts.drops = dict(drops)
        self._out.latency(self._pace.latency_row())
        self._withdraw_orphans()
        for event in self._pipeline.flush():
            self._announce(event)
        self._check.finish()
        self._tell_check()
        state: SessionState = "failed" if end.state == "failed" else "ended"
        totals = {**self.totals(), "ended_because": end.reason, "warnings": list(end.warnings)}
        for warning in end.warnings:
            self._tell("warning", warning)
        if self._plan.resume is None:
            self._out.note("start_check", self._check.fields())
        self._out.close(totals, state)
        return totals

    def close(self) -> None:
        """Let everything go; after `finish` nothing is left to do."""
        totals = self.totals()
        if self._out.failure:
            self._accounts.note(Incident("disk_full", time.monotonic_ns(), self._out.failure))
            totals = {**self.totals(), "ended_because": self._out.failure}
        self._out.abandon(totals)
        self._pipeline.close()

    def totals(self) -> dict[str, Any]:
        """Counters of the session: every frame offered is analysed or has a cause."""
        return {
            **self._accounts.totals(),
            "without_window": dict(self._accounts.earlier_withheld + Counter(self._pipeline.withheld)),
            "engine": dict(self._pipeline.scorer.summary),
            "lost_messages": self._out.publisher.lost_messages(),
            **self._pace.totals(),
        }

    def _taken_up(self) -> UnfinishedSession | None:
        """What an analysis that died left in the folder; None in an ordinary session.

        Raises:
            SinkError: its folder cannot be read.
        """
        resume, left = self._plan.resume, self._accounts.take_up()
        if resume is None or left is None:
            return None
        self._orphans = left.open_events
        written = {event.id for event in left.events}
        self._unwritten = tuple(event for event in resume.events.open if event.id not in written)
        self._pace.first_capture_ns = left.first_ns or 0
        self._pipeline.forget(self._accounts.next_event)
        if resume.holds:
            self._hold = resume.holds[-1]
        if resume.reload is not None:
            self._watches.set_budget(resume.reload.latency_budget_ms)
        if resume.reload is not None and resume.reload.threshold_changed:
            self._pipeline.set_threshold(resume.reload.threshold)
        return left

    def _note_pause(self) -> bool:
        """Enter a pause that has begun into the accounts; False where none has, or it stands there already."""
        return self._hold.held and self._accounts.held(self._hold)

    def _withdraw(self, events: Iterable[Event]) -> None:
        """Events that were open when their analysis died will never be decided."""
        for event in events:
            self._announce(_withdrawn(event))

    def _changed(self, frame: RGBDFrame) -> RGBDFrame:
        """Let what was asked for take effect with this frame."""
        while self._changes and self._changes[0].frame <= frame.sequence:
            change = replace(self._changes.popleft(), frame=frame.sequence)
            self._accounts.changes.append(change)
            if change.kind == "gap":
                self._gaps.add()
            elif change.kind == "threshold":
                for event in self._pipeline.set_threshold(change.value):
                    self._announce(event)
            else:
                self._withdraw(list(self._accounts.open_events.values()))
                self._accounts.earlier_withheld += Counter(self._pipeline.withheld)
                self._accounts.number_events_from(change.value)
                self._pipeline.forget(self._accounts.next_event)
                self._gaps.forgotten()
        return self._gaps.marked(frame)

    def _account_for_missing(self, frame: RGBDFrame, drops: Mapping[str, int]) -> None:
        """A row for every captured frame that never came, with its cause."""
        first = self._accounts.next_frame
        if self._plan.resume is not None and self._last is None:
            self._declare_restart(self._plan.resume, first, frame)
        if self._is_recorded and frame.sequence > first:
            self._tell("skipped", (first, frame.sequence - 1, self._accounts.cause_of_gap(first)))
        for number, cause in self._accounts.missing_before(frame.sequence, drops):
            self._out.row(FrameResult.dropped(number, cause))

    def _declare_restart(self, resume: Resume, first: int, frame: RGBDFrame) -> None:
        """Say which frames have no result because their analysis died."""
        self._accounts.changes.append(Change(frame.sequence, "restart", self._accounts.next_event))
        if resume.reload is not None and resume.reload.threshold_changed:
            self._accounts.changes.append(Change(frame.sequence, "threshold", resume.reload.threshold))
        incident = resume.incident(first, frame.sequence)
        self._accounts.note(incident)
        self._tell("warning", incident.text)

    def _store(self, result: FrameAnalysis) -> None:
        stamps = self._out.store(result)
        for event in result.events:
            self._announce(event, stamps)

    def _announce(self, event: Event, stamps: Stamps | None = None) -> None:
        self._accounts.take_event(event)
        if self._is_watched:
            self._tell(EVENTS, self._accounts.events_so_far())
        self._out.event(event, stamps or Stamps())

    def _look_around(self) -> None:
        """Clocks, latency, disk and self-test, once a second."""
        for incident in self._watches.look():
            self._accounts.note(incident)
            self._tell("warning", incident.text)
            if incident.kind == "suspend":
                self._changes.append(Change(-1, "gap"))
        self._tell_check()

    def _tell_check(self) -> None:
        news = self._check.news()
        if news is not None:
            self._out.note("start_check", self._check.fields())
            self._tell("check", news)

    def _withdraw_orphans(self) -> None:
        orphans, self._orphans = self._orphans, ()
        self._withdraw(orphans)
        unwritten, self._unwritten = self._unwritten, ()
        for event in unwritten:  # their frames have no rows, so the files know nothing of them
            self._out.send_event(_withdrawn(event))

    def _heartbeat(self, now_s: float) -> None:
        if self._accounts.is_paused or not self._pace.beat(now_s, self._accounts.analysed):
            return
        self._withdraw_orphans()
        self._look_around()
        lost = self._out.publisher.lost_messages()
        status = heartbeat(self._accounts, self._pace, self._last, lost, self._memory_mb)
        self._out.publisher.publish("status", status_fields(status))
        self._out.latency(self._pace.latency_row())
        self._out.count(self.totals())


def _withdrawn(event: Event) -> Event:
    return replace(event, state="withdrawn", flags=tuple(sorted({*event.flags, "gap"})))
