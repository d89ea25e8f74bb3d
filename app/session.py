"""What the analysis process does with each frame: pipeline, then tables, bus and heartbeat."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sfam.capture.clock import SessionClock
from sfam.capture.frame import Intrinsics, RGBDFrame
from sfam.capture.source import SourceInfo
from sfam.engine.events import Event
from sfam.engine.model import ModelArtifact
from sfam.sinks.blind import without_result, without_result_counters
from sfam.sinks.bus_address import is_private
from sfam.sinks.curve import PublisherKeys
from sfam.sinks.frame_result import FrameResult
from sfam.sinks.publisher import NullPublisher, Publisher, open_publisher
from sfam.sinks.session_folder import SessionFolder
from sfam.sinks.session_info import SessionInfo, SessionState
from sfam.sinks.status import Status
from sfam.sinks.wire import Kind, Stamps
from sfam.sinks.wire_fields import (
    analyzer_fields,
    event_fields,
    face_fields,
    flow_fields,
    flow_payload,
    frame_fields,
    frame_payload,
    score_fields,
    status_fields,
)
from sfam.stream.analyzer import AnalyzerResult
from sfam.stream.head_pose import head_pose
from sfam.stream.ring_reader import StreamEnd

from .config import Config, render_yaml
from .interruption import Interruption
from .latency import StageLatencies
from .pipeline import FrameAnalysis, Pipeline
from .roles import Tell

HEARTBEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What the operator's process settled before anything started; picklable."""

    config: Config
    session: str
    """Id of the session: the folder's name."""
    folder: Path
    force: bool
    lossless: bool
    clock: SessionClock
    left_out: Mapping[int, str] = field(default_factory=dict)
    """Frames that capture leaves out of a replay, by cause."""


def open_session(plan: SessionPlan, tell: Tell) -> Session:
    """The session of a plan; loads model and face backend."""
    return Session(plan, tell)


class Session:
    """One session: takes frames, writes tables, publishes, and accounts for every frame.

    Args:
        plan: what to do.
        tell: carries lines to the operator: ('event', text) and ('warning', text).

    Raises:
        ModelError, SinkError, FaceError: as the parts do.
    """

    def __init__(self, plan: SessionPlan, tell: Tell) -> None:
        self._plan = plan
        self._tell = tell
        self._pipeline = Pipeline(plan.config, may_swap=not plan.lossless, say=lambda text: tell("engine", text))
        self._model: ModelArtifact = self._pipeline.model
        self._folder: SessionFolder | None = None
        self._publisher: Publisher | NullPublisher = NullPublisher()
        self._latencies = StageLatencies()
        self._next_frame = 0
        self._analysed = 0
        self._events: Counter[str] = Counter()
        self._analyzer_results: Counter[str] = Counter()
        self._drops: dict[str, int] = {}
        self._lost: Counter[str] = Counter()
        self._skipped: Mapping[int, str] = {}
        self._blind = plan.config.sinks.blind
        self._is_recorded = plan.config.capture.record != "none"
        self._interruptions: list[Interruption] = []
        self._segment: int | None = None
        self._after_gap = False
        self._last: FrameAnalysis | None = None
        self._total: int | None = None
        self._beat_s = 0.0
        self._rate_from = (time.monotonic(), 0)
        self._fps = 0.0
        self._first_frame_s = self._last_row_s = 0.0
        self._first_capture_ns = 0

    def begin(self, info: SourceInfo) -> None:
        """Open folder and bus for the source."""
        config = self._plan.config
        self._total = info.frames
        self._skipped = info.skipped
        session_info = self._describe(info)
        self._folder = SessionFolder(
            self._plan.folder,
            session_info,
            render_yaml(config),
            policy="lossless" if self._plan.lossless else "latest",
            force=self._plan.force,
            landmarks=config.sinks.landmarks,
        )
        self._publisher = open_publisher(
            config.sinks.publish,
            session_info,
            high_water_mark=config.sinks.high_water_mark,
            insecure=config.sinks.insecure,
            keys=PublisherKeys.load(config.sinks.keys) if config.sinks.keys else None,
            payload_kinds=_payload_kinds(config),
            payload_rate_hz=config.sinks.frame_rate_hz,
        )
        self._publisher.session("running", {})

    def push(self, frame: RGBDFrame, stage_ns: Mapping[str, int], drops: Mapping[str, int]) -> None:
        """Analyse a frame, write its rows, publish it."""
        if not self._analysed:
            self._first_frame_s = time.monotonic()
            self._first_capture_ns = frame.t_capture_ns
        self._account_for_missing(frame, drops)
        result = self._named_gap(self._pipeline.process(frame))
        self._analysed += 1
        self._last = result
        started = time.perf_counter_ns()
        self._store(result)
        self._send(result)
        spent = {
            **stage_ns,
            **result.stage_ns,
            "publish": time.perf_counter_ns() - started,
            "total": time.monotonic_ns() - frame.t_host_ns,
        }
        self._latencies.add(spent)
        self._last_row_s = time.monotonic()
        if self._last_row_s - self._beat_s >= HEARTBEAT_S:
            self._heartbeat(self._last_row_s)

    def interrupted(self, interruption: Interruption) -> None:
        """Note a time without camera, and say it on the bus at once."""
        if self._interruptions and self._interruptions[-1].began_ns == interruption.began_ns:
            self._interruptions.pop()
        self._interruptions.append(interruption)
        self._heartbeat(time.monotonic())

    def analyzed(self, result: AnalyzerResult) -> None:
        """Publish what an analyzer found; its own process keeps the file."""
        self._analyzer_results[result.analyzer] += 1
        if not self._blind:
            stamps = Stamps(result.t_capture_ns, result.t_device_ns, result.t_utc_ns)
            self._publisher.publish("analyzer", analyzer_fields(result), stamps)

    def idle(self) -> None:
        """Keep the heartbeat going while no frame comes."""
        if self._analysed and time.monotonic() - self._beat_s >= HEARTBEAT_S:
            self._heartbeat(time.monotonic())

    def status(self) -> Mapping[str, Any]:
        """What the status line shows."""
        total = self._latencies.stages().get("total")
        last = self._last
        return {
            "frame": self._next_frame - 1,
            "total": self._total,
            "fps": self._fps or self._rate(time.monotonic()),
            "dropped": sum(self._dropped().values()),
            "latency_ms": {"p50": total.p50_us / 1e3, "p99": total.p99_us / 1e3} if total else {},
            "face": last.tracks[0].state if last and last.tracks else "none",
            "spot": last.scores[0].spot if last and last.scores and not self._blind else None,
            "events": None if self._blind else self._events["confirmed"],
        }

    def finish(self, end: StreamEnd, drops: Mapping[str, int]) -> Mapping[str, Any]:
        """Decide what is open, write the totals, say goodbye on the bus."""
        self._drops = dict(drops)
        for event in self._pipeline.flush():
            self._announce(event)
        state: SessionState = "failed" if end.state == "failed" else "ended"
        totals = {**self.totals(), "ended_because": end.reason, "warnings": list(end.warnings)}
        for warning in end.warnings:
            self._tell("warning", warning)
        if self._folder is not None:
            self._folder.close(totals, state)
        self._publisher.close(self._shown(totals), state)
        return totals

    def close(self) -> None:
        """Let everything go; after `finish` nothing is left to do."""
        self._publisher.close(self._shown(self.totals()), "failed")
        self._pipeline.close()
        if self._folder is not None:
            self._folder.close(self.totals(), "failed")

    def totals(self) -> dict[str, Any]:
        """Counters of the session: every frame offered is analysed or has a cause."""
        captured_ns = self._last.frame.t_capture_ns - self._first_capture_ns if self._last else 0
        return {
            "offered": self._next_frame,
            "analysed": self._analysed,
            "dropped": self._dropped(),
            "interruptions": [interruption.fields() for interruption in self._interruptions],
            "without_window": dict(self._pipeline.withheld),
            "engine": dict(self._pipeline.scorer.summary),
            "events": dict(self._events),
            "analyzer_results": dict(self._analyzer_results),
            "lost_messages": self._publisher.lost_messages(),
            "analysis_s": round(self._last_row_s - self._first_frame_s, 3),
            "capture_s": round(captured_ns / 1e9, 3),
            "latency_us": {
                name: {"p50": row.p50_us, "p95": row.p95_us, "p99": row.p99_us}
                for name, row in self._latencies.stages().items()
            },
        }

    def _dropped(self) -> dict[str, int]:
        """Drops by cause: those before a frame had a number, and those that left a hole in the numbers."""
        return {**self._drops, **self._lost}

    @property
    def _is_lost(self) -> bool:
        """True while the camera is away."""
        return bool(self._interruptions) and self._interruptions[-1].ended_ns is None

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

    def _describe(self, info: SourceInfo) -> SessionInfo:
        config = self._plan.config
        return SessionInfo(
            session=self._plan.session,
            camera=info.camera,
            classes=self._model.classes,
            subject=config.app.subject,
            video=config.app.video or (info.camera if info.kind == "recording" else self._plan.session),
            source=config.capture.camera,
            threshold=self._pipeline.threshold,
            model=self._model.description,
            model_sha256=self._model.sha256,
            config_hash=config.sha256(),
            devices={
                "kind": info.kind,
                "fps": info.fps,
                "warnings": list(info.warnings),
                "color": _pinhole(info.calibration.color),
                **info.details,
            },
            clock=self._plan.clock,
            privacy=config.sinks.privacy,
            blind=self._blind,
        )

    def _shown(self, totals: Mapping[str, object]) -> Mapping[str, object]:
        """Totals as far as anybody but the session's files may know them."""
        return without_result_counters(totals) if self._blind else totals

    def _account_for_missing(self, frame: RGBDFrame, drops: Mapping[str, int]) -> None:
        """A row for every captured frame that never came, with its cause."""
        self._drops = dict(drops)
        if self._is_recorded and frame.sequence > self._next_frame:
            self._tell("skipped", (self._next_frame, frame.sequence - 1, self._cause_of_gap(self._next_frame)))
        for number in range(self._next_frame, frame.sequence):
            cause = self._cause_of_gap(number)
            self._lost[cause] += 1
            row = FrameResult.dropped(number, cause)
            if self._folder is not None:
                self._folder.row(row)
            self._publisher.publish("score", score_fields(row, self._model.classes))
        self._next_frame = frame.sequence + 1

    def _cause_of_gap(self, number: int) -> str:
        """Why a frame is missing; never by counters, since the moment at which they arrive depends on load."""
        known = self._plan.left_out.get(number) or self._skipped.get(number)
        if known:
            return known
        if self._plan.config.app.policy.startswith("decimate"):
            return "decimated"
        return "not_recorded" if self._plan.lossless else "ring_overwritten"

    def _rows(self, result: FrameAnalysis) -> list[FrameResult]:
        if not result.tracks:
            return [FrameResult.of(result.frame, cause=result.cause)]
        windows = {window.track_id: window for window in result.windows}
        scores = {score.track_id: score for score in result.scores}
        return [
            FrameResult.of(
                result.frame,
                track,
                windows.get(track.track_id),
                scores.get(track.track_id),
                result.causes.get(track.track_id, ""),
            )
            for track in result.tracks
        ]

    def _store(self, result: FrameAnalysis) -> None:
        stamps = Stamps.of(result.frame, {stage: spent / 1e3 for stage, spent in result.stage_ns.items()})
        for row in self._rows(result):
            if self._folder is not None:
                self._folder.row(row)
            shown = without_result(row) if self._blind else row
            self._publisher.publish("score", score_fields(shown, self._model.classes), stamps)
        for event in result.events:
            self._announce(event, stamps)

    def _send(self, result: FrameAnalysis) -> None:
        publisher, frame = self._publisher, result.frame
        stamps = Stamps.of(frame)
        if publisher.wants("face"):
            for track in result.tracks:
                pose = head_pose(track.landmarks_px, frame.calibration.color)
                publisher.publish("face", face_fields(track, frame.sequence, pose), stamps)
        if publisher.due("frame"):
            quality = self._plan.config.sinks.jpeg_quality
            publisher.publish("frame", frame_fields(frame), stamps, lambda: frame_payload(frame.color, quality))
        if result.flows and publisher.due("flow"):
            for flow in result.flows:
                publisher.publish("flow", flow_fields(flow), stamps, partial(flow_payload, flow))

    def _announce(self, event: Event, stamps: Stamps | None = None) -> None:
        self._events[event.state] += 1
        if self._folder is not None:
            self._folder.event(event)
        if event.state == "confirmed" and self._is_recorded:
            self._tell("clip", (event.onset.t_capture_ns, event.offset.t_capture_ns))
        if self._blind:
            return
        self._publisher.publish("event", event_fields(event, self._model.classes), stamps or Stamps())
        if event.state == "confirmed":
            self._tell(
                "event",
                f"{event.kind} #{event.id}: frames {event.onset.frame}-{event.apex.frame}-{event.offset.frame}, "
                f"{event.emotion}, score {event.score:.2f}, decided {event.decision_delay_ms:.0f} ms after its end",
            )

    def _rate(self, now_s: float) -> float:
        since_s, count = self._rate_from
        return (self._analysed - count) / max(now_s - since_s, 1e-9)

    def _heartbeat(self, now_s: float) -> None:
        self._fps = self._rate(now_s)
        self._rate_from = (now_s, self._analysed)
        self._beat_s = now_s
        last = self._last
        status = Status(
            frame=self._next_frame - 1,
            fps=round(self._fps, 2),
            offered=self._next_frame,
            analysed=self._analysed,
            dropped=self._dropped(),
            lost_messages=self._publisher.lost_messages(),
            stages=self._latencies.stages(),
            noise=last.windows[0].noise if last and last.windows else Status(-1, 0.0, 0, 0).noise,
            device="lost" if self._is_lost else "streaming",
            faces=len(last.tracks) if last else 0,
            outages=len(self._interruptions),
            hardware_resets=sum(one.resets for one in self._interruptions),
        )
        self._publisher.publish("status", status_fields(status))
        if self._folder is not None:
            self._folder.count(self.totals())


def _payload_kinds(config: Config) -> tuple[Kind, ...]:
    """Pixels and flow leave by privacy tier; an overlay the operator asked for shows them on this machine only.

    In blind mode no flow leaves: enlarged motion is the result as a picture.
    """
    private = is_private(config.sinks.publish)
    kinds: tuple[Kind, ...] = ("flow",) if config.sinks.privacy == "flow" else ()
    if config.sinks.privacy == "full" or (config.sinks.overlay != "none" and private):
        kinds = ("frame", "flow")
    return tuple(kind for kind in kinds if kind != "flow" or not config.sinks.blind)


def _pinhole(camera: Intrinsics) -> dict[str, float]:
    """The color camera, for exports that need it."""
    return {"fx": camera.fx, "fy": camera.fy, "ppx": camera.ppx, "ppy": camera.ppy}
