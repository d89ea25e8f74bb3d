"""One live session: settle the plan, start the processes, show what happens, return the exit code."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from sfam.capture.clock import SessionClock
from sfam.capture.lsl import load_lsl, monotonic_ahead_ns
from sfam.capture.source import is_camera
from sfam.engine.model import load_model
from sfam.stream.ring_segment import sweep

from .analysis_role import AnalysisSession, AnalysisSettings
from .analyzer_role import require_analyzers
from .camera_feed import CameraSetup
from .capture_role import CaptureSettings
from .clip_role import ClipPlan, keeps_pictures, picture_settings
from .config import Config, ConfigError
from .detector_process import DetectorProcess
from .exit_codes import OK
from .keys import Keys
from .live_processes import LiveProcesses
from .live_single import SingleProcess
from .marker_role import require_markers, uses_lsl
from .recording_role import (
    RecordedSessionPlan,
    RecordingPlan,
    clip_settings,
    open_recorded_session,
    recorder_settings,
    require_new,
)
from .session import Session
from .session_plan import SessionPlan
from .several_cameras import Overview, configs_of, plans_of
from .sink_roles import require_sinks
from .status_line import StatusLine


def run_live(
    config: Config,
    *,
    force: bool = False,
    step: bool = False,
    quiet: bool = False,
    verbose: bool = False,
    reread: Callable[[], Config] | None = None,
    detector: DetectorProcess | None = None,
) -> int:
    """Run one session to its end; returns the exit code.

    Args:
        config: its settings.
        force: write into a folder that is not empty.
        step: start a replay paused.
        quiet: show only events and errors.
        verbose: print tracebacks.
        reread: reads the settings again, for SIGHUP.
        detector: the process that finds faces, where one is started already.

    Raises:
        ConfigError, ModelError: before anything started.
    """
    require_sinks(config.sinks)
    require_analyzers(config)
    require_markers(config)
    sweep()
    clock = SessionClock.start()
    typer.echo(load_model(config.engine.model).card(), err=True)
    plan = replace(make_plan(config, clock, force), clip_pictures=keeps_pictures(config))
    if config.app.cameras:
        return _run_several(config, plan, force, Operator(quiet, verbose, step, reread), detector)
    setup = set_up(config, plan, step=step)
    analysis = analysis_of(setup, Session)
    run = SingleProcess if config.app.single_process else LiveProcesses
    with StatusLine(quiet) as line, Keys() as keys:
        return run(config, [setup], analysis, line, keys, verbose, reread, detector).run()


@dataclass(frozen=True, slots=True)
class Operator:
    """How the operator wants it."""

    quiet: bool
    verbose: bool
    step: bool
    reread: Callable[[], Config] | None


def _run_several(
    config: Config, base: SessionPlan, force: bool, operator: Operator, detector: DetectorProcess | None
) -> int:
    """A session with several cameras.

    Raises:
        ConfigError: in one process, of different kinds, or into a folder that is not empty.
    """
    if config.app.single_process:
        raise ConfigError("several cameras need processes of their own; leave --single-process out")
    plans = plans_of(base, configs_of(config))
    if len({is_lossless(plan.config) for plan in plans.values()}) > 1:
        raise ConfigError("live cameras and recordings cannot share a session: the ones do not wait, the others do")
    overview = Overview(base.folder, plans, force)
    setups = [replace(set_up(plan.config, plan, step=operator.step), label=label) for label, plan in plans.items()]
    analysis = AnalysisSettings(open_session=Session, config=base)
    state = "failed"
    try:
        with StatusLine(operator.quiet) as line, Keys() as keys:
            run = LiveProcesses(config, setups, analysis, line, keys, operator.verbose, operator.reread, detector)
            code = run.run()
        state = "ended" if code == OK else "failed"
        return code
    finally:
        overview.write(state)


def set_up(config: Config, plan: SessionPlan, *, step: bool = False, discard: bool = False) -> CameraSetup:
    """What the settings say of one camera.

    Args:
        config, plan: of the session.
        step: start a replay paused.
        discard: make recordings and store none.

    Raises:
        ConfigError: as `plan_recording`.
    """
    capture = CaptureSettings(
        config=config.capture,
        clock=plan.clock,
        speed=_speed(config),
        duration_s=config.app.duration_s,
        keep_every=_keep_every(config.app.policy),
        paused=step,
    )
    recording = plan_recording(config, plan, discard=discard) if config.capture.record != "none" else None
    clips = ClipPlan(picture_settings(plan), plan.clock, _speed(config)) if plan.clip_pictures else None
    return CameraSetup(plan, capture, recording, clips)


def analysis_of(setup: CameraSetup, open_session: Callable[..., AnalysisSession]) -> AnalysisSettings:
    """What the analysis of one camera does; in a single process it records too."""
    if setup.recording is not None and setup.plan.config.app.single_process:
        recorded = RecordedSessionPlan(open_session, setup.plan, setup.recording)
        return AnalysisSettings(open_session=open_recorded_session, config=recorded)
    return AnalysisSettings(open_session=open_session, config=setup.plan)


def plan_recording(config: Config, plan: SessionPlan, *, discard: bool = False) -> RecordingPlan:
    """What `--record` stores in the session folder; with `discard` it is made and not stored.

    Raises:
        ConfigError: a privacy tier below full, or a recording is there already.
    """
    if config.sinks.privacy != "full":
        raise ConfigError(
            f"--record stores faces, which privacy tier {config.sinks.privacy!r} forbids; add --privacy full if the "
            "participant has agreed to it"
        )
    # where nothing is stored there need not be a folder, but its disk is looked at all the same
    folder = plan.folder.absolute()
    while discard and not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    path = folder / "recording.mcap"
    if not discard:
        require_new(path)
    settings = recorder_settings(config.capture, path, lossless=plan.lossless, clips=clip_settings(config.capture))
    return RecordingPlan(replace(settings, discard=discard), plan.clock, _speed(config), beside_analysis=True)


def make_plan(config: Config, clock: SessionClock, force: bool = False) -> SessionPlan:
    """Folder, id and overload policy of a session.

    Raises:
        ConfigError: lossless with a live camera.
    """
    name = time.strftime("%Y%m%d_%H%M%S", time.gmtime(clock.anchor_utc_ns / 1e9))
    folder = Path(config.sinks.out) if config.sinks.out else Path("sessions") / name
    return SessionPlan(
        config=config,
        session=folder.name or name,
        folder=folder,
        force=force,
        lossless=is_lossless(config),
        clock=clock,
        lsl_ahead_ns=monotonic_ahead_ns(load_lsl().local_clock) if config.sinks.lsl or uses_lsl(config) else None,
    )


def is_lossless(config: Config) -> bool:
    """Whether capture waits for analysis: files do unless told otherwise, live cameras never can.

    Raises:
        ConfigError: `--policy lossless` with a live camera.
    """
    camera = config.capture.camera
    live = is_camera(camera) and (camera != "demo" or config.app.speed == 1.0)
    if live and config.app.policy == "lossless":
        raise ConfigError(
            f"--policy lossless cannot hold with the live camera {camera!r}: it does not wait; use latest, or record "
            "first and replay the recording"
        )
    return not live and config.app.policy != "latest"


def _speed(config: Config) -> float:
    return math.inf if config.app.speed == "max" else float(config.app.speed)


def _keep_every(policy: str) -> int:
    name, _, every = policy.partition(":")
    return int(every) if name == "decimate" else 1
