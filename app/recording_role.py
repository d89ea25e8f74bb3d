"""The recorder as a process of its own beside the analysis, and in the analysis' place for single-process runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from sfam.capture.clip_memory import ClipSettings
from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.marker import Marker
from sfam.capture.mcap_file import RecordingError
from sfam.capture.pacing import is_live
from sfam.capture.recorder import CLIP_MEMORY, Recorder, RecorderSettings, RecordingTotals
from sfam.capture.source import SourceInfo
from sfam.sinks.incident import Incident
from sfam.stream.analyzer import AnalyzerResult
from sfam.stream.ring_reader import RingReader, StreamEnd

from .analysis_role import AnalysisSession
from .config import ConfigError
from .interruption import Interruption
from .pause import Hold
from .ring_offer import SourceOffer, end_of, until_end
from .role_link import STATUS_EVERY_S, RoleLink, Tell
from .session_plan import Reload

SKIPPED, CLIP = "skipped", "clip"
"""What the analysis tells the recorder: (first, last, cause) of frames it never saw; (from_ns, to_ns) of an event."""


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """What the recorder process needs."""

    recorder: RecorderSettings
    clock: SessionClock
    speed: float = 1.0
    beside_analysis: bool = False
    """Wait for the supervisor's stop before the end, for what the analysis still has to say."""

    def clock_for(self, info: SourceInfo) -> SessionClock | None:
        """The session's clock where frames carry its time; a replay has the recording's."""
        return self.clock if is_live(info, self.speed) else None


def require_new(out: Path) -> None:
    """Make room for a recording.

    Raises:
        ConfigError: the file exists.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists already, and recordings are never overwritten; choose another name")
    out.parent.mkdir(parents=True, exist_ok=True)


def clip_settings(config: CaptureConfig) -> ClipSettings | None:
    """What `--record` stores: clips around events, or None for everything."""
    if config.record != "events":
        return None
    return ClipSettings(config.record_before_s, config.record_after_s, config.record_memory_mb * 2**20)


def recorder_settings(
    config: CaptureConfig, path: Path, *, lossless: bool, clips: ClipSettings | None = None
) -> RecorderSettings:
    """What the settings say of the recorder."""
    return RecorderSettings(
        path,
        color=config.record_color,
        jpeg_quality=config.record_jpeg_quality,
        compression=config.record_compression,
        clips=clips,
        lossless=lossless,
    )


def recorder_role(plan: RecordingPlan, link: RoleLink) -> Mapping[str, Any]:
    """Process 'recorder': one more reader of the ring, so that no disk can slow capture or analysis.

    Obeys 'skipped' and 'clip'. Tells 'ready' with the ring's name, reports 'status', returns the totals.

    Raises:
        RecordingError: the disk is full or fails; the file holds everything up to there.
    """
    offer: SourceOffer | None = link.receive("source")
    if offer is None:
        return {}
    with RingReader(offer.ring, offer.reader) as reader:
        link.tell("ready", offer.ring)
        try:
            return _record(plan, link, offer.info, reader)
        except RecordingError as error:
            link.tell("warning", f"recording has ended: {error}")
            raise


def _record(plan: RecordingPlan, link: RoleLink, info: SourceInfo, reader: RingReader) -> Mapping[str, Any]:
    frames = until_end(reader, link)
    first = next((frame for frame in frames if frame is not None), None)
    if first is None:
        return {}
    # only now: the file lies in the session folder, which the analysis wants to find empty before any frame comes
    recorder = Recorder(plan.recorder)
    progress = _Progress(recorder, info.frames)
    recorder.begin(info, plan.clock_for(info))
    link.on(SKIPPED, lambda skipped: recorder.note_skipped(*skipped))
    link.on(CLIP, lambda clip: keep_clip(recorder, clip, link.tell))
    try:
        for frame in chain([first], frames):
            if frame is not None:
                recorder.push(frame, reader.drops)
                progress.frame = frame.sequence
            if progress.is_due():
                link.report("status", progress.status())
        while plan.beside_analysis and not link.stopping():
            link.wait_stop(0.05)
        recorder.report_drops(reader.drops)
        end = end_of(reader, link)
    except BaseException as error:
        recorder.finish("failed", str(error))
        raise
    return totals_of(recorder.finish(end.state, end.reason))


def keep_clip(recorder: Recorder, clip: tuple[int, int], tell: Tell) -> None:
    """Store an event's frames; the first ones that are no longer held are told of, all are counted."""
    before = recorder.drops.get(CLIP_MEMORY, 0)
    recorder.keep(*clip)
    missed = recorder.drops.get(CLIP_MEMORY, 0)
    if missed and not before:
        tell(
            "warning",
            f"the recording lacks {missed} frames around an event, which were no longer held when it was decided: "
            f"raise capture.record_memory_mb or lower capture.record_before_s; later ones are only counted, "
            f"as {CLIP_MEMORY}",
        )


def totals_of(totals: RecordingTotals) -> dict[str, Any]:
    """Totals for messages and the end of a run."""
    return {
        "file": str(totals.path),
        "frames": totals.frames,
        "bytes": totals.size_bytes,
        "drops": dict(totals.drops),
    }


def recording_summary(totals: Mapping[str, Any]) -> str:
    """`totals_of` for the operator."""
    lost = ", ".join(f"{count} {cause}" for cause, count in totals["drops"].items()) or "none"
    return f"{totals['file']}: {totals['frames']} frames, {totals['bytes'] / 1e6:.1f} MB, lost: {lost}"


@dataclass(slots=True)
class _Progress:
    """What the operator sees of a recording."""

    recorder: Recorder
    total: int | None
    frame: int = -1
    since_s: float = field(default_factory=time.monotonic)
    told_s: float = 0.0

    def is_due(self) -> bool:
        """True some ten times a second."""
        now_s = time.monotonic()
        due = now_s - self.told_s >= STATUS_EVERY_S
        self.told_s = now_s if due else self.told_s
        return due

    def status(self) -> dict[str, Any]:
        """Frames, size, losses."""
        recorder, elapsed_s = self.recorder, time.monotonic() - self.since_s
        size_mb = recorder.size_bytes / 1e6
        text = (
            f"{recorder.frames} frames  {size_mb:.1f} MB  {size_mb / max(elapsed_s, 1.0):.1f} MB/s  "
            f"drops {sum(recorder.drops.values())}"
        )
        return {"frame": self.frame, "total": self.total, "text": text}


@dataclass(frozen=True, slots=True)
class RecordedSessionPlan:
    """A session that is recorded, all in one process."""

    open_session: Callable[[Any, Tell], AnalysisSession]
    config: Any
    """For `open_session`."""
    recording: RecordingPlan


def open_recorded_session(plan: RecordedSessionPlan, tell: Tell) -> RecordedSession:
    """The session and its recorder."""
    return RecordedSession(plan, tell)


class RecordedSession:
    """Hands each frame to the recorder's queue and to the session; a full disk ends the recording, not the session."""

    def __init__(self, plan: RecordedSessionPlan, tell: Tell) -> None:
        self._tell = tell
        self._plan = plan.recording
        self._session = plan.open_session(plan.config, self._listen)
        self._recorder: Recorder | None = None
        self._error: RecordingError | None = None

    def begin(self, info: SourceInfo) -> None:
        """Open both."""
        self._session.begin(info)
        self._recorder = Recorder(self._plan.recorder)
        self._recorder.begin(info, self._plan.clock_for(info))

    def push(self, frame: RGBDFrame, stage_ns: Mapping[str, int], drops: Mapping[str, int]) -> None:
        """Record, then analyse."""
        if self._recorder is not None and self._error is None:
            try:
                self._recorder.push(frame, drops)
            except RecordingError as error:
                self._error = error
                self._tell("warning", f"recording has ended: {error}")
        self._session.push(frame, stage_ns, drops)

    def interrupted(self, interruption: Interruption) -> None:
        """The session's business."""
        self._session.interrupted(interruption)

    def mark(self, marker: Marker) -> None:
        """The session's business."""
        self._session.mark(marker)

    def note(self, incident: Incident) -> None:
        """The session's business."""
        self._session.note(incident)

    def memory(self, memory_mb: float) -> None:
        """The session's business."""
        self._session.memory(memory_mb)

    def pause(self, hold: Hold) -> None:
        """The session's business; no frame comes meanwhile."""
        self._session.pause(hold)

    def reload(self, reload: Reload) -> None:
        """The session's business."""
        self._session.reload(reload)

    def analyzed(self, result: AnalyzerResult) -> None:
        """The session's business."""
        self._session.analyzed(result)

    def spare(self) -> None:
        """The session's business."""
        self._session.spare()

    def idle(self) -> None:
        """The session's business."""
        self._session.idle()

    def status(self) -> Mapping[str, Any]:
        """The session's."""
        return self._session.status()

    def finish(self, end: StreamEnd, drops: Mapping[str, int]) -> Mapping[str, Any]:
        """End both.

        Raises:
            RecordingError: the recording could not be completed; the session is.
        """
        totals = self._session.finish(end, drops)
        if self._recorder is None:
            return totals
        recorder, self._recorder = self._recorder, None
        return {**totals, "recording": totals_of(recorder.finish(end.state, end.reason))}

    def close(self) -> None:
        """Let everything go, also after an error."""
        if self._recorder is not None:
            self._recorder.finish("failed", "the session ended with an error")
            self._recorder = None
        self._session.close()

    def _listen(self, kind: str, message: Any) -> None:
        if self._recorder is not None and kind == CLIP:
            keep_clip(self._recorder, message, self._tell)
        elif self._recorder is not None and kind == SKIPPED:
            self._recorder.note_skipped(*message)
        else:
            self._tell(kind, message)
