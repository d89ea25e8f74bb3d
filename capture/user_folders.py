"""Where this program keeps files of its user, by the platform's habit."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROGRAM = "sfam-live"


def cache_folder() -> Path:
    """What can be fetched or built again: models of face backends, compiled engines. May not exist yet."""
    return _folder("XDG_CACHE_HOME", ".cache", "Caches")


def data_folder() -> Path:
    """What the user would miss: imported models, sync tests of cameras. May not exist yet."""
    return _folder("XDG_DATA_HOME", ".local/share", "Application Support")


def _folder(variable: str, habit: str, on_mac: str) -> Path:
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / on_mac
    else:
        base = Path(os.environ.get(variable) or Path.home() / habit)
    return base / PROGRAM
