"""What each process of a session runs, and the same work in one process."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.marker import Marker
from sfam.capture.pacing import ReplayControl, delivered, is_live, limited
from sfam.capture.source import FrameSource, SourceError, SourceInfo, open_source
from sfam.sinks.incident import Incident
from sfam.stream.analyzer import AnalyzerResult
from sfam.stream.ring import Policy, Ring
from sfam.stream.ring_reader import RingReader, StreamEnd
from sfam.stream.ring_writer import RingWriter

from .interruption import Interruption
from .pause import HELD, HOLD, Hold, PauseGate
from .role_link import RoleLink
from .session_plan import Reload

if TYPE_CHECKING:
    from .supervisor import Supervisor

STATUS_EVERY_S = 0.1
Tell = Callable[[str, Any], None]
"""Kind and message, to be shown by the parent: small, picklable, never lost."""


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """What the capture process needs."""

    config: CaptureConfig
    clock: SessionClock
    speed: float = 1.0
    """`math.inf` = as fast as frames are taken."""
    duration_s: float | None = None
    keep_every: int = 1
    """Of `decimate:N`: only each N-th frame goes on, the others are counted as 'decimated'."""
    paused: bool = False
    """Start paused, for single steps."""
    left_out: Mapping[int, str] = field(default_factory=dict)
    """Frames to leave out with the cause to count them under: those that the session being replayed did not analyse."""
    last_frame: int | None = None
    """End after this frame, where the session being replayed was ended early."""


@dataclass(frozen=True, slots=True)
class SourceOffer:
    """What the analysis is told once the source is open."""

    ring: str
    info: SourceInfo
    reader: int = 0
    """The ring's reader number of the role it is for."""
    newest: bool = False
    """Begin with the newest frame: whoever read before has died."""


class AnalysisSession(Protocol):
    """What consumes frames: pipeline, publisher and session folder together."""

    def begin(self, info: SourceInfo) -> None:
        """The source is open; called once, before the first frame."""

    def push(self, frame: RGBDFrame, stage_ns: Mapping[str, int], drops: Mapping[str, int]) -> None:
        """Take the next frame, the wall time of its stages so far and the drops by cause up to now."""

    def interrupted(self, interruption: Interruption) -> None:
        """The camera was lost, or is lost still, or is back."""

    def mark(self, marker: Marker) -> None:
        """A stimulus program told of a trial."""

    def note(self, incident: Incident) -> None:
        """Something happened to the session as a whole."""

    def reload(self, reload: Reload) -> None:
        """Settings have changed."""

    def memory(self, memory_mb: float) -> None:
        """What all processes of the session hold, for the heartbeat."""

    def analyzed(self, result: AnalyzerResult) -> None:
        """An analyzer's process found something in an earlier frame."""

    def pause(self, hold: Hold) -> None:
        """A participant's pause begins or ends; frames that were captured before it may still come."""

    def idle(self) -> None:
        """No frame came for a while; called some 20 times a second until one comes."""

    def status(self) -> Mapping[str, Any]:
        """What the status line shows; called some ten times a second."""

    def finish(self, end: StreamEnd, drops: Mapping[str, int]) -> Mapping[str, Any]:
        """No more frames come; decide what is open, write the totals and return them."""

    def close(self) -> None:
        """Let everything go, also after an error."""


@dataclass(frozen=True, slots=True)
class AnalysisSettings:
    """What the analysis process needs."""

    open_session: Callable[[Any, Tell], AnalysisSession]
    """A module's function: loads model and face backend before the source is known; takes `config` and `Tell`."""
    config: Any
    """Picklable, for `open_session`."""


def offer_ring(
    supervisor: Supervisor,
    info: SourceInfo,
    policy: Policy,
    slots: int,
    readers: Sequence[str] = ("analysis",),
    command: str = "source",
) -> Ring:
    """Make the ring for the source that the capture process reported as 'opened', and name it to the reading roles.

    Once all of them have told 'ready' with the ring's name, `start_capture` lets frames flow: none waits for a model to
    load. The caller owns the ring and closes it after the supervisor's `run`.
    """
    color, depth = info.calibration.color, info.calibration.depth
    ring = Ring(
        (color.height, color.width),
        (depth.height, depth.width),
        policy=policy,
        slots=slots,
        readers=len(readers),
        restarts=info.kind == "device" or (info.kind == "synthetic" and policy == "latest"),
    )
    for reader, role in enumerate(readers):
        supervisor.send(role, command, SourceOffer(ring.name, info, reader))
    return ring


def start_capture(supervisor: Supervisor, ring_name: str, role: str = "capture") -> None:
    """Let the capture process fill the ring."""
    supervisor.send(role, "ring", ring_name)


def capture_role(settings: CaptureSettings, link: RoleLink) -> dict[str, Any]:
    """Process 'capture': opens the source, reports 'opened' with its `SourceInfo`, fills the ring it is given.

    Obeys 'pause' (toggles) and 'step' of a replay, and 'hold' (True or False) of a participant's pause, which it
    confirms. Returns frames written, drops by cause and the source's warnings.

    Raises:
        SourceError: the source cannot be opened or breaks off; the ring's readers get the text as the end.
    """
    control = ReplayControl(settings.paused)
    link.on("pause", lambda _: control.toggle())
    link.on("step", lambda _: control.step())
    with open_source(settings.config) as source:
        gate = PauseGate(is_live(source.info, settings.speed), control)
        link.on(HOLD, partial(_hold, gate, link))
        link.report("opened", source.info)
        name = link.receive("ring")
        if name is None:
            return {}
        capture = Capture(source, settings, link.stopping, control)
        with RingWriter(name) as writer:
            earlier = Counter(writer.earlier_drops)

            def write(frame: RGBDFrame) -> bool:
                writer.report_drops(earlier + Counter(capture.drops))
                return writer.write(frame, capture.stage_ns, link.stopping)

            for passed in gate.passed(following(capture.frames(), writer.last), write, link.stopping):
                if not passed:
                    writer.beat()
            drops = dict(earlier + Counter(capture.drops))
            writer.report_drops(drops)
            writer.end(source.info.warnings)
            return {"frames": writer.written, "drops": drops, "warnings": source.info.warnings}


def _hold(gate: PauseGate, link: RoleLink, paused: bool) -> None:
    link.tell(HELD, gate.hold(paused))


def following(frames: Iterable[RGBDFrame], last: tuple[int, int] | None) -> Iterator[RGBDFrame]:
    """Frames of a camera that was opened again, numbered on from the last one before; a new segment begins."""
    for frame in frames:
        if last is None:
            yield frame
        else:
            yield replace(frame, sequence=frame.sequence + last[0] + 1, segment=frame.segment + last[1] + 1)


def analysis_role(settings: AnalysisSettings, link: RoleLink) -> Mapping[str, Any]:
    """Process 'analysis': takes frames from the ring to the session until the stream's end.

    Tells 'ready' with the ring's name once frames may come, and reports 'status'.
    """
    session = settings.open_session(settings.config, link.tell)
    try:
        offer: SourceOffer | None = link.receive("source")
        if offer is None:
            return {}
        session.begin(offer.info)
        with RingReader(offer.ring, offer.reader) as reader:
            link.tell("ready", offer.ring)
            if offer.newest:
                reader.skip_to_newest()
            commands: SimpleQueue[Callable[[], None]] = SimpleQueue()
            link.on("interruption", lambda outage: commands.put(partial(session.interrupted, outage)))
            link.on("incident", lambda incident: commands.put(partial(session.note, incident)))
            link.on("memory", lambda memory_mb: commands.put(partial(session.memory, memory_mb)))
            link.on(HOLD, lambda hold: commands.put(partial(session.pause, hold)))
            link.on("reload", lambda reload: commands.put(partial(session.reload, reload)))
            link.on("marker", lambda marker: commands.put(partial(session.mark, marker)))
            found: deque[AnalyzerResult] = deque(maxlen=256)
            link.on("analyzer", found.append)
            reported_s = 0.0
            for frame in until_end(reader, link):
                while not commands.empty():
                    commands.get()()
                while found:
                    session.analyzed(found.popleft())
                if frame is not None:
                    session.push(frame, reader.stage_ns, reader.drops)
                else:
                    session.idle()
                if time.monotonic() - reported_s >= STATUS_EVERY_S:
                    reported_s = time.monotonic()
                    link.report("status", session.status())
            link.report("status", session.status())
            return session.finish(end_of(reader, link), reader.drops)
    finally:
        session.close()


def until_end(reader: RingReader, link: RoleLink) -> Iterator[RGBDFrame | None]:
    """Frames to the end, None where none comes for a while; after a stop those that are there: capture went before."""
    while not link.orphaned:
        frame = reader.read(0.05)
        if frame is None and (reader.end is not None or link.stopping()):
            return
        yield frame


def end_of(reader: RingReader, link: RoleLink) -> StreamEnd:
    """Why `until_end` came to its end."""
    if reader.end is not None:
        return reader.end
    return StreamEnd("failed", "the supervising process died" if link.orphaned else "capture never began")


class Capture:
    """Frames of an open source on their way to the analysis: paced, stamped, limited, decimated, counted."""

    def __init__(
        self, source: FrameSource, settings: CaptureSettings, stop: Callable[[], bool], control: ReplayControl
    ) -> None:
        self._source = source
        self._settings = settings
        self._stop = stop
        self._control = control
        self._left_out: Counter[str] = Counter()
        self.stage_ns: dict[str, int] = {}
        """Wall time of the stages of the newest frame."""

    @property
    def drops(self) -> dict[str, int]:
        """Drops by cause so far."""
        return {**self._source.drops, **self._left_out}

    def frames(self) -> Iterator[RGBDFrame]:
        """Frames when they are due."""
        settings, source = self._settings, self._source
        due = delivered(
            self._timed(), source.info, settings.speed, settings.clock, stop=self._stop, control=self._control
        )
        for frame in limited(due, settings.duration_s):
            if settings.last_frame is not None and frame.sequence > settings.last_frame:
                return
            cause = settings.left_out.get(frame.sequence, "decimated" if frame.sequence % settings.keep_every else "")
            if cause:
                self._left_out[cause] += 1
            else:
                yield frame

    def _timed(self) -> Iterator[RGBDFrame]:
        frames = self._source.frames()
        while True:
            started_ns = time.perf_counter_ns()
            frame = next(frames, None)
            if frame is None:
                return
            self.stage_ns = {"decode": time.perf_counter_ns() - started_ns}
            yield frame


def run_single_process(
    capture: CaptureSettings,
    analysis: AnalysisSettings,
    *,
    stop: Callable[[], bool],
    control: ReplayControl,
    tell: Tell,
    show_status: Callable[[Mapping[str, Any]], None],
    held: Callable[[], bool] = lambda: False,
) -> Mapping[str, Any]:
    """The work of capture and analysis in this process, without a ring; returns the session's totals.

    Args:
        capture, analysis: as for the processes.
        stop: ends it; asked for each frame and every 20 ms.
        control: of a replay.
        tell, show_status: for the operator.
        held: whether a participant's pause is asked for; looked at as often as `stop`.

    Raises:
        SourceError: as in `capture_role`, after the session was finished with the error's text.
    """
    session = analysis.open_session(analysis.config, tell)
    try:
        with open_source(capture.config) as source:
            session.begin(source.info)
            gate = PauseGate(is_live(source.info, capture.speed), control)

            def look() -> bool:
                if held() != gate.closed:
                    session.pause(gate.hold(not gate.closed))
                    session.idle()
                return stop()

            work = Capture(source, capture, look, control)
            shown_s = 0.0
            try:

                def push(frame: RGBDFrame) -> bool:
                    session.push(frame, work.stage_ns, work.drops)
                    return True

                for passed in gate.passed(work.frames(), push, look):
                    if not passed:
                        session.idle()
                    if time.monotonic() - shown_s >= STATUS_EVERY_S:
                        shown_s = time.monotonic()
                        show_status(session.status())
            except SourceError as error:
                session.finish(StreamEnd("failed", str(error)), work.drops)
                raise
            show_status(session.status())
            return session.finish(StreamEnd("ended", warnings=tuple(source.info.warnings)), work.drops)
    finally:
        session.close()
