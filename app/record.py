"""Recording without analysis: a camera through the ring into a file, or one file into another."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.recorder import Recorder, RecordingTotals
from sfam.capture.source import SourceError, open_source
from sfam.stream.ring import Policy, Ring
from sfam.stream.ring_segment import sweep

from .capture_role import CaptureSettings, capture_role
from .config import Config, ConfigError
from .live import is_lossless
from .recording_role import RecordingPlan, recorder_role, recorder_settings, recording_summary, require_new
from .ring_offer import offer_ring, start_capture
from .role import Role
from .status_line import StatusLine
from .supervisor import Supervisor
from .verdict import run_to_verdict


def run_record(config: Config, out: Path, *, speed: str = "max", quiet: bool = False, verbose: bool = False) -> int:
    """Record until the source ends, the duration is over or the operator stops; returns the exit code.

    Raises:
        ConfigError: the file exists, or a setting is wrong.
    """
    require_new(out)
    sweep()
    with StatusLine(quiet) as line:
        return _Recording(config, out, speed, line, verbose).run()


def run_convert(config: CaptureConfig, out: Path) -> RecordingTotals:
    """Write the recording that `config.camera` names as one of ours.

    Two conversions of one file are equal to the byte: arrival times of the reading are not kept, except those that a
    recording of ours holds itself.

    Raises:
        ConfigError, SourceError, RecordingError: as the parts do.
    """
    if not Path(config.camera).expanduser().exists():
        raise SourceError(f"{config.camera}: no such file; sfam convert takes recordings, sfam record takes cameras")
    require_new(out)
    with open_source(config) as source:
        recorder = Recorder(recorder_settings(config, out, lossless=True))
        recorder.begin(source.info)
        arrival_recorded = source.info.details["container"] == "sfam .mcap"
        try:
            for frame in source.frames():
                recorder.push(frame if arrival_recorded else replace(frame, t_host_ns=0), source.drops)
        except BaseException as error:
            recorder.finish("failed", str(error))
            raise
        recorder.report_drops(source.drops)
        return recorder.finish()


class _Recording:
    """Capture and recorder as supervised processes."""

    def __init__(self, config: Config, out: Path, speed: str, line: StatusLine, verbose: bool) -> None:
        self._config = config
        self._line = line
        self._verbose = verbose
        self._ring: Ring | None = None
        self._started_s = time.monotonic()
        replay = Path(config.capture.camera).expanduser().exists()
        try:
            self._speed = (math.inf if speed == "max" else float(speed)) if replay else 1.0
        except ValueError as error:
            raise ConfigError(f"--speed {speed!r}: write a number such as 1 or 0.25, or max") from error
        self._lossless = is_lossless(config)
        clock = SessionClock.start()
        capture = CaptureSettings(config.capture, clock, speed=self._speed, duration_s=config.app.duration_s)
        recording = RecordingPlan(recorder_settings(config.capture, out, lossless=self._lossless), clock, self._speed)
        roles = [Role("capture", capture_role, capture), Role("recorder", recorder_role, recording)]
        self._supervisor = Supervisor(roles, on_message=self._on_message)

    def run(self) -> int:
        """Run to the end; the first failure decides the exit code."""
        return run_to_verdict(self._supervisor, "recorder", recording_summary, self._release, self._line, self._verbose)

    def _release(self) -> None:
        if self._ring is not None:
            self._ring.close()

    def _on_message(self, role: str, kind: str, message: Any) -> None:
        if kind == "opened":
            policy: Policy = "lossless" if self._lossless else "latest"
            self._ring = offer_ring(self._supervisor, message, policy, self._config.app.ring_slots, ("recorder",))
        elif kind == "ready":
            start_capture(self._supervisor, message)
        elif kind == "status":
            self._line.show(message, time.monotonic() - self._started_s)
        elif kind == "warning":
            self._line.say(f"warning: {message}")
