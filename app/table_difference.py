"""The first difference between two result tables, byte for byte or within a tolerance by column."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

SPOT_TOLERANCE = 1.1e-4
"""Of spot scores between backends: 1e-4 as promised for the network, and the last printed digit."""
PROBABILITY_TOLERANCE = 1.1e-3
"""Of class probabilities: logits may differ by 1e-4 of (1 + |x|), which moves a probability by a quarter as much."""
ACROSS_BACKENDS = {r"spot|score": SPOT_TOLERANCE, r"p_.*": PROBABILITY_TOLERANCE}
"""Columns that backends may compute a little differently, as patterns; all others must be equal."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two tables part."""

    table: str
    line: int
    """Counts from 1, the header included; 0 where a table is missing."""
    column: str
    """Empty where a whole line is missing."""
    first: str
    second: str

    def __str__(self) -> str:
        """One line for the operator."""
        where = f"{self.table} line {self.line}" + (f", column {self.column}" if self.column else "")
        return f"{where}: {self.first!r} against {self.second!r}"


def first_difference(
    first: Path, second: Path, tolerances: Mapping[str, float] | None = None, *, begins_only: bool = False
) -> Difference | None:
    """Compare two tables.

    Args:
        first: a CSV file.
        second: the other.
        tolerances: pattern of column names to the absolute difference allowed; None = every byte must be equal.
        begins_only: `first` may end early, as a session that was killed does; its last line counts only where whole.

    Returns:
        The first difference; None where there is none.
    """
    ours, theirs = (_bytes(path) for path in (first, second))
    if ours is None or theirs is None:
        if ours is theirs:
            return None
        return Difference(first.name, 0, "", *("there" if data is not None else "missing" for data in (ours, theirs)))
    if begins_only:
        ours = ours[: ours.rfind(b"\n") + 1]
        theirs = theirs[: len(ours)] if tolerances is None else _lines(theirs, ours.count(b"\n"))
    if ours == theirs:
        return None
    return _by_cell(first.name, ours, theirs, tolerances or {})


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _lines(data: bytes, count: int) -> bytes:
    return b"".join(data.splitlines(keepends=True)[:count])


def _by_cell(table: str, ours: bytes, theirs: bytes, tolerances: Mapping[str, float]) -> Difference | None:
    tables = [list(csv.reader(io.StringIO(data.decode("utf-8", "replace"), newline=""))) for data in (ours, theirs)]
    header = tables[0][0] if tables[0] else []
    for number, (one, other) in enumerate(zip_longest(*tables), 1):
        if one is None or other is None:
            return Difference(table, number, "", *("no line" if row is None else ",".join(row) for row in (one, other)))
        for place, (a, b) in enumerate(zip_longest(one, other, fillvalue="")):
            column = header[place] if place < len(header) else f"#{place + 1}"
            if a != b and not _close(a, b, column, tolerances):
                return Difference(table, number, column, a, b)
    # Every cell agrees. Without tolerances the bytes still differ: in line ends or quoting.
    return None if tolerances else Difference(table, 0, "line ends or quoting", "as written", "otherwise")


def _close(a: str, b: str, column: str, tolerances: Mapping[str, float]) -> bool:
    allowed = next((value for pattern, value in tolerances.items() if re.fullmatch(pattern, column)), None)
    if allowed is None or not (a and b):
        return False
    try:
        return abs(float(a) - float(b)) <= allowed
    except ValueError:
        return False
