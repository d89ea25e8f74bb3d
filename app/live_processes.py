"""A session as supervised processes: what each of them says, what is done when one dies, what may change meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sfam.capture.source import SourceError
from sfam.sinks.bus_address import remove_socket_file
from sfam.sinks.incident import Incident, IncidentKind

from .affinity import require_cpus
from .analysis_role import AnalysisSettings, analysis_role
from .analyzer_role import PREFIX, RESULT, analyzer_roles, offer_to_analyzers
from .camera_feed import ANALYSIS, CameraFeed, CameraSetup
from .clip_role import PICTURES, clip_summary
from .config import ConfigError
from .copies_made import WRITES, SinkFiles
from .detector_process import DETECTOR_LOST
from .exit_codes import ENDED_EARLY, OK
from .handover import Handover
from .live_run import PAUSE_KEY, LiveRun, obey
from .marker_role import MARKER, marker_roles
from .memory_watch import MemoryWatch
from .message_queue import MESSAGES_LOST
from .pause import HELD, HOLD
from .recording_role import CLIP, SKIPPED
from .reload import reloaded
from .restarts import Restarts
from .role import Retry, Role, RoleResult
from .serve_faces import FACE
from .session_plan import EVENTS, SessionPlan
from .several_cameras import SeveralPlan, several_analysis_role
from .sink_roles import AWAITED, JOINED, METRICS_OPEN, OVERLAY, PAGE_OPEN, RERUN, RING, announce, on_port, sink_roles
from .supervisor import Supervisor
from .terminal import terminal_gone
from .verdict import failure_code, failures, say_failures


class LiveProcesses(LiveRun):
    """Capture, analysis and sinks as supervised processes."""

    def run(self) -> int:
        """Run to the end; the first failure that could not be mended decides the exit code."""
        app = self._config.app
        for name in ("capture", "analysis", "sinks"):
            require_cpus(getattr(app, f"cpus_{name}"), f"app.cpus_{name}")
        self._paused = self._cameras[0].capture.paused
        self._feeds = [self._feed(setup) for setup in self._cameras]
        self._restarts = Restarts()
        self._memory = MemoryWatch(app.memory_limit_mb)
        self._handover = Handover()
        self._is_over_limit = False
        self._pages: dict[str, str] = {}
        self._sink_files = SinkFiles(lambda text: self._tell("warning", text))
        self._supervisor = Supervisor(
            self._roles(),
            on_message=self._on_message,
            on_tick=self._on_tick,
            on_failure=self._on_failure,
            on_hangup=self._on_hangup,
        )
        try:
            results = self._supervisor.run()
        finally:
            for feed in self._feeds:
                feed.close()
            self._sink_files.ended()
            self._complete_markers()
            remove_socket_file(self._config.sinks.publish)
        values = {result.role: result.value for result in results}
        self._summarise_all(values)
        return self._verdict(results)

    def _feed(self, setup: CameraSetup) -> CameraFeed:
        app = self._config.app
        return CameraFeed(
            setup,
            lambda: self._supervisor,
            lambda text: self._tell("warning", text),
            app.cpus_capture,
            app.cpus_sinks,
            {role.name for role in sink_roles(self._config.sinks)} & AWAITED,
        )

    def _roles(self) -> list[Role]:
        """Upstream first."""
        config = self._config
        roles = [feed.capture() for feed in self._feeds]
        roles.append(self._analysis_role())
        sinks = sink_roles(config.sinks) + analyzer_roles(config, self._cameras[0].plan.folder)
        sinks += marker_roles(config, self._cameras[0].plan.clock)
        roles += [replace(role, cpus=config.app.cpus_sinks) for role in sinks]
        return roles + [role for feed in self._feeds for role in feed.keepers()]

    def _analysis_role(self) -> Role:
        cpus = self._config.app.cpus_analysis
        if len(self._cameras) == 1:
            return Role(ANALYSIS, analysis_role, self._one(self._analysis), cpus=cpus)
        plans = {setup.label: setup.plan for setup in self._cameras}
        return Role(ANALYSIS, several_analysis_role, self._several(plans), cpus=cpus)

    def _one(self, analysis: AnalysisSettings) -> AnalysisSettings:
        return analysis if self._detector is None else self._detector.serve(analysis)

    def _several(self, plans: Mapping[str, SessionPlan]) -> SeveralPlan:
        return SeveralPlan(plans, None if self._detector is None else self._detector.connection)

    def _feed_of(self, name: str) -> CameraFeed:
        """The camera that a role's or a message's name ends in."""
        return next((feed for feed in self._feeds if feed.suffix and name.endswith(feed.suffix)), self._feeds[0])

    def _on_message(self, role: str, kind: str, message: Any) -> None:
        feed = self._feed_of(kind if role == ANALYSIS else role)
        kind = kind.removesuffix(feed.suffix)
        if kind == "opened":
            if feed.request.is_set or self._handover.is_held(feed.suffix):
                # before any frame of a camera that comes back in a pause; or the end of one that it died in
                self._supervisor.send(feed.capture_name, HOLD, feed.request.is_set)
            feed.opened(message, self._config.app.ring_slots)
            if feed.info is not None and feed.ring is not None:
                self._supervisor.send(RERUN, RING, (feed.info.camera, feed.ring.name))
            self._supervisor.send(OVERLAY, *feed.look())
        elif kind == "ready" and not role.startswith(PREFIX):
            if role == ANALYSIS and not feed.started and feed.info is not None:
                offer_to_analyzers(self._supervisor, self._config, message, feed.info)
            feed.ready(role)
        elif kind == MARKER:
            self._handover.markers.append(message)
            for other in self._feeds:
                self._supervisor.send(ANALYSIS, f"{MARKER}{other.suffix}", message)
        elif kind == JOINED:
            for other in self._feeds:
                other.joined(role)
        elif kind == WRITES:
            self._sink_files.begun(self._feed_of(f" {message[0]}").setup.plan, role, message[1])
        elif kind == HELD:
            self._handover.holds[feed.suffix].append(message)
            self._supervisor.send(ANALYSIS, f"{HOLD}{feed.suffix}", message)
        elif kind == DETECTOR_LOST:
            if self._detector is not None:
                self._detector.kill()  # one that hangs would go on holding a processor
            self._incident("detector_lost", message)
        elif kind == MESSAGES_LOST:
            self._incident(MESSAGES_LOST, f"the {role} process was too busy, lost messages to or from it: {message}")
        elif kind == EVENTS:
            self._handover.events[feed.suffix] = message
        elif kind == RESULT:
            self._supervisor.send(ANALYSIS, RESULT, message)
        elif kind in (SKIPPED, CLIP):
            self._supervisor.send(feed.recorder_name, kind, message)
        elif kind == PICTURES:
            self._supervisor.send(feed.clips_name, kind, message)
        elif kind == "status" and role == ANALYSIS:
            self._handover.next_seq[feed.suffix] = message["next_seq"]
            self._show(message, feed.setup.label)
        elif kind in (PAGE_OPEN, METRICS_OPEN):
            announce(kind, message, self._line.say, again=role in self._pages)
            self._pages[role] = message
        elif kind not in ("status", "ready"):
            self._tell(kind, f"{feed.setup.label}: {message}" if feed.setup.label else message)

    def _on_failure(self, role: Role, result: RoleResult) -> Retry | None:
        feed = self._feed_of(role.name)
        if role.name == feed.capture_name:
            return feed.camera_failed(result)
        if role.name == ANALYSIS:
            return self._analysis_again(result)
        return self._sink_again(role, result, feed)

    def _analysis_again(self, result: RoleResult) -> Retry | None:
        """Start another analysis at the newest frame; never in a replay, whose results must not have a hole."""
        if any(feed.setup.plan.lossless or not feed.started for feed in self._feeds):
            return None
        pause_s = self._restarts.pause_s(result)
        if pause_s is None:
            return None
        self._tell("warning", f"{result.message}; another one is started in {pause_s:g} s")
        if self._verbose and result.trace:
            self._line.say(result.trace)
        plans = {feed.setup.label: feed.resumed(self._handover, result.message) for feed in self._feeds}
        if self._detector is not None:
            self._detector.again()
        one = len(plans) == 1
        settings = self._one(replace(self._analysis, config=plans[""])) if one else self._several(plans)
        return Retry(settings, pause_s, tuple(feed.analysis_failed() for feed in self._feeds))

    def _sink_again(self, role: Role, result: RoleResult, feed: CameraFeed) -> Retry | None:
        """Start a sink again, alone; one that says what is wrong, or dies again and again, stays away."""
        is_recorder = role.name == feed.recorder_name
        reads_ring = is_recorder or role.name == feed.clips_name
        pause_s = None if reads_ring and feed.setup.plan.lossless else self._restarts.pause_s(result)
        if pause_s is None:
            self._incident("sink_restart", f"{result.message}; the session goes on without it")
            for other in self._feeds:
                other.joined(role.name)
            return None
        self._incident("sink_restart", f"{result.message}; it is started again in {pause_s:g} s")
        if is_recorder:
            return feed.recorder_failed(pause_s)
        if role.name.startswith(PREFIX) or role.name == feed.clips_name:
            return Retry(role.settings, pause_s, feed.offers(role.name))
        if role.name == OVERLAY:
            looks = tuple(one.look() for one in self._feeds if one.ring is not None)
            return Retry(on_port(role.settings, self._pages.get(role.name, "")), pause_s, looks)
        return Retry(on_port(role.settings, self._pages.get(role.name, "")), pause_s)

    def _incident(self, kind: IncidentKind, text: str) -> None:
        """Tell the operator, and have it written down and published."""
        self._tell("warning", text)
        incident = Incident(kind, time.monotonic_ns(), text)
        self._handover.incidents.append(incident)
        for feed in self._feeds:
            self._supervisor.send(ANALYSIS, f"incident{feed.suffix}", incident)

    def _on_tick(self) -> None:
        for feed in self._feeds:
            feed.watch()
            feed.obey_request()
        held = self._memory.look(self._pids())
        if held is not None:
            self._judge_memory(held)

        def toggle() -> None:
            self._paused = not self._paused
            self._to_captures("pause")

        key = self._keys.pressed()
        if key == PAUSE_KEY or (key == " " and self._feeds[0].is_live):
            for feed in self._feeds:
                feed.request.toggle()
            return
        obey(key, toggle, lambda: self._to_captures("step"), self._paused)

    def _pids(self) -> dict[str, int]:
        return self._supervisor.pids() | ({} if self._detector is None else self._detector.pids)

    def _to_captures(self, command: str) -> None:
        for feed in self._feeds:
            self._supervisor.send(feed.capture_name, command)

    def _judge_memory(self, held: Mapping[str, float]) -> None:
        for feed in self._feeds:
            self._supervisor.send(ANALYSIS, f"memory{feed.suffix}", round(sum(held.values()), 1))
        for role, because in self._memory.over(held):
            self._incident("memory", f"the {role} process {because}")
            if role == MemoryWatch.OWN:
                self._is_over_limit = True
                self._supervisor.stop()
            elif role == FACE and self._detector is not None:
                self._detector.kill()
            else:
                self._supervisor.kill(role, because)

    def _on_hangup(self) -> None:
        """SIGHUP: take over what may change in a running session; the end where the terminal is gone."""
        if terminal_gone():
            self._supervisor.stop()
            return
        if self._reread is None:
            self._tell("warning", "SIGHUP: this session was not started from settings that can be read again")
            return
        try:
            fresh = self._reread()
        except ConfigError as error:
            self._tell("warning", f"SIGHUP: the settings stay as they are: {error}")
            return
        self._config, reload = reloaded(self._config, fresh)
        self._handover.reloaded(reload)
        self._memory.limit_mb = self._config.app.memory_limit_mb
        self._tell("reload", reload.text)
        for feed in self._feeds:
            self._supervisor.send(ANALYSIS, f"reload{feed.suffix}", reload)

    def _complete_markers(self) -> None:
        """Whatever became of the analysis, the markers that came stand in each session's folder."""
        for feed in self._feeds:
            try:
                self._handover.write_missing_markers(feed.setup.plan.folder)
            except (OSError, SourceError) as error:
                self._tell("warning", f"trial markers are missing from {feed.setup.plan.folder}: {error}")

    def _summarise_all(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        totals = values.get(ANALYSIS)
        if not totals:
            return
        for feed in self._feeds:
            label, recording = feed.setup.label, values.get(feed.recorder_name)
            of_camera = totals["cameras"].get(label, {}) if label else totals
            self._summarise({**of_camera, "recording": recording} if of_camera else {}, feed.setup.plan.folder)
            if values.get(feed.clips_name):
                self._line.say(clip_summary(values[feed.clips_name]))

    def _verdict(self, results: Sequence[RoleResult]) -> int:
        # An analyzer's end was told when it happened.
        failed = [result for result in failures(results) if not result.role.startswith(PREFIX)]
        say_failures(failed, self._line, self._verbose)
        code = failure_code([result for result in failed if result.role not in ("overlay", "metrics")])
        return code or (ENDED_EARLY if self._is_over_limit else OK)
