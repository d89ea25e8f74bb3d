"""Which processors a process may use, and which processes go first."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

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


YIELDING_NICE = 10


def give_way() -> None:
    """Let other processes go first from now on; threads started later do the same. Windows has no such rank."""
    if sys.platform != "win32":
        os.nice(YIELDING_NICE)


def keep_to(cpus: Sequence[int]) -> None:
    """Let all threads of this process run on these processors only; none = leave it as it is.

    Raises:
        OSError: the system refuses.
    """
    if not cpus:
        return
    if sys.platform == "linux":
        # Threads that libraries started on import do not follow the main thread.
        for thread in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cpus)
    elif sys.platform == "win32":
        import ctypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        mask = ctypes.c_size_t(sum(1 << cpu for cpu in set(cpus)))
        if not kernel.SetProcessAffinityMask(ctypes.c_void_p(kernel.GetCurrentProcess()), mask):
            raise OSError(f"processors {sorted(set(cpus))} cannot be chosen")
