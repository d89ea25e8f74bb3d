"""`sfam pause` and `sfam resume`: stop a running session from storing and sending anything, and let it go on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .config import ConfigError
from .pause import PauseRequest

SESSIONS = Path("sessions")
ANSWER_WITHIN_S = 15.0

Folder = Annotated[Path | None, typer.Argument(help="Session folder; default the one that runs below ./sessions.")]


def pause(session: Folder = None) -> None:
    """Stop storing and sending: no frame gets past the camera until `sfam resume`. Key x in the session does the same.

    Waits until the session says so; the request stands also where that takes longer. Pauses stand in session.json.

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
    folders = _cameras(folder)
    requests = [PauseRequest(one) for one in folders]
    for one in folders:
        if not _runs(one):
            raise ConfigError(f"{one}: holds no running session (its state is {_state(one) or 'unknown'})")
    for request in requests:
        request.set() if paused else request.clear()
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while any((_state(one) == "paused") != paused for one in folders):
        if time.monotonic() > deadline:
            stands = "; the request stands, and holds from when it does: `sfam resume` takes it back" if paused else ""
            raise SinkError(f"the session in {folder} has not answered for {ANSWER_WITHIN_S:g} s{stands}")
        time.sleep(0.05)
    typer.echo(f"{folder}: paused, nothing is stored or sent" if paused else f"{folder}: running")


def _cameras(folder: Path) -> list[Path]:
    """The folder itself, or those of its cameras where a session has several."""
    return [folder / str(one["folder"]) for one in _summary(folder).get("cameras", ())] or [folder]


def _running() -> Path:
    """The one session below ./sessions that runs.

    Raises:
        ConfigError: there is none, or more than one.
    """
    folders = sorted(path.parent for path in SESSIONS.glob("*/session.json"))
    found = [folder for folder in folders if all(_runs(one) for one in _cameras(folder))]
    if len(found) != 1:
        which = ", ".join(map(str, found)) or "none"
        raise ConfigError(f"sessions that run below ./{SESSIONS}: {which}; name the session folder")
    return found[0]


def _runs(folder: Path) -> bool:
    """Whether a session runs there, as far as this system can tell from one that was killed."""
    from sfam.sinks.folder_hold import OPEN_STATES, folder_is_held

    return _state(folder) in OPEN_STATES and folder_is_held(folder) is not False


def _state(folder: Path) -> str:
    """Where the session stands; '' where there is none."""
    return str(_summary(folder).get("state", ""))


def _summary(folder: Path) -> dict[str, Any]:
    """What session.json says; nothing where it cannot be read."""
    try:
        found = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
