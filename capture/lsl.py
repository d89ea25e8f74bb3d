"""Lab Streaming Layer: the only file that loads its library, and its clock beside ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

from .source import SourceError

QUIET = "[log]\nlevel = -3\n"
"""Settings for liblsl where the user has none: it prints a line for each stream that comes or goes, and so do we."""
READINGS = 9


class LslError(SourceError):
    """The library is not installed, or does not work here."""


@cache
def load_lsl() -> Any:
    """The module `pylsl` with the library it needs.

    Raises:
        LslError: it is not installed.
    """
    try:
        import pylsl
    except (ImportError, RuntimeError, OSError) as error:
        raise LslError(
            f"Lab Streaming Layer needs pylsl, which cannot be loaded here ({error}); pip install 'sfam-live[lsl]', "
            "and where its wheel holds no liblsl for this system, install that from github.com/sccn/liblsl/releases"
        ) from error
    if not _has_settings():
        pylsl.set_config_content(QUIET)
    return pylsl


def _has_settings() -> bool:
    """Whether the user wrote an lsl_api.cfg, which liblsl reads by itself."""
    import os
    from pathlib import Path

    places = (Path("lsl_api.cfg"), Path.home() / "lsl_api" / "lsl_api.cfg", Path("/etc/lsl_api/lsl_api.cfg"))
    return "LSLAPICFG" in os.environ or any(place.exists() for place in places)


def monotonic_ahead_ns(
    local_clock_s: Callable[[], float], monotonic_ns: Callable[[], int] = time.monotonic_ns, readings: int = READINGS
) -> int:
    """How far the host's monotonic clock is ahead of LSL's `local_clock`, ns.

    Of several readings, each between two of the monotonic clock, the one taken in the shortest time counts. On Linux
    both clocks are the same one; elsewhere they need not be.
    """
    best: tuple[int, int] | None = None
    for _ in range(readings):
        before = monotonic_ns()
        local_ns = round(local_clock_s() * 1e9)
        after = monotonic_ns()
        found = (after - before, (before + after) // 2 - local_ns)
        best = found if best is None else min(best, found)
    assert best is not None
    return best[1]
