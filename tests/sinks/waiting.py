"""Waiting for something that another process or thread brings about."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(true: Callable[[], object], what: str, within_s: float = 60.0) -> float:
    """Wait; the seconds it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s, f"{what} did not come within {within_s} s"
        time.sleep(0.02)
    return time.monotonic() - began
