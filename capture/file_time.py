"""Time within a recording, and where in it a second begins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from .frame import ClockDomain
from .pairing import Pairer, Role

_BEFORE = 32
"""Images read again before the one sought, so that pairing and metadata are settled when it comes."""


_DECIMAL = re.compile(r"\d{1,15}(\.\d{1,15})?", re.ASCII)


def ns_from_text(text: str, unit_ns: int) -> int:
    """A stamp written as a decimal number, in ns; through integers, for a float would round.

    Args:
        text: such as '1763202000.033'.
        unit_ns: nanoseconds of one unit: 10**9 for seconds, 10**6 for milliseconds.

    Raises:
        ValueError: when it is no plain positive number of a sensible length.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no stamp")
    return int(Decimal(text) * unit_ns)


class Moment(Protocol):
    """What file time needs to know of a color frame."""

    @property
    def t_device_ns(self) -> int:
        """Stamp."""

    @property
    def clock_domain(self) -> ClockDomain:
        """Its clock."""


class StampedMoment(Moment, Protocol):
    """A frame of either stream."""

    @property
    def role(self) -> Role:
        """'color' or 'depth'."""

    @property
    def number(self) -> int:
        """Frame counter."""


@dataclass(slots=True)
class FileTime:
    """Seconds since the first pair; never runs back, whatever the stamps do."""

    elapsed_ns: int = 0
    segment: int = 0
    """Grows where stamps jump back or their clock changes."""
    previous: tuple[int, ClockDomain] | None = None

    def advance(self, now: Moment) -> int:
        """Move on to a pair's color frame; returns the time elapsed until it, in ns."""
        if self.previous is not None:
            before_ns, domain = self.previous
            if now.t_device_ns < before_ns or now.clock_domain != domain:
                self.segment += 1
            else:
                self.elapsed_ns += now.t_device_ns - before_ns
        self.previous = now.t_device_ns, now.clock_domain
        return self.elapsed_ns


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin reading: an image's place in file order, and file time of the pairs from there on."""

    first: int
    times: dict[tuple[int, int], FileTime]
    """(number, stamp) of a pair's color frame -> file time at it."""


def find_start(stamps: Iterable[StampedMoment], period_ns: int | None, from_ns: int) -> Start | None:
    """Walk the stamps up to a time; None where the recording ends before it, or begins at it."""
    pairer: Pairer[StampedMoment] = Pairer(period_ns)
    time = FileTime()
    recent: dict[tuple[int, int], FileTime] = {}
    for place, stamp in enumerate(stamps):
        for pair in pairer.push(stamp):
            reached = time.advance(pair.color) >= from_ns
            recent[pair.color.number, pair.color.t_device_ns] = copy(time)
            if len(recent) > 2 * _BEFORE:
                del recent[next(iter(recent))]
            if reached:
                return Start(place - _BEFORE, recent) if place > _BEFORE else None
    return None
