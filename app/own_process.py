"""What a process of a session does to itself at its start. Imports little: that counts in each of them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def ignore_terminal() -> None:
    """Ctrl-C, a closed terminal and `timeout` reach the whole group; stopping in order is the supervisor's business."""
    numbers = {signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # held back since before the start


def take_name(name: str) -> None:
    """Let ps and top show what a process does, where the system allows it."""
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/comm").write_text(name[:15])


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
