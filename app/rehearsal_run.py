"""Runs a rehearsal with the processes of the planned session."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfam.capture.clock import SessionClock
from sfam.capture.recorder import QUEUE_FULL, WRITE_ERROR
from sfam.sinks.bus_address import PUBLISH_NOTHING
from sfam.sinks.event_clip import CLIP_TIERS
from sfam.stream.ring_reader import OVERWRITTEN
from sfam.stream.ring_segment import sweep

from .analyzer_role import require_analyzers
from .camera_feed import ANALYSIS
from .config import Config, ConfigError
from .detector_process import DetectorProcess
from .exit_codes import ENDED_EARLY, OK
from .keys import Keys
from .live import analysis_of, make_plan, set_up
from .live_processes import LiveProcesses
from .live_run import LiveRun
from .live_single import SingleProcess
from .marker_role import require_markers
from .rehearsal import Rehearsal, Rehearsed
from .role import RoleResult
from .sink_roles import require_no_sinks, require_sinks
from .status_line import StatusLine
from .verdict import failures

LOST_BY_RECORDER = (QUEUE_FULL, WRITE_ERROR, OVERWRITTEN)
"""Causes for which the recorder answers, and not the camera."""


class RehearsalFailedError(RuntimeError):
    """The session ended badly, and has said why; `code` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the rehearsal ended with exit code {code}")
        self.code = code


class _Measured(LiveRun):
    """Keeps the totals, where a session tells of them and writes its report."""

    totals: Mapping[str, Any] = {}
    died: tuple[str, ...] = ()
    """What processes that are not essential ended of."""

    def _summarise(self, totals: Mapping[str, Any], folder: Path) -> None:
        self.totals = totals


class _Processes(_Measured, LiveProcesses):
    """A rehearsal in the processes of the session."""

    def run(self) -> int:
        code = super().run()
        if self._supervisor.interrupted:
            raise KeyboardInterrupt
        return code

    def _verdict(self, results: Sequence[RoleResult]) -> int:
        essential = {ANALYSIS, *(feed.capture_name for feed in self._feeds)}
        self.died = tuple(result.message for result in failures(results) if result.role not in essential)
        return super()._verdict([result for result in results if result.ok or result.role in essential])


class _Single(_Measured, SingleProcess):
    """A rehearsal in one process."""

    def run(self) -> int:
        code = super().run()
        if self.interrupted:
            raise KeyboardInterrupt
        return code


def run_rehearsal(config: Config) -> Rehearsed:
    """Run for `config.app.duration_s`: the camera, the analysis, a recorder that keeps nothing, overlays.

    Writes no file. What overlays show comes over a port of this machine that nobody else is told of; what keeps
    results or passes them on (lsl, mcap, rerun, metrics, event clips, analyzers, markers) is left out. A camera that is
    lost ends it.

    Raises:
        RehearsalFailedError: camera or analysis failed. SourceError, ModelError: the same in one process.
        ConfigError, SinkError: as for the session itself.
        KeyboardInterrupt: it was interrupted, so nothing can be said.
    """
    _require(config)
    not_rehearsed = _left_out(config)
    config = _shown_only(config)
    sweep()
    setup = set_up(config, make_plan(config, SessionClock.start()), discard=True)
    run = _Single if config.app.single_process else _Processes
    detector = DetectorProcess.beside(config)
    try:
        with StatusLine(quiet=True) as line, Keys() as keys:
            rehearsed = run(config, [setup], analysis_of(setup, Rehearsal), line, keys, False, None, detector)
            code = rehearsed.run()
    finally:
        if detector is not None:
            detector.close()
    if code != OK or "rehearsed" not in rehearsed.totals:
        raise RehearsalFailedError(code or ENDED_EARLY)
    found: Rehearsed = rehearsed.totals["rehearsed"]
    drops: Mapping[str, int] = (rehearsed.totals.get("recording") or {}).get("drops", {})
    lost = {cause: drops[cause] for cause in LOST_BY_RECORDER if drops.get(cause)}
    untold = tuple(text for text in rehearsed.died if not any(text in told for told in found.incidents))
    return replace(found, recording_lost=lost, incidents=found.incidents + untold, not_rehearsed=not_rehearsed)


def _require(config: Config) -> None:
    """Refuse what the session would refuse."""
    if config.app.cameras:
        raise ConfigError("several cameras are rehearsed one by one; name one with --camera")
    require_sinks(config.sinks)
    require_analyzers(config)
    require_markers(config)
    if config.app.single_process:
        require_no_sinks(config.sinks)


def _left_out(config: Config) -> tuple[str, ...]:
    """What the settings ask for of all that `_shown_only` takes away."""
    sinks = config.sinks
    asked = {
        "event clips": sinks.clips and sinks.privacy in CLIP_TIERS,
        "lsl": sinks.lsl,
        "mcap": sinks.mcap is not None,
        "rerun": sinks.rerun is not None,
        "metrics": sinks.metrics_port is not None,
        "analyzers": bool(config.app.analyzers),
        "markers": config.app.markers is not None,
    }
    return tuple(name for name, is_asked in asked.items() if is_asked)


def _shown_only(config: Config) -> Config:
    """The planned settings without what keeps something or passes it on, for a camera that must not be lost."""
    quiet: dict[str, object] = {"clips": False, "lsl": False, "mcap": None, "rerun": None, "metrics_port": None}
    if config.sinks.publish != PUBLISH_NOTHING:
        quiet |= _private_bus()
    return config.model_copy(
        update={
            "sinks": config.sinks.model_copy(update=quiet),
            "app": config.app.model_copy(update={"analyzers": {}, "markers": None}),
            "capture": config.capture.model_copy(update={"give_up_timeout": 0.0}),
        }
    )


def _private_bus() -> dict[str, object]:
    """Settings of a bus and a page on free ports of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {"publish": f"tcp://127.0.0.1:{port}", "keys": None, "web_address": "127.0.0.1:0"}
