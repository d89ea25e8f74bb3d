"""What a session knows of an event's moments beside the frame: other clocks, the trial that ran, the clock's error."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from sfam.capture.flash_sync import SyncResult, last_sync
from sfam.capture.frame import RGBDFrame
from sfam.capture.marker import Marker, Trial, Trials
from sfam.capture.marker_file import MARKERS_FILE, read_markers
from sfam.capture.pacing import is_live
from sfam.capture.source import SourceInfo
from sfam.engine.events import Event, Moment

from .config import Config
from .session_plan import SessionPlan

KEPT_FRAMES = 4096
"""Frames whose stamps are remembered: more than two minutes at 30 a second, far more than an event lasts."""


class EventTimes:
    """Completes events before they leave.

    Args:
        live: frames carry the time they arrived at; else host and LSL clocks mean nothing and stay unknown.
        t_error_us: of this camera's sync test; None where none was made.
        lsl_ahead_ns: by which the host's monotonic clock is ahead of LSL's; None where LSL is not used.
    """

    def __init__(self, live: bool = False, t_error_us: float | None = None, lsl_ahead_ns: int | None = None) -> None:
        self._live = live
        self._t_error_us = t_error_us
        self._lsl_ahead_ns = lsl_ahead_ns
        self._frames: OrderedDict[int, tuple[int, int | None, int]] = OrderedDict()
        self._trials = Trials()

    def seen(self, frame: RGBDFrame) -> None:
        """Remember what the clocks said at a frame."""
        self._frames[frame.sequence] = (frame.t_device_ns, frame.t_global_ns, frame.t_host_ns)
        if len(self._frames) > KEPT_FRAMES:
            self._frames.popitem(last=False)

    def mark(self, marker: Marker) -> Trial:
        """Enter a trial marker; the trial it begins."""
        return self._trials.add(marker)

    def complete(self, event: Event) -> Event:
        """The event with all that is known of its moments; an event belongs to the trial that ran at its onset."""
        trial = self._trials.at(event.onset.t_capture_ns)
        return replace(
            event,
            onset=self._moment(event.onset),
            apex=self._moment(event.apex),
            offset=self._moment(event.offset),
            trial=trial.trial or event.trial,
            condition=trial.condition or event.condition,
            t_error_us=self._t_error_us,
        )

    def _moment(self, moment: Moment) -> Moment:
        stamps = self._frames.get(moment.frame)
        if stamps is None:
            return moment
        device_ns, global_ns, host_ns = stamps
        on_lsl = self._live and self._lsl_ahead_ns is not None
        return replace(
            moment,
            t_device_ns=device_ns,
            t_global_ns=global_ns,
            t_host_ns=host_ns if self._live else None,
            t_lsl_s=round((moment.t_capture_ns - (self._lsl_ahead_ns or 0)) / 1e9, 9) if on_lsl else None,
        )


def event_times(plan: SessionPlan, info: SourceInfo) -> EventTimes:
    """What a session can know of its events' moments."""
    tested = sync_test(plan.config, info)
    live = is_live_session(plan.config, info)
    return EventTimes(live, None if tested is None else tested.t_error_us, plan.lsl_ahead_ns if live else None)


def sync_test(config: Config, info: SourceInfo) -> SyncResult | None:
    """The sync test of the camera; None where none was made, and for recordings.

    Raises:
        SourceError: what is kept of it is damaged.
    """
    return last_sync(info.camera) if info.kind == "device" and is_live_session(config, info) else None


def known_markers(plan: SessionPlan) -> list[Marker]:
    """Markers that are there before the first frame: of the session being replayed, or of an analysis that died.

    Raises:
        SourceError: their file cannot be read.
    """
    if plan.resume is not None:
        left = plan.folder / MARKERS_FILE
        written = read_markers(left) if left.exists() else []
        known = set(written)
        return written + [marker for marker in plan.resume.markers if marker not in known]
    asked = plan.config.app.markers
    return read_markers(Path(asked)) if asked is not None and asked.endswith(".jsonl") else []


def is_live_session(config: Config, info: SourceInfo) -> bool:
    """True where frames carry the time they arrive at."""
    return is_live(info, math.inf if config.app.speed == "max" else float(config.app.speed))
