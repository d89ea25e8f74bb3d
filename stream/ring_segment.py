"""Named shared memory that dies with its owner: create, attach, unlink, and sweep what killed owners left.

Python's own `SharedMemory` registers a segment in every process that attaches and, before 3.13, lets the first of
them that exits unlink it. So on POSIX a segment here is a plain mapped file in the shared-memory file system, which no
resource tracker knows; on Windows, where the kernel frees a mapping with its last handle, `SharedMemory` is used.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PREFIX = "sfam_"
_NAME = re.compile(r"sfam_(\d+)_\d+")
_NUMBERS = itertools.count()
_CREATION_GRACE_S = 10.0
_DYING_S = 1.0
"""A killed process gives its locks back a moment after its pipes, which is what its children notice first."""
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class RingError(RuntimeError):
    """A ring cannot be made, attached or used as asked; the text says what to do."""


def process_alive(pid: int) -> bool:
    """True while a process of this id runs; a killed child that nobody has waited for yet counts as dead."""
    if sys.platform == "win32":
        return _process_alive_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return not Path("/proc/self/stat").exists()
    return status[status.rfind(b")") + 2 :][:1] not in b"ZX"


def _process_alive_windows(pid: int) -> bool:
    import ctypes

    if sys.platform != "win32":
        return False
    synchronize, wait_timeout, access_denied = 0x00100000, 0x102, 5
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return ctypes.get_last_error() == access_denied
    try:
        return bool(kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == wait_timeout)
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


class Segment:
    """One mapped stretch of shared memory; `buffer` is its bytes."""

    def __init__(self, name: str, buffer: memoryview, close: Callable[[], None], unlink: Callable[[], None]) -> None:
        self.name = name
        self.buffer = buffer
        self._close = close
        self._unlink = unlink

    @classmethod
    def create(cls, size: int) -> Segment:
        """A new zeroed segment of `size` bytes, its name carrying this process's id.

        Raises:
            RingError: when the memory is not there.
        """
        while True:
            name = f"{PREFIX}{os.getpid()}_{next(_NUMBERS)}"
            try:
                return cls._windows(name, size) if sys.platform == "win32" else cls._create_posix(name, size)
            except FileExistsError:
                continue  # left by a killed process that had our id

    @classmethod
    def attach(cls, name: str) -> Segment:
        """The segment of that name.

        Raises:
            RingError: when there is none.
        """
        if not _NAME.fullmatch(name):
            raise RingError(f"{name!r} is no ring's name; expected {PREFIX}<pid>_<number>")
        try:
            return cls._windows(name, 0) if sys.platform == "win32" else cls._attach_posix(name)
        except FileNotFoundError as error:
            raise RingError(
                f"ring {name} does not exist (any more); its owner has ended, start the session anew"
            ) from (error)

    @classmethod
    def _create_posix(cls, name: str, size: int) -> Segment:
        path = _folder() / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o600)
        try:
            _hold(descriptor)
            _reserve(descriptor, size)
            return cls._mapped(name, descriptor, size)
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
                raise
            raise RingError(
                f"no room for a ring of {size / 2**20:.0f} MiB in {path.parent}; free shared memory, give the "
                "container more (--shm-size) or use fewer slots"
            ) from error

    @classmethod
    def _attach_posix(cls, name: str) -> Segment:
        descriptor = os.open(_folder() / name, os.O_RDWR | _NOFOLLOW)
        return cls._mapped(name, descriptor, os.fstat(descriptor).st_size)

    @classmethod
    def _mapped(cls, name: str, descriptor: int, size: int) -> Segment:
        try:
            memory = mmap.mmap(descriptor, size)
        except ValueError as error:
            raise RingError(f"ring {name} is being removed; start the session anew") from error

        def close() -> None:
            memory.close()
            os.close(descriptor)

        return cls(name, memoryview(memory), close, lambda: (_folder() / name).unlink(missing_ok=True))

    @classmethod
    def _windows(cls, name: str, size: int) -> Segment:
        from multiprocessing.shared_memory import SharedMemory

        memory = SharedMemory(name, create=size > 0, size=size)
        return cls(name, memoryview(memory.buf or b""), memory.close, memory.unlink)

    def close(self) -> None:
        """Unmap; every view of `buffer` must be gone."""
        self.buffer.release()
        self._close()

    def unlink(self) -> None:
        """Take the name away; processes that are attached keep their memory. Safe to call twice."""
        self._unlink()


def sweep(dead_owner: int | None = None) -> list[str]:
    """Remove segments whose owner is dead; names of what was removed.

    An owner holds an advisory lock that the kernel drops at its death, so a recycled process id or one from another
    container's numbering misleads nobody.

    Args:
        dead_owner: process id known to be dead or dying: its segments go whatever the process table still says, once
            the kernel has given their locks back.
    """
    if sys.platform == "win32":
        return []
    removed = []
    for path in _folder().glob(f"{PREFIX}*"):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        owner = int(match[1])
        until_s = time.monotonic() + (_DYING_S if owner == dead_owner else 0.0)
        while not (abandoned := _abandoned(path, owner, dead_owner)) and time.monotonic() < until_s and path.exists():
            time.sleep(0.005)
        if abandoned:
            path.unlink(missing_ok=True)
            removed.append(path.name)
    return removed


def _abandoned(path: Path, owner: int, dead_owner: int | None) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | _NOFOLLOW)
    except OSError:
        return False  # gone meanwhile, or another user's
    try:
        _hold(descriptor)
        # Between creation and locking a segment is unlocked for microseconds: a living owner gets some grace.
        age_s = time.time() - os.fstat(descriptor).st_ctime
        return owner == dead_owner or age_s > _CREATION_GRACE_S or not process_alive(owner)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _folder() -> Path:
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else Path(tempfile.gettempdir())


def _hold(descriptor: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _reserve(descriptor: int, size: int) -> None:
    """Take the pages now: a full shared memory is an error here and a bus error later."""
    if sys.platform == "linux":
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
