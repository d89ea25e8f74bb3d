"""A camera that obeys orders in a folder: it is lost, hangs, dies or stays away when told to.

It is offered to `open_source` by entry point, as any package may offer one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

from sfam.capture.config import CaptureConfig
from sfam.capture.frame import ClockDomain, RGBDFrame
from sfam.capture.source import AbsentError, FrameSource, SourceError, SourceInfo
from sfam.capture.synthetic import SyntheticSource

FOLDER = "SFAM_DYING_CAMERA"
"""Environment variable with the folder of orders."""
SERIAL = "D1E"


def install(folder: Path) -> Path:
    """What an installed package with such a camera looks like on the path; returns the entry for `sys.path`."""
    site = folder / "site"
    facts = site / "dying_camera-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: dying-camera\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[sfam.sources]\ndying = tests.capture.dying_camera:DyingCamera\n")
    return site


class DyingCamera(FrameSource):
    """Frames of the demo face at 15 fps of the wall clock.

    Each order is a file, obeyed once, or as often as the number in it says; `absent` holds as long as it lies, and
    `busy` is kept for those who look for the camera by its serial number, as after an outage.

    `opened` in the folder tells with which settings it was opened, one line each time.
    """

    def __init__(self, config: CaptureConfig) -> None:
        self._folder = Path(os.environ[FOLDER])
        self._config = config
        with (self._folder / "opened").open("a") as log:
            log.write(f"{config.camera} {config.serial_no} {config.initial_reset}\n")
        if (self._folder / "absent").exists():
            raise AbsentError("dying: no camera is connected")
        if config.serial_no and self._ordered("busy"):
            raise SourceError("dying: another program uses it")
        self._demo = SyntheticSource(config)
        self._images = list(islice(self._demo.frames(), 6))  # rendering takes longer than a camera may
        self._frames = 0

    @property
    def info(self) -> SourceInfo:
        return replace(self._demo.info, camera=SERIAL, kind="device", details={"serial": SERIAL})

    @property
    def drops(self) -> Mapping[str, int]:
        return {"lost": 1} if self._frames > 5 else {}

    def frames(self) -> Iterator[RGBDFrame]:
        due_s = time.monotonic()
        for number in count():
            self._frames += 1
            if self._frames > 5:
                self._obey()
            due_s += 1 / 15
            time.sleep(max(0.0, due_s - time.monotonic()))
            image = self._images[number % len(self._images)]
            yield replace(image, sequence=number, t_device_ns=number * 66_666_667, clock_domain=ClockDomain.HARDWARE)

    def close(self) -> None:
        self._demo.close()

    def _obey(self) -> None:
        if self._ordered("unplug"):
            raise SourceError(f"dying {SERIAL}: unplugged")
        if self._ordered("hang"):
            time.sleep(600)
        if self._ordered("die"):
            os.kill(os.getpid(), signal.SIGKILL)

    def _ordered(self, order: str) -> bool:
        file = self._folder / order
        if not file.exists():
            return False
        left = int(file.read_text() or 1) - 1
        if left:
            file.write_text(str(left))
        else:
            file.unlink()
        return True
