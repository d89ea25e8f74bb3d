"""A time without camera in a running session."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Interruption:
    """From the moment the camera was lost to the first frame after it."""

    cause: str
    """What the capture process said, or how it ended."""
    began_ns: int
    """Host monotonic clock, as every stamp of a live session."""
    ended_ns: int | None
    """None while it lasts."""
    attempts: int
    resets: int
    """Hardware resets among the attempts."""

    @property
    def seconds(self) -> float:
        """How long it lasted; infinite while it lasts."""
        return float("inf") if self.ended_ns is None else (self.ended_ns - self.began_ns) / 1e9

    def fields(self) -> dict[str, str | int | None]:
        """For session.json."""
        return asdict(self)
