"""Rerun's viewer on this machine's screen, and how a session is laid out in it.

The SDK's own `spawn` lets the viewer listen on every network, where anybody could send to it and read from it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from .sink_error import SinkError

OPENS_WITHIN_S = 30.0
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, eq=False)
class Viewer:
    """A viewer that runs; it outlives the session, for whoever looks at it closes it."""

    url: str
    """Where an SDK sends to."""
    process: subprocess.Popen[bytes]


def open_viewer(memory_limit: str, *, headless: bool = False) -> Viewer:
    """Open the viewer and wait until it takes data, from this machine only.

    Args:
        memory_limit: such as '1GiB'; beyond it the oldest goes.
        headless: without a window, which needs no display.

    Raises:
        SinkError: it ends at once, or does not come up.
    """
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "rerun_cli", "--bind", LOOPBACK, "--port", str(port)]
    command += ["--memory-limit", memory_limit, "--expect-data-soon", "--hide-welcome-screen"]
    command += ["--headless"] if headless else []
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command,
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        start_new_session=True,  # Ctrl-C ends the session, not the picture of it
        env={**os.environ, "RERUN_APP_ONLY": "true"},
    )
    deadline_s = time.monotonic() + OPENS_WITHIN_S
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline_s:
            process.kill()
            raise SinkError("Rerun's viewer does not open; run `rerun` to see why, or name a file such as session.rrd")
        time.sleep(0.1)
    return Viewer(f"rerun+http://{LOOPBACK}:{port}/proxy", process)


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
