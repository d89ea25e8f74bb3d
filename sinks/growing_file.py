"""A file that only grows, by whole lines.

A process that is killed while it writes can leave the last one cut off: the system ends such a write at a page of the
file. So readers leave out what does not end with a line feed.
"""

from __future__ import annotations

import os
from pathlib import Path

TAIL_BYTES = 1 << 16


class GrowingFile:
    """Appends to a file and keeps it whole: lines that do not fit leave it as it was.

    Args:
        path: overwritten, unless `resume`.
        header: its first line.
        resume: go on behind the last whole line of the file that a killed process left.

    Raises:
        OSError: it cannot be made or written.
    """

    def __init__(self, path: Path, header: str = "", *, resume: bool = False) -> None:
        self.path = path
        resume = resume and path.exists() and path.stat().st_size > 0
        self._file = open(path, "r+b" if resume else "wb", buffering=0)  # noqa: SIM115  closed by close()
        self._bytes = 0
        self.lines = 0
        """Whole lines, without the header."""
        if resume:
            self._resume(bool(header))
        elif header:
            self.append(header)
            self.lines = 0

    def append(self, text: str) -> None:
        """Add lines; if they do not fit, the file keeps what it had."""
        data = text.encode()
        if not data:
            return
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:]) or 0
        except OSError:
            self._file.truncate(self._bytes)
            raise
        self._bytes += len(data)
        self.lines += text.count("\n")

    def close(self) -> None:
        """Hand the file to the disk and close it; may be repeated."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def _resume(self, has_header: bool) -> None:
        """Cut off the line that was being written, and count the others."""
        lines = end = at = 0
        while block := self._file.read(TAIL_BYTES):
            lines += block.count(b"\n")
            end = at + block.rfind(b"\n") + 1 if b"\n" in block else end
            at += len(block)
        self._file.truncate(end)
        self._file.seek(end)
        self._bytes = end
        self.lines = max(lines - has_header, 0)
