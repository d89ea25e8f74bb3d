"""Rerun's own viewer, without a window: it takes a session, shows it, and listens to this machine only."""

from __future__ import annotations

import os
import signal
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
from sfam.sinks.rerun_viewer import LOOPBACK, Viewer, open_viewer
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
def viewer() -> Iterator[Viewer]:
    require_rerun()
    try:
        opened = open_viewer("200MB", headless=True)
    except SinkError:
        if os.environ.get("SFAM_REQUIRE_X") == "1":
            raise
        pytest.skip("Rerun's viewer finds nothing to draw with: Debian's mesa-vulkan-drivers")
    yield opened
    os.killpg(opened.process.pid, signal.SIGKILL)
    opened.process.wait()


def screenshot(viewer: Viewer, path: Path) -> np.ndarray[Any, Any]:
    client: Any = import_module("rerun.experimental").ViewerClient(viewer.url)
    client.save_screenshot(str(path))
    picture = cv2.imread(str(path))
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def test_it_shows_what_a_session_sends_and_outlives_it(viewer: Viewer, tmp_path: Path) -> None:
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
    assert viewer.process.poll() is None


def test_it_listens_to_this_machine_only(viewer: Viewer) -> None:
    program = psutil.Process(viewer.process.pid)
    family = [program, *program.children(recursive=True)]
    ports = [one.laddr for child in family for one in child.net_connections() if one.status == psutil.CONN_LISTEN]
    assert ports
    assert {address.ip for address in ports} == {LOOPBACK}


def test_without_a_display_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    require_rerun()
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    began_s = time.monotonic()
    with pytest.raises(SinkError, match=r"viewer does not open; .* a file such as session\.rrd"):
        open_viewer("200MB")
    assert time.monotonic() - began_s < 60
