"""`sfam pause` and `sfam resume`: stop a running session from storing and sending anything, and let it go on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from .config import ConfigError
from .pause import PauseRequest

SESSIONS = Path("sessions")
OPEN_STATES = ("started", "running", "paused")
ANSWER_WITHIN_S = 15.0

Folder = Annotated[Path | None, typer.Argument(help="Session folder; default the one that runs below ./sessions.")]


def pause(session: Folder = None) -> None:
    """Stop storing and sending: no frame gets past the camera until `sfam resume`. Key x in the session does the same.

    Waits until the session says so. Pauses stand in session.json.

    Example: `sfam pause sessions/20260301_101500`
    """
    _ask(session, paused=True)


def resume(session: Folder = None) -> None:
    """Let a paused session go on.

    Example: `sfam resume sessions/20260301_101500`
    """
    _ask(session, paused=False)


def _ask(session: Path | None, paused: bool) -> None:
    from sfam.sinks.sink_error import SinkError

    folder = _running() if session is None else session
    state = _state(folder)
    if state not in OPEN_STATES:
        raise ConfigError(f"{folder}: holds no running session (its state is {state or 'unknown'})")
    request = PauseRequest(folder)
    request.set() if paused else request.clear()
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while (_state(folder) == "paused") != paused:
        if time.monotonic() > deadline:
            request.clear()
            raise SinkError(f"the session in {folder} does not answer; is it still running?")
        time.sleep(0.05)
    typer.echo(f"{folder}: paused, nothing is stored or sent" if paused else f"{folder}: running")


def _running() -> Path:
    """The one session below ./sessions that runs.

    Raises:
        ConfigError: there is none, or more than one.
    """
    folders = sorted(path.parent for path in SESSIONS.glob("*/session.json"))
    found = [folder for folder in folders if _state(folder) in OPEN_STATES]
    if len(found) != 1:
        which = ", ".join(map(str, found)) or "none"
        raise ConfigError(f"sessions that run below ./{SESSIONS}: {which}; name the session folder")
    return found[0]


def _state(folder: Path) -> str:
    """What session.json says; '' where there is none."""
    try:
        return str(json.loads((folder / "session.json").read_text(encoding="utf-8"))["state"])
    except (OSError, ValueError, KeyError):
        return ""
