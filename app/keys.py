"""Single key presses from the terminal while a session runs: space pauses or steps, p runs on."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class Keys:
    """Reads keys without waiting; does nothing where standard input is no terminal."""

    def __init__(self) -> None:
        self._windows = sys.platform == "win32"
        self._saved: list[Any] | None = None
        self._active = sys.stdin is not None and sys.stdin.isatty()

    def __enter__(self) -> Keys:
        """Switch the terminal to single keys; Ctrl-C still works."""
        if self._active and not self._windows:
            import termios
            import tty

            self._saved = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back as it was."""
        if self._saved is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)
            self._saved = None

    def pressed(self) -> str:
        """The next key, '' when none was pressed."""
        if not self._active:
            return ""
        if sys.platform == "win32":
            import msvcrt

            return msvcrt.getwch() if msvcrt.kbhit() else ""
        import select

        ready, _, _ = select.select([sys.stdin], [], [], 0)
        return sys.stdin.read(1) if ready else ""
