"""What a folder of checkpoints says about itself: `origin.json`, written where they are trained, read by the import."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ORIGIN_FILE = "origin.json"
UNFINISHED = {"unfinished": True}


@dataclass(frozen=True, slots=True)
class FoldOrigin:
    """Where networks come from; goes to model.json."""

    version: str
    training_data: str
    licence: str
    limits: tuple[str, ...]
    window_ms: float
    files: tuple[str, ...]
    """Checkpoints of this run that are finite; others in the folder are of an earlier one."""
    evaluated: Mapping[str, Any] = field(default_factory=dict)
    """`text` for the card, and the scores themselves."""


def begin_origin(folder: Path) -> None:
    """Say that the checkpoints in a folder are not all there yet.

    Raises:
        OSError: the folder cannot be written to.
    """
    _write(folder, UNFINISHED)


def write_origin(folder: Path, origin: FoldOrigin) -> None:
    """Say what the checkpoints in a folder are.

    Raises:
        OSError: the folder cannot be written to.
    """
    _write(folder, asdict(origin))


def read_origin(folder: Path) -> FoldOrigin | None:
    """What the checkpoints in a folder are; None where nobody says.

    Raises:
        ValueError: they are not all there yet, or the file is damaged; the text names it.
    """
    path = folder / ORIGIN_FILE
    if not path.exists():
        return None
    again = "run the same `sfam evaluate` again, it goes on where it was"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content != UNFINISHED:
            lists = {name: tuple(content[name]) for name in ("limits", "files")}
            return FoldOrigin(**{**content, **lists})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({error!r}); {again}") from error
    raise ValueError(f"{folder}: these folds are not all trained yet; {again}")


def _write(folder: Path, content: Mapping[str, Any]) -> None:
    beside = folder / f".{ORIGIN_FILE}.new"
    beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(beside, folder / ORIGIN_FILE)
