"""Readers that go wrong in each of the ways that the fuzz tests watch for, on mutated inputs only."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.capture.fuzz_cases import examine

INPUTS = "input"
"""The folder of the mutated inputs."""


def sleeps(path: Path) -> str:
    """Waits for what never comes."""
    if path.parent.name == INPUTS:
        time.sleep(3600)
    return examine(path)


def spins(path: Path) -> str:
    """Works for long."""
    began_s = time.process_time()
    while path.parent.name == INPUTS and time.process_time() - began_s < 1:
        pass
    return examine(path)


def eats(path: Path) -> str:
    """Takes 250 MB and gives them back."""
    if path.parent.name == INPUTS:
        del [b"\x01" * (250 * 2**20)][0]
    return examine(path)


def dies(path: Path) -> str:
    """Ends as by a fault in a library."""
    if path.parent.name == INPUTS:
        os.kill(os.getpid(), signal.SIGKILL)
    return examine(path)


def raises(path: Path) -> str:
    """Raises what no reader may."""
    if path.parent.name == INPUTS:
        raise KeyError("width")
    return examine(path)
