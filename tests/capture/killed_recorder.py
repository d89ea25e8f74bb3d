"""A recorder in a process of its own, killed at a random moment; and what is left of its file."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import Calibration, Intrinsics, RGBDFrame
from sfam.capture.recorder import Recorder, RecorderSettings
from sfam.capture.repair import repair
from sfam.capture.source import SourceError, open_source
from tests.capture.recorded_frames import INFO, assert_equal, seeded_frame

FPS = 30.0
CAMERA = Intrinsics(640, 480, 600.0, 600.0, 320.0, 240.0)
CALIBRATION = Calibration(CAMERA, CAMERA, depth_aligned=True)
"""Of full size: a block of images is 4 MiB, and its frames take a while to encode."""


@dataclass(frozen=True)
class KillResult:
    pushed: int
    """Frames the recorder had been given when it was killed."""
    recovered: int
    """Frames in the repaired file, each compared to the byte."""
    missing_s: float


def record_until_killed(path: str, pushed: Synchronized[int]) -> None:
    """Child: frames at `FPS`; `pushed` counts those that came, kept or not."""
    recorder = Recorder(RecorderSettings(Path(path)))
    recorder.begin(replace(INFO, fps=FPS, calibration=CALIBRATION), SessionClock.start())
    began_s = time.monotonic()
    for number in range(3600):
        recorder.push(seeded_frame(number, CALIBRATION))
        with pushed.get_lock():
            pushed.value = number + 1
        time.sleep(max(0.0, began_s + (number + 1) / FPS - time.monotonic()))


def kill_once(path: Path, seed: int) -> KillResult:
    """Record, kill, repair, read, compare."""
    # a server that has everything loaded makes 200 kills a matter of minutes; where there is none, each child loads
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload([__name__])
    pushed: Synchronized[int] = context.Value("q", 0)
    child = context.Process(target=record_until_killed, args=(str(path), pushed))
    child.start()
    deadline_s = time.monotonic() + 60
    while pushed.value == 0 and time.monotonic() < deadline_s:
        time.sleep(0.002)
    time.sleep(random.Random(seed).uniform(0.0, 1.6))
    assert child.pid is not None
    if hasattr(signal, "SIGKILL"):
        os.kill(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.join()
    count = pushed.value
    repair(path)
    recovered = 0
    with suppress(SourceError):  # killed before the first block: no frame in it
        for recovered, frame in enumerate(repaired_frames(path), 1):
            assert_equal(seeded_frame(recovered - 1, CALIBRATION), frame)
    return KillResult(count, recovered, (count - recovered) / FPS)


def repaired_frames(path: Path) -> Iterator[RGBDFrame]:
    with open_source(CaptureConfig(camera=str(path))) as source:
        assert not source.info.warnings
        yield from source.frames()
