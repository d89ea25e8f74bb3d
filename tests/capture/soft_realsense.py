"""The RealSense source on a software device, offered by entry point so that whole sessions can run on it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from sfam.capture.config import CaptureConfig
from sfam.capture.realsense import RealSenseSource
from tests.capture import resettable
from tests.capture.software_camera import SERIAL, SoftwareCamera

FOLDER = "SFAM_SOFT_REALSENSE"
"""Environment variable: a folder; a file `stall` in it silences the depth stream once, `unplug` takes it all away."""


class SoftRealSense(RealSenseSource):
    """Starts its own software camera, in the process that opens it."""

    def __init__(self, config: CaptureConfig) -> None:
        self._camera = SoftwareCamera()
        self._camera.behaviour.fps = 30
        self._camera.start()
        self._bus = resettable.Context(self._camera.context, away_s=0)
        threading.Thread(target=self._obey, daemon=True).start()
        named = config.model_copy(update={"camera": f"realsense:{config.serial_no or SERIAL}"})
        super().__init__(named, self._bus)

    def close(self) -> None:
        """Also ends the software camera."""
        super().close()
        self._camera.close()

    def _obey(self) -> None:
        orders = [Path(os.environ[FOLDER]) / name for name in ("stall", "unplug")]
        while not (given := [order for order in orders if order.exists()]):
            time.sleep(0.02)
        given[0].unlink()
        if given[0].name == "stall":
            self._camera.behaviour.silent = {"depth"}
            return
        self._bus.unplug()
        for sensor in (self._camera.depth, self._camera.color):
            sensor.stop()
            sensor.close()


def install(folder: Path) -> Path:
    """What an installed package with this camera looks like on the path; returns the entry for `sys.path`."""
    facts = folder / "site" / "soft_realsense-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: soft-realsense\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[sfam.sources]\nsoft = tests.capture.soft_realsense:SoftRealSense\n")
    return folder / "site"
