"""A recording through the whole chain into a session folder, in one process or several: what verify and batch share."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfam.capture.clock import SessionClock
from sfam.capture.pacing import ReplayControl
from sfam.sinks.incident import Incident
from sfam.stream.ring import Policy, Ring

from .analysis_role import AnalysisSettings, analysis_role
from .capture_role import CaptureSettings, capture_role
from .config import Config
from .detector_process import DETECTOR_LOST, DetectorProcess
from .live import make_plan
from .ring_offer import offer_ring, start_capture
from .role import Role, RoleResult
from .session import Session
from .session_plan import Change
from .single_process import run_single_process
from .supervisor import Supervisor

FILE_POLICY: Policy = "lossless"


class ReplayError(RuntimeError):
    """A process of a replay failed; `error_names` are those of its error's class and bases."""

    def __init__(self, failed: RoleResult) -> None:
        super().__init__(failed.message)
        self.error_names = failed.error_names


class ReplayInterruptedError(KeyboardInterrupt):
    """The operator ended a replay before its end."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What to replay, and what to leave out of it."""

    config: Config
    left_out: Mapping[int, str] = field(default_factory=dict)
    """Frames that the session being replayed did not analyse, by cause."""
    last_frame: int | None = None
    changes: tuple[Change, ...] = ()
    """What took effect while that session ran."""


def replay_config(config: Config, **app: object) -> Config:
    """The settings of a quiet replay: no bus, no picture, the reader waits; `app` replaces keys of that section."""
    sinks = config.sinks.model_copy(update={"publish": "none", "overlay": "none"})
    settings = config.app.model_copy(update={"policy": FILE_POLICY, "speed": "max", "selftest": False, **app})
    return config.model_copy(update={"sinks": sinks, "app": settings})


def run_replay(
    replay: Replay,
    folder: Path,
    *,
    force: bool = False,
    stop: Callable[[], bool] = lambda: False,
    show_status: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Mapping[str, Any]:
    """Replay into a folder; returns the session's totals.

    Args:
        replay: whose `config.app.single_process` and `config.app.speed` say how.
        folder: becomes a session folder.
        force: overwrite a session in that folder.
        stop: asked about every 20 ms, in one process only; several end by the signals of the terminal.
        show_status: called some ten times a second, in one process only.

    Raises:
        ReplayError: a process failed.
        ReplayInterruptedError: Ctrl-C or SIGTERM came while several processes ran.
        SourceError, ModelError, SinkError: as the parts do, in one process.
    """
    sinks = replay.config.sinks.model_copy(update={"out": str(folder)})
    config = replay.config.model_copy(update={"sinks": sinks})
    clock = SessionClock.start()
    capture = CaptureSettings(
        config=config.capture,
        clock=clock,
        speed=math.inf if config.app.speed == "max" else float(config.app.speed),
        duration_s=config.app.duration_s,
        left_out=replay.left_out,
        last_frame=replay.last_frame,
    )
    plan = dataclasses.replace(make_plan(config, clock, force), left_out=replay.left_out, changes=replay.changes)
    analysis = AnalysisSettings(Session, plan)
    if config.app.single_process:
        return run_single_process(
            capture, analysis, stop=stop, control=ReplayControl(), tell=_unheard, show_status=show_status
        )
    return run_in_processes(capture, analysis, FILE_POLICY, config.app.ring_slots)


def _unheard(kind: str, message: object) -> None:
    """Events and warnings stand in the tables and in session.json."""


def run_in_processes(
    capture: CaptureSettings, analysis: AnalysisSettings, policy: Policy, slots: int
) -> Mapping[str, Any]:
    """Capture and analysis as processes, nothing around them; returns what the analysis returned.

    Raises:
        ReplayError: a process failed.
        ReplayInterruptedError: Ctrl-C or SIGTERM came.
    """
    rings: list[Ring] = []
    session: Config = analysis.config.config
    free = session.model_copy(update={"app": session.app.model_copy(update={"cpus_analysis": ()})})
    detector = DetectorProcess.beside(free)
    if detector is not None:
        analysis = detector.serve(analysis)

    def on_message(role: str, kind: str, message: Any) -> None:
        if kind == "opened":
            rings.append(offer_ring(supervisor, message, policy, slots))
        elif kind == "ready":
            start_capture(supervisor, message)
        elif kind == DETECTOR_LOST and detector is not None:
            detector.kill()
            supervisor.send("analysis", "incident", Incident(DETECTOR_LOST, time.monotonic_ns(), message))

    supervisor = Supervisor(
        [Role("capture", capture_role, capture), Role("analysis", analysis_role, analysis)], on_message=on_message
    )
    try:
        results = supervisor.run()
    finally:
        for ring in rings:
            ring.close()
        if detector is not None:
            detector.close()
    failed = next((result for result in results if not result.ok), None)
    if supervisor.interrupted:
        raise ReplayInterruptedError("the replay was interrupted")
    if failed is not None:
        raise ReplayError(failed)
    return results[1].value
