"""One live session: settle the plan, start the processes, show what happens, return the exit code."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from sfam.capture.clock import SessionClock
from sfam.capture.pacing import ReplayControl
from sfam.capture.source import SOURCES, SourceInfo
from sfam.engine.model import load_model
from sfam.sinks.report import write_report
from sfam.sinks.sink_error import SinkError
from sfam.stream.ring import Policy, Ring
from sfam.stream.ring_segment import sweep

from .analyzer_role import PREFIX, RESULT, analyzer_roles, offer_to_analyzers, require_analyzers
from .config import Config, ConfigError
from .exit_codes import OK, exit_code
from .keys import Keys
from .recording_role import (
    CLIP,
    SKIPPED,
    RecordedSessionPlan,
    RecordingPlan,
    clip_settings,
    open_recorded_session,
    recorder_role,
    recorder_settings,
    recording_summary,
    require_new,
)
from .recovery import CameraRecovery
from .roles import (
    AnalysisSettings,
    CaptureSettings,
    analysis_role,
    capture_role,
    offer_ring,
    run_single_process,
    start_capture,
)
from .session import open_session
from .session_plan import SessionPlan
from .sink_roles import METRICS_OPEN, PAGE_OPEN, announce, require_sinks, sink_roles
from .status_line import StatusLine
from .supervisor import Retry, Role, RoleResult, Supervisor


def run_live(
    config: Config, *, force: bool = False, step: bool = False, quiet: bool = False, verbose: bool = False
) -> int:
    """Run one session to its end; returns the exit code.

    Raises:
        ConfigError, ModelError: before anything started.
    """
    require_sinks(config.sinks)
    require_analyzers(config)
    sweep()
    clock = SessionClock.start()
    typer.echo(load_model(config.engine.model).card(), err=True)
    plan = make_plan(config, clock, force)
    capture = CaptureSettings(
        config=config.capture,
        clock=clock,
        speed=_speed(config),
        duration_s=config.app.duration_s,
        keep_every=_keep_every(config.app.policy),
        paused=step,
    )
    analysis = AnalysisSettings(open_session=open_session, config=plan)
    recording = plan_recording(config, plan) if config.capture.record != "none" else None
    if recording is not None and config.app.single_process:
        recorded = RecordedSessionPlan(open_session, plan, recording)
        analysis = AnalysisSettings(open_session=open_recorded_session, config=recorded)
    run = _SingleProcess if config.app.single_process else _Processes
    with StatusLine(quiet) as line, Keys() as keys:
        return run(config, plan, capture, analysis, line, keys, verbose, recording).run()


def plan_recording(config: Config, plan: SessionPlan) -> RecordingPlan:
    """What `--record` stores in the session folder.

    Raises:
        ConfigError: a privacy tier below full, or a recording is there already.
    """
    if config.sinks.privacy != "full":
        raise ConfigError(
            f"--record stores faces, which privacy tier {config.sinks.privacy!r} forbids; add --privacy full if the "
            "participant has agreed to it"
        )
    path = plan.folder / "recording.mcap"
    require_new(path)
    settings = recorder_settings(config.capture, path, lossless=plan.lossless, clips=clip_settings(config.capture))
    return RecordingPlan(settings, plan.clock, _speed(config), beside_analysis=True)


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
    )


def is_lossless(config: Config) -> bool:
    """Whether capture waits for analysis: files do unless told otherwise, live cameras never can.

    Raises:
        ConfigError: `--policy lossless` with a live camera.
    """
    camera = config.capture.camera.partition(":")[0]
    live = camera in SOURCES.keys() - {"demo"} or (camera == "demo" and config.app.speed == 1.0)
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


class _Run:
    """What both ways of running share: the operator's line, keys, and the summary."""

    def __init__(
        self,
        config: Config,
        plan: SessionPlan,
        capture: CaptureSettings,
        analysis: AnalysisSettings,
        line: StatusLine,
        keys: Keys,
        verbose: bool,
        recording: RecordingPlan | None = None,
    ) -> None:
        self._config = config
        self._plan = plan
        self._capture = capture
        self._analysis = analysis
        self._line = line
        self._keys = keys
        self._verbose = verbose
        self._recording = recording
        self._started_s = time.monotonic()

    def _tell(self, kind: str, text: Any) -> None:
        self._line.say(f"warning: {text}" if kind == "warning" else str(text))

    def _show(self, status: Mapping[str, Any]) -> None:
        self._line.show(status, time.monotonic() - self._started_s)

    def _summarise(self, totals: Mapping[str, Any]) -> None:
        if not totals:
            return
        lost = ", ".join(f"{count} {cause}" for cause, count in totals["dropped"].items() if count) or "none"
        events = ", ".join(f"{count} {state}" for state, count in totals["events"].items()) or "none"
        if self._config.sinks.blind:
            events = "kept in the session folder (blind)"
        self._line.say(
            f"{totals['analysed']} of {totals['offered']} frames analysed in {totals['analysis_s']:.2f} s, "
            f"lost: {lost}; events: {events}; results in {self._plan.folder}"
        )
        try:
            page = write_report(self._plan.folder, pictures=False)
        except SinkError as error:
            self._tell("warning", f"no report: {error}")
        else:
            self._line.say(f"report: {page}")
        if totals.get("recording"):
            self._line.say(recording_summary(totals["recording"]))


class _SingleProcess(_Run):
    """Capture and analysis one after the other in this process."""

    def run(self) -> int:
        """Run to the end; errors of ours pass to the caller."""
        if sink_roles(self._config.sinks):
            raise ConfigError("--overlay and --metrics need processes of their own; leave --single-process out")
        stopping = False

        def on_interrupt(*_: object) -> None:
            nonlocal stopping
            if stopping:
                raise KeyboardInterrupt
            stopping = True

        control = ReplayControl(self._capture.paused)

        def stop() -> bool:
            # Asked every 20 ms also while a paused replay waits, so keys are looked at here.
            _obey(self._keys.pressed(), control.toggle, control.step, control.paused)
            return stopping

        before = signal.signal(signal.SIGINT, on_interrupt)
        try:
            totals = run_single_process(
                self._capture,
                self._analysis,
                stop=stop,
                control=control,
                tell=self._tell,
                show_status=self._show,
            )
        finally:
            signal.signal(signal.SIGINT, before)
        self._summarise(totals)
        return OK


class _Processes(_Run):
    """Capture, analysis and overlay as supervised processes."""

    def run(self) -> int:
        """Run to the end; the first failure decides the exit code."""
        self._ring: Ring | None = None
        self._paused = self._capture.paused
        self._readers = ["analysis"] + ["recorder"] * (self._recording is not None)
        self._ready: set[str] = set()
        roles = [
            Role("capture", capture_role, self._capture),
            Role("analysis", analysis_role, self._analysis),
        ]
        roles += sink_roles(self._config.sinks)
        roles += analyzer_roles(self._config, self._plan.folder)
        if self._recording is not None:
            roles.append(Role("recorder", recorder_role, self._recording, essential=False))
        self._recovery = CameraRecovery(self._capture, lambda text: self._tell("warning", text))
        self._supervisor = Supervisor(
            roles, on_message=self._on_message, on_tick=self._on_tick, on_failure=self._on_failure
        )
        try:
            results = self._supervisor.run()
        finally:
            if self._ring is not None:
                self._ring.close()
        values = {result.role: result.value for result in results}
        if totals := values.get("analysis"):
            self._summarise({**totals, "recording": values.get("recorder")})
        return self._verdict(results)

    def _on_message(self, role: str, kind: str, message: Any) -> None:
        if kind == "opened" and self._ring is not None:
            self._opened_again(message)
        elif kind == "opened":
            self._recovery.opened(message)
            self._info: SourceInfo = message
            policy: Policy = "lossless" if self._plan.lossless else "latest"
            slots = self._config.app.ring_slots
            self._ring = offer_ring(self._supervisor, message, policy, slots, self._readers)
        elif kind == "ready" and role.startswith(PREFIX):
            return
        elif kind == "ready":
            self._ready.add(role)
            if role == "analysis":
                offer_to_analyzers(self._supervisor, self._config, message, self._info)
            if self._ready == set(self._readers):
                self._start_writing()
        elif kind == RESULT:
            self._supervisor.send("analysis", RESULT, message)
        elif kind in (SKIPPED, CLIP):
            self._supervisor.send("recorder", kind, message)
        elif kind == "status" and role == "analysis":
            self._show(message)
        elif kind == "status":
            return
        elif kind in (PAGE_OPEN, METRICS_OPEN):
            announce(kind, message, self._line.say)
        else:
            self._tell(kind, message)

    def _opened_again(self, info: SourceInfo) -> None:
        """The lost camera is back: it goes on in the ring, where it has the same sizes as before."""
        assert self._ring is not None
        color, depth = info.calibration.color, info.calibration.depth
        if ((color.height, color.width), (depth.height, depth.width)) != self._ring.shapes:
            self._supervisor.kill("capture", f"came back with other image sizes ({color}, {depth})")
            return
        self._recovery.opened(info)
        for warning in info.warnings:
            self._tell("warning", warning)
        if self._ready == set(self._readers):
            self._start_writing()

    def _start_writing(self) -> None:
        assert self._ring is not None
        start_capture(self._supervisor, self._ring.name)
        self._recovery.streaming(self._ring.written)

    def _on_failure(self, role: Role, result: RoleResult) -> Retry | None:
        if role.name.startswith(PREFIX):
            self._tell("warning", f"{result.message}; the session goes on without it")
        if role.name != "capture":
            return None
        retry, outage = self._recovery.failed(result)
        if outage is not None:
            self._supervisor.send("analysis", "interruption", outage)
        return retry

    def _watch_camera(self) -> None:
        """Kill a capture process that hangs; tell the analysis when frames come again; end what stays away."""
        if self._ring is None or not self._recovery.watches:
            return
        because = self._recovery.hangs(self._ring.writer_silence_s)
        if because is not None:
            self._supervisor.kill("capture", because)
        outage = self._recovery.flowing(self._ring.written)
        if outage is not None:
            self._supervisor.send("analysis", "interruption", outage)
        if self._supervisor.stopping and self._recovery.is_lost:
            self._ring.fail(self._recovery.cause)

    def _on_tick(self) -> None:
        self._watch_camera()

        def toggle() -> None:
            self._paused = not self._paused
            self._supervisor.send("capture", "pause")

        _obey(self._keys.pressed(), toggle, lambda: self._supervisor.send("capture", "step"), self._paused)

    def _verdict(self, results: tuple[RoleResult, ...]) -> int:
        failed = [result for result in results if not result.ok]
        # Who was still starting when another failed is a consequence, not news.
        failed = [result for result in failed if not result.terminated] or failed
        failed = [result for result in failed if not result.role.startswith(PREFIX)]  # told when it happened
        for result in failed:
            self._line.say(f"sfam: {result.role}: {result.message}")
            if self._verbose and result.trace:
                self._line.say(result.trace)
        essential = [result for result in failed if result.role not in ("overlay", "metrics")]
        if not essential:
            return OK
        codes = [exit_code(list(result.error_names)) for result in essential]
        return next((code for code in codes if code is not None), 1)


def _obey(key: str, toggle: Any, step: Any, paused: bool) -> None:
    """Space pauses; while paused, space lets one frame through and p runs on."""
    if key == " " and paused:
        step()
    elif key == " " or (key == "p" and paused):
        toggle()
    elif key == "\x03":
        sys.exit(130)
