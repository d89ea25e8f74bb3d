"""What every way of running a session shares: the operator's line, keys, and the summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfam.sinks.report import write_report
from sfam.sinks.sink_error import SinkError

from .analysis_role import AnalysisSettings
from .camera_feed import CameraSetup
from .config import Config
from .detector_process import DetectorProcess
from .keys import Keys
from .recording_role import recording_summary
from .status_line import StatusLine

PAUSE_KEY = "x"
"""Of a participant's pause; space does the same where a camera is live."""


class LiveRun:
    """One session from start to end.

    Args:
        config: its settings.
        cameras: what was settled for each.
        analysis: what the analysis does.
        line, keys: the operator's.
        verbose: print tracebacks.
        reread: reads the settings again, for SIGHUP.
        detector: the process that finds faces, where the caller has started one already, and ends it too.
    """

    def __init__(
        self,
        config: Config,
        cameras: Sequence[CameraSetup],
        analysis: AnalysisSettings,
        line: StatusLine,
        keys: Keys,
        verbose: bool,
        reread: Callable[[], Config] | None = None,
        detector: DetectorProcess | None = None,
    ) -> None:
        self._config = config
        self._cameras = cameras
        self._analysis = analysis
        self._line = line
        self._keys = keys
        self._verbose = verbose
        self._reread = reread
        self._detector = detector
        self._started_s = time.monotonic()
        self._shown: dict[str, Mapping[str, Any]] = {}

    def _tell(self, kind: str, text: Any) -> None:
        self._line.say(f"warning: {text}" if kind == "warning" else str(text))

    def _show(self, status: Mapping[str, Any], label: str = "") -> None:
        self._shown[label] = status
        if len(self._cameras) > 1:
            status = {"text": "   ".join(_short(label, one) for label, one in sorted(self._shown.items()))}
        self._line.show(status, time.monotonic() - self._started_s)

    def _summarise(self, totals: Mapping[str, Any], folder: Path) -> None:
        if not totals:
            return
        lost = ", ".join(f"{count} {cause}" for cause, count in totals["dropped"].items() if count) or "none"
        events = ", ".join(f"{count} {state}" for state, count in totals["events"].items()) or "none"
        if self._config.sinks.blind:
            events = "kept in the session folder (blind)"
        self._line.say(
            f"{totals['analysed']} of {totals['offered']} frames analysed in {totals['analysis_s']:.2f} s, "
            f"lost: {lost}; events: {events}; results in {folder}"
        )
        withheld = totals["without_window"]
        if totals["analysed"] and withheld.get("no_face", 0) + withheld.get("detecting", 0) == totals["analysed"]:
            self._line.say(f"no face was found in {totals['analysed']} frames: light, distance, or nobody was there")
        try:
            page = write_report(folder, recording=False)
        except SinkError as error:
            self._tell("warning", f"no report: {error}")
        else:
            self._line.say(f"report: {page}")
        if totals.get("recording"):
            self._line.say(recording_summary(totals["recording"]))


def _short(label: str, status: Mapping[str, Any]) -> str:
    """One camera of several in the status line."""
    latency = (status.get("latency_ms") or {}).get("p99", 0.0)
    return f"{label}: {status['fps']:.1f} fps  drops {status['dropped']}  {latency:.0f} ms p99  face {status['face']}"


def obey(key: str, toggle: Callable[[], None], step: Callable[[], None], paused: bool) -> None:
    """Space pauses; while paused, space lets one frame through and p runs on."""
    if key == " " and paused:
        step()
    elif key == " " or (key == "p" and paused):
        toggle()
    elif key == "\x03":
        sys.exit(130)
