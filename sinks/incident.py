"""Something that happened to a session as a whole: a restart, a changed setting, a clock that was set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

IncidentKind = Literal[
    "analysis_restart",
    "sink_restart",
    "detector_lost",
    "messages_lost",
    "reload",
    "clock_step",
    "suspend",
    "disk_full",
    "disk_low",
    "memory",
    "latency",
]


@dataclass(frozen=True, slots=True)
class Incident:
    """One entry of session.json's `incidents` and of a status message's."""

    kind: IncidentKind
    t_ns: int
    """Host monotonic clock when it was noticed."""
    text: str
    """For people: what happened, and what came of it."""
    from_frame: int | None = None
    """First frame that has no result because of it; None where every frame has its own."""
    to_frame: int | None = None
    """Last such frame."""
    values: Mapping[str, float | str | None] = field(default_factory=dict)
    """What a program may want to know: `utc_step_s`, `threshold` and the like."""

    def fields(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "values": dict(self.values)}

    @classmethod
    def from_fields(cls, found: Mapping[str, Any]) -> Incident:
        """The incident behind `fields`; what a newer version added is passed over."""
        return cls(**{name: found[name] for name in cls.__dataclass_fields__ if name in found})
