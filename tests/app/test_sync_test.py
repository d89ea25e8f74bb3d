"""A synthetic camera that sees a screen with a delay that is known."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sfam.app.sync_test import brightness, sync_test
from sfam.capture.frame import RGBDFrame
from sfam.capture.source import FrameSource, SourceError, SourceInfo
from tests.app.command import environment, run
from tests.sinks.session_parts import rgbd_frame
from tests.sinks.waiting import until
from tests.x_server import on_screen, x_server

FRAME_S = 1 / 60


class KnownScreen:
    """A screen whose brightness at any past moment can be asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: list[tuple[int, bool]] = [(0, False)]

    def show(self, bright: bool) -> int:
        with self._lock:
            now_ns = time.monotonic_ns()
            self._changes.append((now_ns, bright))
            return now_ns

    def closed(self) -> bool:
        return False

    def at(self, t_ns: int) -> bool:
        with self._lock:
            return next(bright for began_ns, bright in reversed(self._changes) if began_ns <= t_ns)


class WatchingCamera(FrameSource):
    """60 pictures a second of the screen as it was `delay_s` before each was stamped."""

    def __init__(self, screen: KnownScreen, delay_s: float, live: bool = True) -> None:
        self._screen = screen
        self._delay_ns = round(delay_s * 1e9)
        self._info = SourceInfo(
            "known", "device" if live else "recording", live, 60.0, rgbd_frame(0).calibration, stamped=live
        )

    @property
    def info(self) -> SourceInfo:
        return self._info

    @property
    def drops(self) -> Mapping[str, int]:
        return {}

    def frames(self) -> Iterator[RGBDFrame]:
        number, noise = 0, np.random.default_rng(3)
        while True:
            time.sleep(FRAME_S)
            stamp_ns = time.monotonic_ns()
            level = 40 + 60 * self._screen.at(stamp_ns - self._delay_ns) + noise.integers(0, 2)
            frame = replace(
                rgbd_frame(number),
                color=np.full((48, 64, 3), level, np.uint8),
                t_capture_ns=stamp_ns,
                t_host_ns=stamp_ns,
            )
            yield frame
            number += 1

    def close(self) -> None:
        pass


@pytest.mark.slow  # flashes take their time
def test_a_known_delay_is_measured_with_its_jitter_and_n() -> None:
    screen, delay_s = KnownScreen(), 0.08
    shown: list[int] = []
    with WatchingCamera(screen, delay_s) as camera:
        result = sync_test(camera, screen, flashes=5, lit=shown.append)
    assert shown == [1, 2, 3, 4, 5]
    assert (result.camera, result.n, result.shown) == ("known", 5, 5)
    # No picture can show a flash before it was there; the first one that does comes at most one frame later, and a
    # busy machine makes frames late.
    assert delay_s * 1e6 <= result.smallest_us <= result.offset_us <= result.largest_us == result.t_error_us
    assert result.offset_us <= delay_s * 1e6 + max(5 * result.frame_us, 100e3)
    assert result.jitter_us < result.largest_us


def test_a_recording_cannot_be_tested() -> None:
    screen = KnownScreen()
    with (
        WatchingCamera(screen, 0.0, live=False) as camera,
        pytest.raises(SourceError, match="a sync test needs the camera itself"),
    ):
        sync_test(camera, screen)


def test_brightness_is_the_mean_grey_level() -> None:
    assert brightness(np.full((48, 64, 3), 120, np.uint8)) == 120


def test_without_a_display_the_command_says_so() -> None:
    assert "DISPLAY" not in environment() or os.name == "nt"
    done = run("sfam", "sync-test", "--camera", "demo")
    assert (done.returncode, "no display answers here" in done.stderr) == (5, True), done.stderr


SCREEN = """
import sys
from sfam.app.flash_screen import FullScreen
screen = FullScreen()
for word in map(str.strip, sys.stdin):
    answer = screen.closed() if word == "closed" else screen.show(word == "bright")
    print(answer, flush=True)
screen.close()
"""


@pytest.mark.slow  # starts an X server and a process with a real window
def test_the_whole_of_a_real_screen_flashes(tmp_path: Path) -> None:
    """On a bare display, without a window manager that would obey a wish for full screen."""
    with x_server(screen=tmp_path) as display:
        command = [sys.executable, "-c", SCREEN]
        surroundings = {**os.environ, "DISPLAY": display}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings
        ) as running:
            assert running.stdin is not None
            assert running.stdout is not None
            talk, listen = running.stdin, running.stdout

            def ask(word: str) -> str:
                print(word, file=talk, flush=True)
                return listen.readline().strip()

            for bright in (False, True, False, True):
                before_ns = time.monotonic_ns()
                shown_ns = int(ask("bright" if bright else "dark"))
                assert before_ns <= shown_ns <= time.monotonic_ns()
                until(partial(is_filled, tmp_path, 255 * bright), "the whole screen", 60)
            assert ask("closed") == "False"
            talk.close()
            assert running.wait(60) == 0


def is_filled(screen: Path, level: int) -> bool:
    """Whether the whole screen is at a grey level; the pointer hides some of it."""
    return float((on_screen(screen) == level).all(axis=2).mean()) > 0.999
