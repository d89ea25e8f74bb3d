"""Process 'analysis': frames out of the ring into a session."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol

from sfam.capture.frame import RGBDFrame
from sfam.capture.marker import Marker
from sfam.capture.source import SourceInfo
from sfam.sinks.incident import Incident
from sfam.stream.analyzer import AnalyzerResult
from sfam.stream.ring_reader import RingReader, StreamEnd

from .interruption import Interruption
from .pause import HOLD, Hold
from .ring_offer import SourceOffer, end_of, until_end
from .role_link import STATUS_EVERY_S, RoleLink, Tell
from .session_plan import Reload


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

    def spare(self) -> None:
        """A moment for 10 to 30 ms of work that no result depends on: no frame waits, or none is in a hurry."""

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
    """Takes `config` and `Tell`, loads model and face backend before the source is known; picklable by its name."""
    config: Any
    """Picklable, for `open_session`."""


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

            def obey() -> None:
                while not commands.empty():
                    commands.get()()
                while found:
                    session.analyzed(found.popleft())

            reported_s = 0.0
            for frame in until_end(reader, link):
                obey()
                if frame is not None:
                    session.push(frame, reader.stage_ns, reader.drops)
                else:
                    session.idle()
                if frame is None or not reader.waiting:
                    session.spare()
                if time.monotonic() - reported_s >= STATUS_EVERY_S:
                    reported_s = time.monotonic()
                    link.report("status", session.status())
            obey()
            link.report("status", session.status())
            return session.finish(end_of(reader, link), reader.drops)
    finally:
        session.close()
