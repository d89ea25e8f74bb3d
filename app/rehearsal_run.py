"""Runs a rehearsal with the processes of the planned session."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfam.capture.clock import SessionClock
from sfam.capture.recorder import OUTSIDE_CLIPS
from sfam.sinks.bus_address import PUBLISH_NOTHING
from sfam.sinks.config import SinksConfig
from sfam.stream.ring_segment import sweep

from .config import Config, ConfigError
from .detector_process import DetectorProcess
from .exit_codes import OK
from .keys import Keys
from .live import analysis_of, make_plan, set_up
from .live_processes import LiveProcesses
from .live_run import LiveRun
from .live_single import SingleProcess
from .rehearsal import Rehearsal, Rehearsed
from .sink_roles import require_sinks
from .status_line import StatusLine

LOST_ON_PURPOSE = (OUTSIDE_CLIPS, "decimated")


class RehearsalFailedError(RuntimeError):
    """The session ended badly, and has said why; `code` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the rehearsal ended with exit code {code}")
        self.code = code


class _Measured(LiveRun):
    """Keeps the totals, where a session tells of them and writes its report."""

    totals: Mapping[str, Any] = {}

    def _summarise(self, totals: Mapping[str, Any], folder: Path) -> None:
        self.totals = totals


class _Processes(_Measured, LiveProcesses):
    """A rehearsal in the processes of the session."""


class _Single(_Measured, SingleProcess):
    """A rehearsal in one process."""


def run_rehearsal(config: Config) -> Rehearsed:
    """Run for `config.app.duration_s`: the camera, the analysis, a recorder that keeps nothing, overlays.

    Writes no file. What overlays show comes over a port of this machine that nobody else is told of; sinks that keep
    results or pass them on (lsl, mcap, rerun, metrics, event clips) are left out.

    Raises:
        RehearsalFailedError: a process failed. SourceError, ModelError: the same in one process.
        ConfigError, SinkError: as for the session itself.
    """
    if config.app.cameras:
        raise ConfigError("several cameras are rehearsed one by one; name one with --camera")
    require_sinks(config.sinks)
    config = config.model_copy(update={"sinks": _shown_only(config.sinks)})
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
    if code != OK:
        raise RehearsalFailedError(code)
    found: Rehearsed = rehearsed.totals["rehearsed"]
    drops: Mapping[str, int] = (rehearsed.totals.get("recording") or {}).get("drops", {})
    return replace(found, recording_lost={one: n for one, n in drops.items() if n and one not in LOST_ON_PURPOSE})


def _shown_only(sinks: SinksConfig) -> SinksConfig:
    """The planned sinks without those that keep something or pass it on."""
    quiet: dict[str, object] = {
        "clips": False,
        "lsl": False,
        "mcap": None,
        "rerun": None,
        "metrics_port": None,
        "keys": None,
    }
    if sinks.publish != PUBLISH_NOTHING:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            quiet |= {"publish": f"tcp://127.0.0.1:{probe.getsockname()[1]}", "web_address": "127.0.0.1:0"}
    return sinks.model_copy(update=quiet)
