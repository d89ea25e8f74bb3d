"""Trial markers of a session that is replayed: the `markers.jsonl` it left."""

from __future__ import annotations

import json
from pathlib import Path

from .marker import Marker
from .source import SourceError

MARKERS_FILE = "markers.jsonl"


def read_markers(path: Path) -> list[Marker]:
    """The markers of a file in its order; a line that a crash cut off is left out.

    Raises:
        SourceError: it cannot be read or is something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return [Marker(**json.loads(line)) for line in text[: text.rfind("\n") + 1].splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise SourceError(
            f"{path}: cannot be read as trial markers ({error}); give a session's {MARKERS_FILE}"
        ) from error
