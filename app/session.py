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
from sfam.sinks.sink_error import SinkError
from sfam.sinks.status import Status
from sfam.sinks.unfinished_session import UnfinishedSession
from sfam.sinks.wire import Stamps
from sfam.sinks.wire_fields import (
    analyzer_fields,
    status_fields,
)
from sfam.stream.analyzer import AnalyzerResult
from sfam.stream.ring_reader import StreamEnd

from .clock_watch import ClockWatch
from .disk_watch import DiskWatch
from .interruption import Interruption
from .latency import StageLatencies
from .latency_alarm import LatencyAlarm
from .pause import Hold
from .pipeline import FrameAnalysis, Pipeline
from .role_link import Tell
from .session_accounts import Accounts
from .session_description import describe
from .session_outlets import Outlets
from .session_plan import Change, Reload, Resume, SessionPlan
from .start_check import StartCheck

HEARTBEAT_S = 1.0
RECONNECT_S = 3.0
"""Subscribers of a dead analysis look for the next one every two seconds; what all must hear waits for them."""


def open_session(plan: SessionPlan, tell: Tell) -> Session:
    """The session of a plan; loads model and face backend."""
    return Session(plan, tell)


class Session:
    """One session: takes frames, writes tables, publishes, and accounts for every frame.

    Args:
        plan: what to do.
        tell: carries lines to the operator: ('event', text) and ('warning', text).
        scorer: shared with other cameras of this process.
        bus: shared with them too.

    Raises:
        ModelError, SinkError, FaceError: as the parts do.
    """

    def __init__(
        self, plan: SessionPlan, tell: Tell, *, scorer: Scorer | None = None, bus: SharedBus | None = None
    ) -> None:
        self._plan = plan
        self._tell = tell
        say = partial(tell, "engine")
        self._pipeline = Pipeline(plan.config, scorer, may_swap=not plan.lossless, say=say)
        self._bus = bus
        self._model: ModelArtifact = self._pipeline.model
        self._out = Outlets(plan, self._model, tell)
        self._latencies = StageLatencies()
        self._accounts = Accounts(plan)
        self._changes = deque(plan.changes)
        self._gaps = 0
        self._orphans: tuple[Event, ...] = ()
        self._silent_until_s = 0.0
        self._memory_mb = float("nan")
        self._clock_watch = ClockWatch(plan.clock)
        self._alarm = LatencyAlarm(None if plan.lossless else plan.config.app.latency_budget_ms)
        self._disk = DiskWatch(plan.folder)
        self._check = StartCheck(
            plan.config.stream,
            check_parity(self._pipeline.scorer.backend, self._model),
            selftest=plan.config.app.selftest and plan.resume is None,
        )
        self._analyzer_results: Counter[str] = Counter()
        self._blind = plan.config.sinks.blind
        self._is_recorded = plan.config.capture.record != "none"
        self._hold = Hold(False, 0)
        self._segment: int | None = None
        self._after_gap = plan.resume is not None
        self._last: FrameAnalysis | None = None
        self._total: int | None = None
        self._beat_s = 0.0
        self._rate_from = (time.monotonic(), 0)
        self._fps = 0.0
        self._first_frame_s = self._last_row_s = 0.0
        self._first_capture_ns = 0

    def begin(self, info: SourceInfo) -> None:
        """Open folder and bus for the source."""
        self._total = info.frames
        self._accounts.source_skips(info.skipped)
        left = self._taken_up()
        self._out.open(describe(self._plan, info, self._pipeline), left, self._bus)
        self._out.know(info)
        self._out.note("start_check", self._check.fields() if left is None else left.start_check)
        self._silent_until_s = 0.0 if left is None else time.monotonic() + RECONNECT_S
        if self._accounts.is_paused:  # the analysis before this one died in a pause
            self._out.enter("paused", self.totals())

    def push(self, frame: RGBDFrame, stage_ns: Mapping[str, int], drops: Mapping[str, int]) -> None:
        """Analyse a frame, write its rows, publish it."""
        if self._last is None:
            self._first_frame_s = time.monotonic()
            self._first_capture_ns = self._first_capture_ns or frame.t_capture_ns
        self._account_for_missing(frame, drops)
        frame = self._changed(frame)
        result = self._named_gap(self._pipeline.process(frame))
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
        self._latencies.add(spent)
        self._alarm.add(spent["total"])
        self._last_row_s = time.monotonic()
        self._check.push(frame, result.windows, result.tracks)
        if self._last_row_s - self._beat_s >= HEARTBEAT_S:
            self._heartbeat(self._last_row_s)

    def interrupted(self, interruption: Interruption) -> None:
        """Note a time without camera, and say it on the bus at once."""
        self._accounts.interrupted(interruption)
        self._heartbeat(time.monotonic())

    def analyzed(self, result: AnalyzerResult) -> None:
        """Publish what an analyzer found; its own process keeps the file."""
        self._analyzer_results[result.analyzer] += 1
        if not self._blind:
            stamps = Stamps(result.t_capture_ns, result.t_device_ns, result.t_utc_ns)
            self._out.publisher.publish("analyzer", analyzer_fields(result), stamps)

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
        self._alarm.budget_ms = None if self._plan.lossless else reload.latency_budget_ms
        self.note(Incident("reload", time.monotonic_ns(), reload.text, values=reload.values()))

    def pause(self, hold: Hold) -> None:
        """Go silent once the frames from before have been dealt with; go on."""
        self._hold = hold
        if not hold.held and self._accounts.is_paused:
            self._accounts.resumed(self._plan.clock.utc_ns(hold.at_ns))
            self._rate_from = (time.monotonic(), self._accounts.analysed)
            self._out.enter("running", self.totals())

    def idle(self) -> None:
        """Keep the heartbeat going while no frame comes; in a pause, say so once and then nothing."""
        if self._hold.held and not self._accounts.is_paused:
            self._accounts.paused(self._plan.clock.utc_ns(self._hold.at_ns))
            self._out.enter("paused", self.totals())
        if self._last is not None and time.monotonic() - self._beat_s >= HEARTBEAT_S:
            self._heartbeat(time.monotonic())

    def status(self) -> Mapping[str, Any]:
        """What the status line shows."""
        total = self._latencies.stages().get("total")
        last = self._last
        return {
            "frame": self._accounts.next_frame - 1,
            "total": self._total,
            "fps": self._fps or self._rate(time.monotonic()),
            "dropped": sum(self._accounts.dropped().values()),
            "latency_ms": {"p50": total.p50_us / 1e3, "p99": total.p99_us / 1e3} if total else {},
            "face": last.tracks[0].state if last and last.tracks else "none",
            "spot": last.scores[0].spot if last and last.scores and not self._blind else None,
            "events": None if self._blind else self._accounts.events["confirmed"],
            "paused": self._accounts.is_paused,
            "next_seq": self._out.publisher.next_seq(),
        }

    def finish(self, end: StreamEnd, drops: Mapping[str, int]) -> Mapping[str, Any]:
        """Decide what is open, write the totals, say goodbye on the bus."""
        self._accounts.drops = dict(drops)
        self._withdraw_orphans()
        for event in self._pipeline.flush():
            self._announce(event)
        self._check.finish()
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
        captured_ns = self._last.frame.t_capture_ns - self._first_capture_ns if self._last else 0
        return {
            **self._accounts.totals(),
            "without_window": dict(self._accounts.earlier_withheld + Counter(self._pipeline.withheld)),
            "engine": dict(self._pipeline.scorer.summary),
            "analyzer_results": dict(self._analyzer_results),
            "lost_messages": self._out.publisher.lost_messages(),
            "analysis_s": round(self._last_row_s - self._first_frame_s, 3),
            "capture_s": round(captured_ns / 1e9, 3),
            "latency_us": {
                name: {"p50": row.p50_us, "p95": row.p95_us, "p99": row.p99_us}
                for name, row in self._latencies.stages().items()
            },
        }

    def _taken_up(self) -> UnfinishedSession | None:
        """What an analysis that died left in the folder, taken into the accounts; None in an ordinary session.

        Raises:
            SinkError: its folder cannot be read.
        """
        if self._plan.resume is None:
            return None
        try:
            left = UnfinishedSession.read(self._plan.folder)
        except (OSError, ValueError, KeyError) as error:
            raise SinkError(f"session folder {self._plan.folder} cannot be taken up: {error}") from error
        self._accounts.restore(left)
        self._orphans = left.open_events
        self._first_capture_ns = left.first_ns or 0
        self._pipeline.forget(self._accounts.next_event)
        if self._plan.resume.threshold_changed:
            self._pipeline.set_threshold(self._plan.resume.threshold)
        return left

    def _withdraw(self, events: Iterable[Event]) -> None:
        """Events that were open when their analysis died will never be decided."""
        for event in events:
            flags = tuple(sorted({*event.flags, "gap"}))
            self._announce(replace(event, state="withdrawn", flags=flags))

    def _changed(self, frame: RGBDFrame) -> RGBDFrame:
        """Let what was asked for take effect with this frame."""
        while self._changes and self._changes[0].frame <= frame.sequence:
            change = replace(self._changes.popleft(), frame=frame.sequence)
            self._accounts.changes.append(change)
            if change.kind == "gap":
                self._gaps += 1
            elif change.kind == "threshold":
                for event in self._pipeline.set_threshold(change.value):
                    self._announce(event)
            else:
                self._withdraw(list(self._accounts.open_events.values()))
                self._accounts.earlier_withheld += Counter(self._pipeline.withheld)
                self._pipeline.forget(self._accounts.next_event)
                self._after_gap = True
        return replace(frame, segment=frame.segment + self._gaps) if self._gaps else frame

    def _named_gap(self, result: FrameAnalysis) -> FrameAnalysis:
        """After a new segment (camera lost and found, clock set back) rows without window say gap, not warm_up."""
        segment = result.frame.segment
        if self._segment is not None and segment != self._segment:
            self._after_gap = True
        self._segment = segment
        if result.windows:
            self._after_gap = False
        if not self._after_gap:
            return result
        causes = {track: "gap" if cause == "warm_up" else cause for track, cause in result.causes.items()}
        return replace(result, cause="gap" if result.cause == "warm_up" else result.cause, causes=causes)

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
        seconds = (time.monotonic_ns() - resume.lost_ns) / 1e9
        self._accounts.changes.append(Change(frame.sequence, "restart"))
        if resume.threshold_changed:
            self._accounts.changes.append(Change(frame.sequence, "threshold", resume.threshold))
        missing = frame.sequence > first
        which = f"frames {first} to {frame.sequence - 1} have no result" if missing else "no frame was missed"
        incident = Incident(
            "analysis_restart",
            resume.lost_ns,
            f"{resume.cause}; another went on {seconds:.1f} s later, {which}",
            first if missing else None,
            frame.sequence - 1 if missing else None,
            {"seconds": round(seconds, 3)},
        )
        self._accounts.note(incident)
        self._tell("warning", incident.text)

    def _store(self, result: FrameAnalysis) -> None:
        stamps = self._out.store(result)
        for event in result.events:
            self._announce(event, stamps)

    def _announce(self, event: Event, stamps: Stamps | None = None) -> None:
        self._accounts.take_event(event)
        self._out.event(event, stamps or Stamps())

    def _rate(self, now_s: float) -> float:
        since_s, count = self._rate_from
        return (self._accounts.analysed - count) / max(now_s - since_s, 1e-9)

    def _look_around(self) -> None:
        """Clocks, latency, disk and self-test, once a second."""
        incidents = self._clock_watch.look()
        incidents += [found for found in (self._alarm.look(), self._disk.look()) if found is not None]
        for incident in incidents:
            self._accounts.note(incident)
            self._tell("warning", incident.text)
            if incident.kind == "suspend":
                self._changes.append(Change(-1, "gap"))
        news = self._check.news()
        if news is not None:
            self._out.note("start_check", self._check.fields())
            self._tell("check", news)

    def _withdraw_orphans(self) -> None:
        orphans, self._orphans = self._orphans, ()
        self._withdraw(orphans)

    def _heartbeat(self, now_s: float) -> None:
        if self._accounts.is_paused:
            return
        if now_s < self._silent_until_s:
            return
        self._withdraw_orphans()
        self._fps = self._rate(now_s)
        self._rate_from = (now_s, self._accounts.analysed)
        self._beat_s = now_s
        self._look_around()
        last, accounts = self._last, self._accounts
        status = Status(
            frame=accounts.next_frame - 1,
            fps=round(self._fps, 2),
            offered=accounts.next_frame,
            analysed=accounts.analysed,
            dropped=accounts.dropped(),
            lost_messages=self._out.publisher.lost_messages(),
            stages=self._latencies.stages(),
            noise=last.windows[0].noise if last and last.windows else Status(-1, 0.0, 0, 0).noise,
            device="lost" if accounts.is_lost else "streaming",
            faces=len(last.tracks) if last else 0,
            outages=len(accounts.interruptions),
            hardware_resets=sum(one.resets for one in accounts.interruptions),
            incidents=accounts.news(),
            memory_mb=self._memory_mb,
        )
        self._out.publisher.publish("status", status_fields(status))
        self._out.count(self.totals())
