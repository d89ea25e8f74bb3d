"""`sfam serve`: a camera host. Its frames are analysed elsewhere, with `--camera tcp://HOST:PORT`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfam.capture.clock import SessionClock
from sfam.capture.frame_message import Packing
from sfam.capture.source import SourceInfo
from sfam.sinks.bus_address import require_private
from sfam.stream.ring import Ring
from sfam.stream.ring_segment import sweep

from .capture_role import CaptureSettings, capture_role
from .config import Config
from .recovery import CameraRecovery
from .ring_offer import offer_ring, start_capture
from .role import Retry, Role, RoleResult
from .serving_role import SERVING, ServingPlan, serving_role
from .status_line import StatusLine
from .supervisor import Supervisor
from .verdict import run_to_verdict

DEFAULT_ADDRESS = "tcp://127.0.0.1:5572"


def run_serve(
    config: Config,
    address: str,
    *,
    color: Packing = "jpeg",
    jpeg_quality: int = 95,
    quiet: bool = False,
    verbose: bool = False,
) -> int:
    """Send frames until the source ends, the duration is over or the operator stops; returns the exit code.

    Raises:
        SinkError: an address that other machines can reach, without keys or leave.
    """
    require_private(address, config.sinks.insecure or config.sinks.keys is not None)
    sweep()
    is_file = Path(config.capture.camera).expanduser().exists()
    plan = ServingPlan(address, config.sinks.keys, config.sinks.insecure, color, jpeg_quality, patient=is_file)
    with StatusLine(quiet) as line:
        return _Serving(config, plan, line, verbose).run()


class _Serving:
    """Capture and server as supervised processes; a camera that is lost is brought back."""

    def __init__(self, config: Config, plan: ServingPlan, line: StatusLine, verbose: bool) -> None:
        self._config = config
        self._line = line
        self._verbose = verbose
        self._ring: Ring | None = None
        self._ready = False
        self._started_s = time.monotonic()
        capture = CaptureSettings(config.capture, SessionClock.start(), duration_s=config.app.duration_s)
        self._recovery = CameraRecovery(capture, lambda text: line.say(f"warning: {text}"))
        self._supervisor = Supervisor(
            [Role("capture", capture_role, capture), Role("server", serving_role, plan)],
            on_message=self._on_message,
            on_tick=self._on_tick,
            on_failure=self._on_failure,
        )

    def run(self) -> int:
        """Run to the end; the first failure decides the exit code."""
        return run_to_verdict(self._supervisor, "server", _summary, self._release, self._line, self._verbose)

    def _release(self) -> None:
        if self._ring is not None:
            self._ring.close()

    def _on_message(self, role: str, kind: str, message: Any) -> None:
        if kind == "opened":
            self._opened(message)
        elif kind == "ready":
            self._ready = True
            self._start_writing()
        elif kind == SERVING:
            self._line.say(f"serving frames on {message}; elsewhere: sfam-live --camera tcp://THIS_HOST:PORT")
        elif kind == "status" and role == "server":
            self._line.show(message, time.monotonic() - self._started_s)
        elif kind == "warning":
            self._line.say(f"warning: {message}")

    def _opened(self, info: SourceInfo) -> None:
        for warning in info.warnings:
            self._line.say(f"warning: {warning}")
        if self._ring is None:
            self._recovery.opened(info)
            self._ring = offer_ring(self._supervisor, info, "latest", self._config.app.ring_slots, ("server",))
            return
        color, depth = info.calibration.color, info.calibration.depth
        if ((color.height, color.width), (depth.height, depth.width)) != self._ring.shapes:
            self._supervisor.kill("capture", f"came back with other image sizes ({color}, {depth})")
            return
        self._recovery.opened(info)
        if self._ready:
            self._start_writing()

    def _start_writing(self) -> None:
        assert self._ring is not None
        start_capture(self._supervisor, self._ring.name)
        self._recovery.streaming(self._ring.written)

    def _on_failure(self, role: Role, result: RoleResult) -> Retry | None:
        return self._recovery.failed(result)[0] if role.name == "capture" else None

    def _on_tick(self) -> None:
        if self._ring is None or not self._recovery.watches:
            return
        because = self._recovery.hangs(self._ring.writer_silence_s)
        if because is not None:
            self._supervisor.kill("capture", because)
        self._recovery.flowing(self._ring.written)
        if self._supervisor.stopping and self._recovery.is_lost:
            self._ring.fail(self._recovery.cause)


def _summary(totals: Mapping[str, Any]) -> str:
    lost = ", ".join(f"{count} {cause}" for cause, count in totals["drops"].items() if count) or "none"
    return f"{totals['frames']} frames sent, {totals['bytes'] / 1e6:.1f} MB; lost here: {lost}"
