"""Which processors the processes of a session may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .config import ConfigError


def require_cpus(cpus: Sequence[int], key: str) -> None:
    """Refuse processors that this machine does not let us use, before anything starts.

    Raises:
        ConfigError: naming the key.
    """
    if not cpus:
        return
    if sys.platform == "darwin":
        raise ConfigError(f"{key}: macOS lets no program choose its processors; leave the key empty")
    present = os.sched_getaffinity(0) if sys.platform == "linux" else range(os.cpu_count() or 1)
    unknown = sorted(set(cpus) - set(present))
    if unknown:
        raise ConfigError(f"{key}: processors {unknown} are not there; this process may use {sorted(present)}")
