"""A growing row of which only the newest entries are kept, addressed by the index since its begin."""

from __future__ import annotations

from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Recent(Generic[Entry]):
    """Bounded memory, O(1) a push on average; an index counts from the first entry ever.

    Args:
        keep: at least so many of the newest entries are held.
    """

    def __init__(self, keep: int = 256) -> None:
        self._entries: list[Entry] = []
        self._base = 0
        self._keep = keep

    def __len__(self) -> int:
        """How many entries there have ever been."""
        return self._base + len(self._entries)

    def append(self, entry: Entry) -> None:
        """Add the next entry; the oldest are forgotten in blocks."""
        self._entries.append(entry)
        if len(self._entries) >= 2 * self._keep:
            del self._entries[: self._keep]
            self._base += self._keep

    def forget(self, before: int) -> None:
        """Entries before this index are no longer needed; they go once they are the larger part."""
        spare = before - self._base
        if spare > 32 and 2 * spare > len(self._entries):
            del self._entries[:spare]
            self._base += spare

    @property
    def first(self) -> int:
        """Index of the oldest entry held."""
        return self._base

    def holds(self, index: int) -> bool:
        """Whether the entry is still (or already) there."""
        return self._base <= index < len(self)

    def __getitem__(self, index: int) -> Entry:
        """The entry at `index`; IndexError when it is not held."""
        if not self.holds(index):
            raise IndexError(f"entry {index} is not among {self._base}..{len(self) - 1}")
        return self._entries[index - self._base]

    def window(self, begin: int, end: int) -> list[Entry]:
        """Entries begin .. end - 1 as far as they are held."""
        return self._entries[max(begin - self._base, 0) : max(end - self._base, 0)]
