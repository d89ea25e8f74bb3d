"""Where a session's results go: its folder, the bus, and lines for the operator."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from sfam.capture.frame import ColorImage
from sfam.capture.marker import Marker
from sfam.capture.marker_file import MARKERS_FILE
from sfam.capture.source import SourceInfo
from sfam.engine.events import Event
from sfam.engine.model import ModelArtifact
from sfam.sinks.blind import without_result, without_result_counters
from sfam.sinks.clip_keeper import ClipKeeper
from sfam.sinks.clip_pictures import ClipPictures
from sfam.sinks.curve import PublisherKeys
from sfam.sinks.event_clip import CLIP_TIERS, ClipWish, remove_clips
from sfam.sinks.frame_result import FrameResult
from sfam.sinks.growing_file import GrowingFile
from sfam.sinks.latency_table import LatencyRow
from sfam.sinks.pixelate import pixelated
from sfam.sinks.publisher import NullPublisher, Publisher, open_publisher
from sfam.sinks.session_folder import SessionFolder
from sfam.sinks.session_info import SessionInfo, SessionState
from sfam.sinks.shared_bus import SharedBus
from sfam.sinks.unfinished_session import UnfinishedSession
from sfam.sinks.wire import Stamps, compact_json
from sfam.sinks.wire_fields import (
    analyzer_fields,
    event_fields,
    face_fields,
    flow_fields,
    flow_payload,
    frame_fields,
    frame_payload,
    score_fields,
)
from sfam.stream.analyzer import AnalyzerResult
from sfam.stream.head_pose import head_pose

from .clip_role import PICTURES, picture_settings
from .config import render_yaml
from .event_times import EventTimes, event_times, is_live_session, known_markers
from .pipeline import FrameAnalysis
from .role_link import Tell
from .session_description import payload_kinds
from .session_plan import SessionPlan

NO_STAMPS = Stamps()


class Outlets:
    """Takes what a session found; nothing goes anywhere before `open`.

    Args:
        plan: of the session.
        model: whose classes name the columns.
        tell: carries lines to the operator.
    """

    def __init__(self, plan: SessionPlan, model: ModelArtifact, tell: Tell) -> None:
        self._plan = plan
        self._classes = model.classes
        self._tell = tell
        self._blind = plan.config.sinks.blind
        self._pixelates = plan.config.sinks.privacy == "blurred"
        self._is_recorded = plan.config.capture.record != "none"
        self._folder: SessionFolder | None = None
        keeps_clips = plan.config.sinks.clips and plan.config.sinks.privacy in CLIP_TIERS
        warn = partial(tell, "warning")
        keeper = ClipKeeper(plan.folder, model.classes, self._clip_written, plan.lossless, warn)
        self._clips = keeper if keeps_clips else None
        holds = keeps_clips and plan.clip_pictures and plan.config.app.single_process
        self._pictures = ClipPictures(picture_settings(plan), warn) if holds else None
        self._markers: GrowingFile | None = None
        self._times = EventTimes()
        self.publisher: Publisher | NullPublisher = NullPublisher()

    def open(self, info: SessionInfo, left: UnfinishedSession | None = None, bus: SharedBus | None = None) -> None:
        """Make the folder, or take up what is `left` in it, and bind the bus, or use the one shared with others.

        Raises:
            SinkError: as either does.
        """
        plan, config = self._plan, self._plan.config
        if plan.force and left is None:
            remove_clips(plan.folder)
        self._folder = SessionFolder(
            plan.folder,
            info,
            render_yaml(config),
            policy="lossless" if plan.lossless else "latest",
            force=plan.force,
            landmarks=config.sinks.landmarks,
            resume=left,
        )
        self.open_bus(info, bus)

    def open_bus(self, info: SessionInfo, bus: SharedBus | None = None) -> None:
        """Only the bus: nothing of the session is kept.

        Raises:
            SinkError: its address cannot be had.
        """
        plan, config = self._plan, self._plan.config
        self.publisher = open_publisher(
            config.sinks.publish,
            info,
            high_water_mark=config.sinks.high_water_mark,
            insecure=config.sinks.insecure,
            keys=PublisherKeys.load(config.sinks.keys) if config.sinks.keys else None,
            payload_kinds=payload_kinds(config),
            payload_rate_hz=config.sinks.frame_rate_hz,
            first_seq=None if plan.resume is None else plan.resume.first_seq,
            bus=bus,
        )
        self.publisher.session("running", {})

    def know(self, source: SourceInfo) -> None:
        """Take what the source says of clocks, and the trial markers that are there already.

        Raises:
            SourceError: the file of markers, or of the camera's sync test, cannot be read.
        """
        self._times = event_times(self._plan, source)
        clock = self._plan.clock if is_live_session(self._plan.config, source) else None
        if self._clips is not None:
            self._clips.utc_shift_ns = 0 if clock is None else clock.utc_ns(0)
        if self._pictures is not None:
            self._pictures.begin(source, clock)
        for marker in known_markers(self._plan):
            self.mark(marker)

    def mark(self, marker: Marker) -> None:
        """A trial marker: events from its time on belong to its trial."""
        self._times.mark(marker)
        if self._markers is None:
            self._markers = GrowingFile(self._plan.folder / MARKERS_FILE)
        self._markers.append(compact_json(marker.fields()) + "\n")

    def note(self, name: str, value: object) -> None:
        """A key of session.json that becomes known while the session runs."""
        if self._folder is not None:
            self._folder.describe(name, value)

    def enter(self, state: SessionState, totals: Mapping[str, object]) -> None:
        """Write and say where the session stands."""
        if self._folder is not None:
            self._folder.enter(state, totals)
        self.publisher.session(state, self._shown(totals))

    @property
    def failure(self) -> str:
        """Why the session's files can no longer be written, such as a full disk; '' while they can."""
        return self._folder.failure if self._folder is not None else ""

    def count(self, totals: Mapping[str, object]) -> None:
        """Totals for session.json."""
        if self._folder is not None:
            self._folder.count(totals)

    def row(self, row: FrameResult, stamps: Stamps = NO_STAMPS) -> None:
        """A row of scores.csv and its message."""
        if self._folder is not None:
            self._folder.row(row)
        shown = without_result(row) if self._blind else row
        self.publisher.publish("score", score_fields(shown, self._classes), stamps)

    def latency(self, row: LatencyRow | None) -> None:
        """A row of latency.csv; None where no frame came."""
        if self._folder is not None and row is not None:
            self._folder.row(row)

    def store(self, result: FrameAnalysis) -> Stamps:
        """The rows of a frame; returns the stamps for what else belongs to it."""
        self._times.seen(result.frame)
        stamps = Stamps.of(result.frame, {stage: spent / 1e3 for stage, spent in result.stage_ns.items()})
        rows = rows_of(result)
        for row in rows:
            self.row(row, stamps)
        if self._pictures is not None:
            self._pictures.push(result.frame)
        if self._clips is not None:
            self._clips.push(rows, result.flows)
        return stamps

    def send(self, result: FrameAnalysis) -> None:
        """Faces, picture and flow, for those who listen."""
        publisher, frame = self.publisher, result.frame
        stamps = Stamps.of(frame)
        if publisher.wants("face"):
            for track in result.tracks:
                pose = head_pose(track.landmarks_px, frame.calibration.color)
                publisher.publish("face", face_fields(track, frame.sequence, pose), stamps)
        if publisher.due("frame"):
            quality = self._plan.config.sinks.jpeg_quality
            hide = partial(pixelated, boxes=[track.box for track in result.tracks]) if self._pixelates else _as_it_is
            publisher.publish("frame", frame_fields(frame), stamps, lambda: frame_payload(hide(frame.color), quality))
        if result.flows and publisher.due("flow"):
            for flow in result.flows:
                publisher.publish("flow", flow_fields(flow), stamps, partial(flow_payload, flow))

    def analyzed(self, result: AnalyzerResult) -> None:
        """What an analyzer found, for those who listen."""
        if not self._blind:
            stamps = Stamps(result.t_capture_ns, result.t_device_ns, result.t_utc_ns)
            self.publisher.publish("analyzer", analyzer_fields(result), stamps)

    def event(self, event: Event, stamps: Stamps) -> None:
        """A state of an event: files, bus and, once confirmed, the operator."""
        event = self._times.complete(event)
        if self._folder is not None:
            self._folder.event(event)
        if event.state == "confirmed" and self._clips is not None:
            self._clips.keep(event)
        if event.state == "confirmed" and self._is_recorded:
            self._tell("clip", (event.onset.t_capture_ns, event.offset.t_capture_ns))
        self.send_event(event, stamps)
        if event.state == "confirmed" and not self._blind:
            self._tell(
                "event",
                f"{event.kind} #{event.id}: frames {event.onset.frame}-{event.apex.frame}-{event.offset.frame}, "
                f"{event.emotion}, score {event.score:.2f}, decided {event.decision_delay_ms:.0f} ms after its end",
            )

    def send_event(self, event: Event, stamps: Stamps = NO_STAMPS) -> None:
        """A state of an event, only for those who listen."""
        if not self._blind:
            self.publisher.publish("event", event_fields(event, self._classes), stamps)

    def close(self, totals: Mapping[str, object], state: SessionState) -> None:
        """Write the totals and say goodbye on the bus.

        Raises:
            SinkError: the folder could not be written to the end.
        """
        self._close_markers()
        self._close_clips()
        if self._folder is not None:
            self._folder.close({**totals, **self._clip_totals()}, state)
        self.publisher.close(self._shown(totals), state)

    def abandon(self, totals: Mapping[str, object]) -> None:
        """Close what an error left open; after `close` nothing is left to do."""
        self._close_markers()
        self.publisher.close(self._shown(totals), "failed")
        self._close_clips()
        if self._folder is not None:
            self._folder.close({**totals, **self._clip_totals()}, "failed")

    def _clip_written(self, wish: ClipWish) -> None:
        """A clip of motion is on disk: pictures go into it where they are held."""
        if self._pictures is not None:
            self._pictures.keep(wish)
        elif self._plan.clip_pictures:
            self._tell(PICTURES, wish)

    def _close_clips(self) -> None:
        if self._clips is not None:
            self._clips.close()
        if self._pictures is not None:
            self._pictures.close()

    def _clip_totals(self) -> dict[str, object]:
        """For session.json: how many events left the session as clips is a result, and not for the bus."""
        return {} if self._clips is None else {"clips": self._clips.totals()}

    def _close_markers(self) -> None:
        if self._markers is not None:
            self._markers.close()

    def _shown(self, totals: Mapping[str, object]) -> Mapping[str, object]:
        """Totals as far as anybody but the session's files may know them."""
        return without_result_counters(totals) if self._blind else totals


def _as_it_is(color: ColorImage) -> ColorImage:
    return color


def rows_of(result: FrameAnalysis) -> list[FrameResult]:
    """One row for each face of a frame, or one that says why there is none."""
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
