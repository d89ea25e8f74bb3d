"""Keys are read from a real terminal, one at a time, and the terminal is given back as it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from sfam.app.keys import Keys
from tests.sinks.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals are POSIX")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The operator's side of a terminal that is this process's standard input."""
    operator, ours = os.openpty()
    with open(ours) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield operator
    os.close(operator)


def test_a_key_counts_at_once_without_enter_and_only_once(terminal: int) -> None:
    import termios

    before = termios.tcgetattr(sys.stdin)
    with Keys() as keys:
        assert keys.pressed() == ""
        os.write(terminal, b" ")
        pressed = {""}

        def come() -> bool:
            pressed.add(keys.pressed())
            return len(pressed) > 1

        until(come, "the key", within_s=60)
        assert pressed == {"", " "}
        assert keys.pressed() == ""
        assert termios.tcgetattr(sys.stdin) != before
    assert termios.tcgetattr(sys.stdin) == before


def test_without_a_terminal_no_key_is_ever_pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with Keys() as keys:
            assert keys.pressed() == ""
