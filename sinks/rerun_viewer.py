"""Rerun's viewer on this machine's screen, and how a session is laid out in it.

The SDK's own `spawn` lets the viewer listen on every network, where anybody could send to it and read from it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .sink_error import SinkError

OPENS_WITHIN_S = 30.0
LOOPBACK = "127.0.0.1"
PORT = 9876
"""Rerun's own: a viewer that is open already is used again."""
_PROGRAM = """
import runpy, signal
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which the processes of a session ignore, and what they start inherits
runpy.run_module("rerun_cli", run_name="__main__")
"""


def open_viewer(
    memory_limit: str, *, port: int = PORT, headless: bool = False, running: Callable[[], bool] = lambda: True
) -> str:
    """The address of a viewer on this machine: of one that is open, else of a new one that only this machine reaches.

    It outlives the session, for whoever looks at it closes it.

    Args:
        memory_limit: of a new one, such as '1GiB'; beyond it the oldest goes.
        port: where it listens.
        headless: without a window, which needs no display.
        running: asked ten times a second while it opens; False gives up.

    Raises:
        SinkError: it ends at once, does not come up, or was given up.
    """
    if not _answers(port):
        process = _start(memory_limit, port, headless)
        deadline_s = time.monotonic() + OPENS_WITHIN_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline_s or not running():
                _end(process)
                raise SinkError(
                    "Rerun's viewer does not open; run `rerun` to see why, or name a file such as session.rrd"
                )
            time.sleep(0.1)
    return f"rerun+http://{LOOPBACK}:{port}/proxy"


def _start(memory_limit: str, port: int, headless: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _PROGRAM, "--bind", LOOPBACK, "--port", str(port)]
    command += ["--memory-limit", memory_limit, "--expect-data-soon", "--hide-welcome-screen"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [*command, *(["--headless"] if headless else [])],
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        start_new_session=True,  # Ctrl-C ends the session, not the picture of it
        env={**os.environ, "RERUN_APP_ONLY": "true"},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """The viewer is a child of the process that was started."""
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def layout(rerun: Any) -> Any:
    """Picture and space left, scores over time and events right; else each class has a plot of its own."""
    views = rerun.blueprint
    left = views.Vertical(
        views.Spatial2DView(origin="camera", name="picture", contents=["+ $origin/**", "- $origin/depth"]),
        views.Spatial3DView(origin="/", name="space", contents=["+ camera", "+ camera/depth", "+ flow/**"]),
    )
    right = views.Vertical(
        views.TimeSeriesView(origin="score", name="score and classes"),
        views.TimeSeriesView(origin="event", name="confirmed events"),
        views.TextLogView(origin="/", name="events", contents=["+ events", "+ warnings"]),
        views.TextDocumentView(origin="notice", name="notice"),
        row_shares=[3, 1, 2, 1],
    )
    return views.Blueprint(views.Horizontal(left, right), collapse_panels=True)
