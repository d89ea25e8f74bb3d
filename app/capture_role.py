"""Process 'capture': a source's frames on their way into the ring."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.pacing import ReplayControl, delivered, is_live, limited
from sfam.capture.source import FrameSource, open_source
from sfam.stream.ring_writer import RingWriter

from .pause import HELD, HOLD, PauseGate
from .role_link import RoleLink


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
