"""One finding of the doctor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Line:
    """What was looked at, how it is, and what to do."""

    name: str
    state: State
    found: str
    remedy: str = ""
    """What to do; empty where all is well."""

    def to_json(self) -> dict[str, str]:
        """For programs."""
        return asdict(self)


def ok(name: str, found: str) -> Line:
    """As it should be, or not needed."""
    return Line(name, "ok", found)


def warn(name: str, found: str, remedy: str) -> Line:
    """Works, with a drawback the operator should know."""
    return Line(name, "warn", found, remedy)


def fail(name: str, found: str, remedy: str) -> Line:
    """A session with these settings would fail or be worthless."""
    return Line(name, "fail", found, remedy)
