"""Rerun's own viewer, without a window: it takes a session, shows it, and listens to this machine only."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from sfam.sinks.rerun_view import VIEWER, RerunView, Target
from sfam.sinks.rerun_viewer import LOOPBACK, open_viewer
from sfam.sinks.sink_error import SinkError
from sfam.sinks.wire_fields import frame_payload
from tests.sinks.rrd_file import require_rerun
from tests.sinks.session_parts import session_info
from tests.sinks.waiting import until

pytestmark = pytest.mark.slow  # opens the viewer, which draws in software here
GREEN = (30, 200, 60)
CAMERA = {"fx": 60.0, "fy": 60.0, "ppx": 32.0, "ppy": 24.0}
LEAST_PX = 20_000


@pytest.fixture
def port() -> Iterator[int]:
    """A free one; what listens there in the end is ended."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        number = int(probe.getsockname()[1])
    yield number
    for process in listening(number):
        process.kill()


def listening(port: int) -> list[psutil.Process]:
    """Who listens on a port, at any address of this machine."""
    listeners = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    return [
        psutil.Process(pid) for pid in {one.pid for one in listeners if one.laddr[1:] == (port,)} if pid is not None
    ]


@pytest.fixture
def viewer(port: int) -> str:
    require_rerun()
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as in the processes of a session
    try:
        return open_viewer("200MB", port=port, headless=True)
    except SinkError:
        if os.environ.get("SFAM_REQUIRE_X") == "1":
            raise
        pytest.skip("Rerun's viewer finds nothing to draw with: Debian's mesa-vulkan-drivers")
    finally:
        signal.signal(signal.SIGTERM, before)


def screenshot(viewer: str, path: Path) -> np.ndarray[Any, Any]:
    client: Any = import_module("rerun.experimental").ViewerClient(viewer)
    client.save_screenshot(str(path))
    picture = cv2.imread(str(path))
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def test_it_shows_what_a_session_sends_and_outlives_it(viewer: str, port: int, tmp_path: Path) -> None:
    fields = {
        **dict.fromkeys(("session", "camera", "notice"), "a"),
        "classes": session_info().classes,
        "threshold": 0.5,
        "devices": {"color": CAMERA},
    }
    view = RerunView(fields, Target(VIEWER), live=False, viewer=viewer)
    jpeg = frame_payload(np.full((48, 64, 3), GREEN, np.uint8))
    for frame in range(10):
        view.picture(frame, frame * 33_000_000, jpeg, 64, 48)
    view.close()

    def shown() -> bool:
        picture = screenshot(viewer, tmp_path / "screen.png").astype(int)
        return int((np.abs(picture - GREEN).max(axis=2) < 8).sum()) > LEAST_PX

    until(shown, "the picture in the viewer", 60)
    assert listening(port)


def test_it_listens_to_this_machine_only_and_is_used_again(viewer: str, port: int) -> None:
    (program,) = listening(port)
    heard_at = {one.laddr.ip for one in program.net_connections() if one.status == psutil.CONN_LISTEN}
    assert heard_at == {LOOPBACK}
    assert open_viewer("200MB", port=port, headless=True) == viewer
    assert listening(port) == [program]


def test_sigterm_ends_it_though_the_process_that_opened_it_ignores_that(viewer: str, port: int) -> None:
    (program,) = listening(port)
    program.terminate()
    program.wait(30)
    assert not listening(port)


def test_one_that_is_given_up_leaves_nothing_running(port: int) -> None:
    require_rerun()
    with pytest.raises(SinkError, match="does not open"):
        open_viewer("200MB", port=port, headless=True, running=lambda: False)
    time.sleep(2)
    assert not listening(port)
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(port) in (one.info["cmdline"] or [])]


def test_without_a_display_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    require_rerun()
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    began_s = time.monotonic()
    with pytest.raises(SinkError, match=r"viewer does not open; .* a file such as session\.rrd"):
        open_viewer("200MB", port=port)
    assert time.monotonic() - began_s < 60
