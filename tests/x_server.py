"""A display for tests of real windows: an X server that shows nobody anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

WIDTH, HEIGHT = 1280, 800
PICTURE = "Xvfb_screen0"


@contextmanager
def x_server(*tools: str, screen: Path | None = None) -> Iterator[str]:
    """Its name for DISPLAY; the test is skipped where it or a tool is missing, unless they must be there.

    Args:
        tools: other programs that the test needs.
        screen: folder for what is on the screen, see `on_screen`.
    """
    missing = [tool for tool in ("Xvfb", *tools) if shutil.which(tool) is None]
    if missing:
        if os.environ.get("SFAM_REQUIRE_X") == "1":
            pytest.fail(f"{' and '.join(missing)} required")
        pytest.skip(f"needs {' and '.join(missing)}: Debian's xvfb and xdotool")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp"]
    command += ["-noreset", *(() if screen is None else ("-fbdir", str(screen)))]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        try:
            os.close(writing)
            with os.fdopen(reading) as told:
                display = f":{told.readline().strip()}"  # said once the server takes connections
            yield display
        finally:
            server.terminate()


def on_screen(screen: Path) -> NDArray[np.uint8]:
    """What is on the screen now, (HEIGHT, WIDTH, 3): the server keeps it as a file in the form of xwd."""
    stored = (screen / PICTURE).read_bytes()
    header = np.frombuffer(stored, ">u4", 25)
    begin, row_bytes = int(header[0]) + 12 * int(header[19]), int(header[12])
    pixels = np.frombuffer(stored, np.uint8, row_bytes * HEIGHT, begin).reshape(HEIGHT, row_bytes // 4, 4)
    return pixels[:, :WIDTH, :3]
