"""Which program made what is kept on disk: windows of an older one are not taken for those of today's."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

SOURCES = (".py", ".c")


@lru_cache
def program_hash(*rooms: str) -> str:
    """SHA-256 over this program's version and the source of some of its rooms, such as "stream".

    The version alone would do for those who install it; whoever changes the flow would go on with windows of the old.
    """
    return sources_hash(Path(__file__).parents[1], rooms, version("sfam-live"))


def sources_hash(root: Path, rooms: tuple[str, ...], said: str) -> str:
    """SHA-256 over a text and every source file of some folders, names included."""
    total = hashlib.sha256(said.encode())
    files = (path for room in rooms for path in sorted((root / room).rglob("*")) if path.suffix in SOURCES)
    for path in files:
        content = path.read_bytes()
        total.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return total.hexdigest()
