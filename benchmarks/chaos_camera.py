"""A demo camera whose plug can be pulled: for as long as a file lies there, it is lost and cannot be opened.

It is offered to `sfam-live --camera pluggable` by entry point, as any package may offer one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sfam.capture.config import CaptureConfig
from sfam.capture.frame import ClockDomain, RGBDFrame
from sfam.capture.source import AbsentError, FrameSource, SourceError, SourceInfo
from sfam.capture.synthetic import DEMO_FPS, SyntheticSource

NAME = "pluggable"
UNPLUGGED = "CHAOS_UNPLUGGED"
"""Environment variable with the file."""


def install(folder: Path) -> Path:
    """What an installed package with this camera looks like on the path; returns the entry for `sys.path`."""
    facts = folder / "pluggable_camera-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: pluggable-camera\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[sfam.sources]\n{NAME} = {__name__}:PluggableCamera\n")
    return folder


class PluggableCamera(FrameSource):
    """The demo face at 30 fps of the wall clock, as a device."""

    def __init__(self, config: CaptureConfig) -> None:
        self._unplugged = Path(os.environ[UNPLUGGED])
        self._require_plug(AbsentError)
        self._demo = SyntheticSource(config)

    @property
    def info(self) -> SourceInfo:
        """The demo's, but a device."""
        return replace(self._demo.info, camera=NAME, kind="device")

    @property
    def drops(self) -> Mapping[str, int]:
        """Nothing is lost before it is a pair."""
        return {}

    def frames(self) -> Iterator[RGBDFrame]:
        """Until the plug is pulled; while nobody takes them there are none."""
        due_s = time.monotonic()
        for frame in self._demo.frames():
            self._require_plug(SourceError)
            due_s = max(due_s + 1 / DEMO_FPS, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))
            yield replace(frame, t_device_ns=time.monotonic_ns(), clock_domain=ClockDomain.HARDWARE)

    def close(self) -> None:
        """Ends the demo."""
        self._demo.close()

    def _require_plug(self, kind: type[SourceError]) -> None:
        if self._unplugged.exists():
            raise kind(f"{NAME}: no camera is connected")
