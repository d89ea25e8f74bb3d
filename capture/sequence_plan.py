"""A seeded plan of what a synthetic face does: events, head sway, light; finite, or endless in blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np

from .drawn_events import EventCounts, draw_events
from .expression import FaceEvent

MICRO_PX = (0.2, 0.5, 1.0, 2.0)
DEMO_PX = (2.0, 1.0, 1.5, 0.6)
BLOCK_S = 30.0


@dataclass(frozen=True, slots=True)
class Sway:
    """Smooth head motion: a few sines per degree of freedom, defined at every instant, so endless.

    Columns of `amplitude` are rotation x, y, z (rad) and translation x, y, z (mm).
    """

    period_s: tuple[tuple[float, ...], ...] = ()
    phase_rad: tuple[tuple[float, ...], ...] = ()
    amplitude: tuple[tuple[float, ...], ...] = ()

    def pose(self, t_s: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Rotation vector (rad) and translation (mm) at `t_s`."""
        values = [0.0] * 6
        for periods, phases, sizes in zip(self.period_s, self.phase_rad, self.amplitude, strict=True):
            for axis in range(6):
                values[axis] += sizes[axis] * math.sin(2.0 * math.pi * t_s / periods[axis] + phases[axis])
        return (values[0], values[1], values[2]), (values[3], values[4], values[5])


@dataclass(frozen=True, slots=True)
class Light:
    """Brightness of the scene over time: slow drift, and mains flicker as the camera's frame rate aliases it."""

    gain: float = 1.0
    offset: float = 0.0
    drift: float = 0.0
    drift_period_s: float = 7.0
    flicker: float = 0.0
    flicker_hz: float = 100.0

    def at(self, t_s: float) -> tuple[float, float]:
        """Gain and offset (grey levels) at `t_s`."""
        slow = self.drift * math.sin(2.0 * math.pi * t_s / self.drift_period_s)
        fast = self.flicker * math.sin(2.0 * math.pi * self.flicker_hz * t_s + 0.7)
        return self.gain * (1.0 + slow + fast), self.offset


class Plan(Protocol):
    """What a sequence needs to know at an instant."""

    @property
    def seed(self) -> int:
        """Of the noise of the frames."""
        ...

    @property
    def identity(self) -> int:
        """Which head."""
        ...

    @property
    def seconds(self) -> float:
        """Length; infinite for an endless plan."""
        ...

    @property
    def sway(self) -> Sway:
        """Head motion."""
        ...

    @property
    def place_mm(self) -> tuple[float, float, float]:
        """Where the head sits, away from 0.6 m straight ahead."""
        ...

    @property
    def light(self) -> Light:
        """Brightness of the scene."""
        ...

    def events_between(self, start_s: float, end_s: float) -> tuple[FaceEvent, ...]:
        """Events that touch the span, by start."""
        ...


@dataclass(frozen=True, slots=True)
class SequencePlan:
    """A finite plan."""

    seed: int
    seconds: float
    identity: int
    events: tuple[FaceEvent, ...]
    sway: Sway = field(default_factory=Sway)
    light: Light = field(default_factory=Light)
    place_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def events_between(self, start_s: float, end_s: float) -> tuple[FaceEvent, ...]:
        """Events that touch the span, by start."""
        return tuple(event for event in self.events if event.end_s > start_s and event.start_s < end_s)


@dataclass(frozen=True, slots=True)
class EndlessPlan:
    """Blocks of `BLOCK_S`, each drawn from the seed and its number; at most a few are held at a time."""

    seed: int
    identity: int = 0
    sway: Sway = field(default_factory=Sway)
    light: Light = field(default_factory=Light)
    first_micro_s: float = 2.0
    seconds: float = math.inf
    place_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def events_between(self, start_s: float, end_s: float) -> tuple[FaceEvent, ...]:
        """Events that touch the span, by start; no event crosses a block."""
        first, last = max(int(start_s // BLOCK_S), 0), max(int(end_s // BLOCK_S), 0)
        found: list[FaceEvent] = []
        for block in range(first, last + 1):
            opening = self.first_micro_s if block == 0 else None
            events = _block_events(self.seed, block, opening)
            found += [event for event in events if event.end_s > start_s and event.start_s < end_s]
        return tuple(found)


@lru_cache(maxsize=8)
def _block_events(seed: int, block: int, first_micro_s: float | None) -> tuple[FaceEvent, ...]:
    rng = np.random.default_rng((seed, 1, block))
    counts = EventCounts(micro=6, macro=1, blinks=7)
    return draw_events(rng, BLOCK_S, counts, DEMO_PX, (), offset_s=block * BLOCK_S, first_micro_s=first_micro_s)


def draw_sway(seed: int, scale: float = 1.0) -> Sway:
    """Natural sway: at scale 1 the head wanders over about 10 color pixels and 3 degrees within seconds."""
    rng = np.random.default_rng((seed, 2))
    slow = np.array([0.016, 0.018, 0.012, 4.0, 3.4, 2.4])
    sizes = [slow * share for share in (0.9, 0.6, 0.35)] + [np.array([2e-4, 2e-4, 2e-4, 0.03, 0.03, 0.03])]
    spans = ((6.0, 11.0), (3.5, 6.0), (2.0, 3.5), (0.15, 0.3))
    periods = [rng.uniform(low, high, 6) for low, high in spans]
    phases = [rng.uniform(0.0, 2.0 * math.pi, 6) for _ in spans]
    drawn = [size * rng.uniform(0.6, 1.0, 6) * scale for size in sizes]
    return Sway(_rows(periods), _rows(phases), _rows(drawn))


def _rows(arrays: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in array) for array in arrays)


def draw_plan(
    seed: int,
    seconds: float,
    *,
    micro: int | None = None,
    macro: int | None = None,
    blinks: int | None = None,
    speech: int = 0,
    gaze: int = 0,
    sway: float = 1.0,
    identity: int = 0,
    micro_px: Sequence[float] = MICRO_PX,
    durations: Sequence[tuple[int, int]] = (),
    light: Light | None = None,
    first_micro_s: float | None = None,
    place_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> SequencePlan:
    """A plan of `seconds`, drawn from `seed` alone.

    Args:
        seed: of everything in the plan.
        seconds: length.
        micro: number of micro-expressions; None = 5 per 30 s.
        macro: number of macro-expressions; None = 2 per 30 s.
        blinks: number of blinks; None = 7 per 30 s.
        speech: number of spells of talking (1-2 s).
        gaze: number of shifts of gaze.
        sway: scale of head motion; 1 = about 10 color pixels and 3 degrees over seconds.
        identity: which head.
        micro_px: peaks to draw from, crop pixels.
        durations: annotated (rise, total) in frames at 30 fps; when given, 60 % of the micros take theirs from it.
        light: None = constant.
        first_micro_s: where the first expression, a micro, starts.
        place_mm: shift of the head from 0.6 m straight ahead (nose tip at 0.582 m), color camera's frame.

    Raises:
        ValueError: when the expressions do not fit into `seconds`.
    """
    blocks = seconds / 30.0
    counts = EventCounts(
        micro=round(5 * blocks) if micro is None else micro,
        macro=round(2 * blocks) if macro is None else macro,
        blinks=round(7 * blocks) if blinks is None else blinks,
        speech=speech,
        gaze=gaze,
    )
    rng = np.random.default_rng((seed, 0))
    events = draw_events(rng, seconds, counts, tuple(micro_px), tuple(durations), first_micro_s=first_micro_s)
    return SequencePlan(seed, seconds, identity, events, draw_sway(seed, sway), light or Light(), place_mm)
