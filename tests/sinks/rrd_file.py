"""A Rerun file, read back by the package that wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(slots=True)
class Entity:
    """What a file holds of one entity."""

    rows: int = 0
    chunks: int = 0
    timelines: tuple[str, ...] = ()
    is_static: bool = False


def require_rerun() -> Any:
    """The module that reads files; skip without it, unless it must be there."""
    import os

    try:
        import rerun.chunk
    except ImportError:
        assert os.environ.get("SFAM_REQUIRE_EXAMPLES") != "1", "rerun-sdk is required"
        pytest.skip("needs rerun-sdk")
    return rerun.chunk


def read_rrd(path: Path) -> dict[str, Entity]:
    """Entities by path, without the leading slash; the recording's own properties left out."""
    found: dict[str, Entity] = {}
    for chunk in require_rerun().RrdReader(path).stream().to_chunks():
        name = str(chunk.entity_path).lstrip("/")
        if name.startswith("__"):
            continue
        entity = found.setdefault(name, Entity())
        entity.rows += chunk.num_rows
        entity.chunks += 1
        entity.timelines = tuple(sorted({*entity.timelines, *chunk.timeline_names}))
        entity.is_static = entity.is_static or chunk.is_static
    return found
