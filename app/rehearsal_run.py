"""Runs a rehearsal with the processes of the planned session."""

from __future__ import annotations

import math
from typing import Any

from sfam.capture.clock import SessionClock
from sfam.capture.pacing import ReplayControl
from sfam.stream.ring import Policy

from .analysis_role import AnalysisSettings
from .capture_role import CaptureSettings
from .config import Config
from .live import make_plan
from .rehearsal import Rehearsal, Rehearsed
from .replay import run_in_processes
from .single_process import run_single_process


def run_rehearsal(config: Config) -> Rehearsed:
    """Run for `config.app.duration_s`; writes no file and opens no port.

    Raises:
        ReplayError: a process failed. SourceError, ModelError: the same in one process.
        ConfigError: as for the session itself.
    """
    sinks = config.sinks.model_copy(update={"publish": "none", "overlay": "none"})
    config = config.model_copy(update={"sinks": sinks})
    clock = SessionClock.start()
    plan = make_plan(config, clock)
    speed = math.inf if config.app.speed == "max" else float(config.app.speed)
    name, _, every = config.app.policy.partition(":")
    capture = CaptureSettings(
        config.capture, clock, speed, config.app.duration_s, int(every) if name == "decimate" else 1
    )
    analysis = AnalysisSettings(Rehearsal, plan)
    if config.app.single_process:
        totals = run_single_process(
            capture, analysis, stop=lambda: False, control=ReplayControl(), tell=_unheard, show_status=lambda _: None
        )
    else:
        policy: Policy = "lossless" if plan.lossless else "latest"
        totals = run_in_processes(capture, analysis, policy, config.app.ring_slots)
    found: Rehearsed = totals["rehearsed"]
    return found


def _unheard(kind: str, message: Any) -> None:
    """Events are counted; a rehearsal's verdict says the rest."""
