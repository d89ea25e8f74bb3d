"""Runs the installed commands as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent


def run(command: str, *arguments: str | Path, timeout_s: float = 90.0) -> subprocess.CompletedProcess[str]:
    """Output and exit code of `sfam` or `sfam-live`."""
    return subprocess.run(
        [str(BIN / command), *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s, env=environment()
    )


def start(command: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """A running command, its output captured."""
    return subprocess.Popen(
        [str(BIN / command), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def environment() -> dict[str, str]:
    """Of a machine without display and without settings of ours."""
    return {key: value for key, value in os.environ.items() if not key.startswith("SFAM_") and key != "DISPLAY"}
