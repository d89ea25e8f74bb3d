"""A seeded plan of what a synthetic face does: events, head sway, light; finite, or endless in blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from .expression import EXPRESSIONS, Action, ActionName, FaceEvent

FRAME_S = 1.0 / 30.0
"""Durations are drawn in frames at 30 fps, as the annotated data sets give them."""
GAP_S = 12 * FRAME_S
"""Rest between two expressions, at least."""
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
    counts = _Counts(micro=6, macro=1, blinks=7)
    return _draw_events(rng, BLOCK_S, counts, DEMO_PX, (), offset_s=block * BLOCK_S, first_micro_s=first_micro_s)


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


@dataclass(frozen=True, slots=True)
class _Counts:
    micro: int
    macro: int
    blinks: int
    speech: int = 0
    gaze: int = 0


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
    counts = _Counts(
        micro=round(5 * blocks) if micro is None else micro,
        macro=round(2 * blocks) if macro is None else macro,
        blinks=round(7 * blocks) if blinks is None else blinks,
        speech=speech,
        gaze=gaze,
    )
    rng = np.random.default_rng((seed, 0))
    events = _draw_events(rng, seconds, counts, tuple(micro_px), tuple(durations), first_micro_s=first_micro_s)
    return SequencePlan(seed, seconds, identity, events, draw_sway(seed, sway), light or Light(), place_mm)


def _draw_events(
    rng: np.random.Generator,
    seconds: float,
    counts: _Counts,
    micro_px: tuple[float, ...],
    durations: tuple[tuple[int, int], ...],
    *,
    offset_s: float = 0.0,
    first_micro_s: float | None = None,
) -> tuple[FaceEvent, ...]:
    peaks = [micro_px[int(k) % len(micro_px)] for k in rng.permutation(counts.micro)]
    mains = _mains(rng, counts.micro + counts.macro)
    expressions = [_micro(rng, main, peak, durations) for main, peak in zip(mains, peaks, strict=False)]
    expressions += [_macro(rng, main) for main in mains[counts.micro :]]
    expressions += [_speech(rng) for _ in range(counts.speech)]
    lead = expressions[:1] if first_micro_s is not None else []
    others = expressions[len(lead) :]
    others = [others[int(k)] for k in rng.permutation(len(others))]
    start = GAP_S if first_micro_s is None else first_micro_s
    placed = _spread(rng, [*lead, *others], start, seconds - GAP_S, bool(lead))
    placed += _blinks(rng, counts.blinks, seconds) + _gazes(rng, counts.gaze, seconds)
    shifted = [replace(event, start_s=event.start_s + offset_s) for event in placed]
    return tuple(sorted(shifted, key=lambda event: (event.start_s, event.name)))


def _spread(
    rng: np.random.Generator, events: list[FaceEvent], start_s: float, end_s: float, pinned: bool
) -> list[FaceEvent]:
    """Events in order with random rests between; the first begins at `start_s` when pinned."""
    need = sum(event.end_s - event.start_s for event in events) + GAP_S * max(len(events) - 1, 0)
    slack = end_s - start_s - need
    if events and slack < 0.0:
        raise ValueError(
            f"{len(events)} expressions need {need:.1f} s with rests, the plan leaves {end_s - start_s:.1f} s; "
            "ask for fewer events or more seconds"
        )
    shares = rng.dirichlet(np.full(len(events) + 1, 1.5)) if events else np.zeros(1)
    if pinned:
        shares[0] = 0.0
    placed, now = [], start_s
    for event, share in zip(events, shares[:-1], strict=True):
        now = round((now + slack * float(share)) / FRAME_S) * FRAME_S
        now = min(now, end_s)
        placed.append(replace(event, start_s=now))
        now += event.end_s - event.start_s + GAP_S
    return placed


def _mains(rng: np.random.Generator, count: int) -> list[ActionName]:
    """Main actions in random order, every one about equally often."""
    names: list[ActionName] = []
    while len(names) < count:
        names += [EXPRESSIONS[int(k)] for k in rng.permutation(len(EXPRESSIONS))]
    return names[:count]


def _micro(
    rng: np.random.Generator, main: ActionName, peak_px: float, durations: tuple[tuple[int, int], ...]
) -> FaceEvent:
    rise, hold, fall = _micro_frames(rng, durations)
    actions = _actions(rng, main, peak_px, float(rng.uniform(0.3, 1.3)))
    return FaceEvent("micro", actions[0].name, 0.0, rise * FRAME_S, hold * FRAME_S, fall * FRAME_S, actions)


def _micro_frames(rng: np.random.Generator, durations: tuple[tuple[int, int], ...]) -> tuple[int, int, int]:
    """Rise, hold and fall in frames at 30 fps, together at most 30."""
    if rng.random() < 0.4:
        return int(rng.integers(4, 9)), int(rng.integers(0, 4)), int(rng.integers(5, 11))
    if durations:
        drawn_rise, drawn_total = durations[int(rng.integers(len(durations)))]
        total = min(max(drawn_total, 6), 30)
        rise = min(max(drawn_rise, 2), total - 3)
    else:
        rise = int(rng.integers(4, 13))
        total = int(rng.integers(rise + 5, 31))
    rest = total - rise
    hold = int(rng.uniform(0.0, 0.35) * rest)
    return rise, hold, rest - hold


def _macro(rng: np.random.Generator, main: ActionName) -> FaceEvent:
    rise, hold, fall = int(rng.integers(8, 26)), int(rng.integers(4, 41)), int(rng.integers(10, 41))
    hold += max(36 - rise - hold - fall, 0)
    actions = _actions(rng, main, float(rng.uniform(2.4, 4.0)), float(rng.uniform(0.4, 1.2)))
    return FaceEvent("macro", actions[0].name, 0.0, rise * FRAME_S, hold * FRAME_S, fall * FRAME_S, actions)


def _actions(rng: np.random.Generator, main: ActionName, peak_px: float, mm_per_px: float) -> tuple[Action, ...]:
    """One action, in 30 % of the cases with a weaker companion from the other half of the face or beside it."""
    others = [name for name in EXPRESSIONS if name != main]
    other = others[int(rng.integers(len(others)))]
    # two lips pressed over more than 3 px would fold the skin between them
    extent = min(peak_px, 3.0) if main == "lip_press" else peak_px
    actions = [_action(rng, main, extent, mm_per_px)]
    if rng.random() < 0.3:
        actions.append(_action(rng, other, 0.35 * extent, mm_per_px))
    return tuple(actions)


def _action(rng: np.random.Generator, name: ActionName, px: float, mm_per_px: float) -> Action:
    weak = float(rng.uniform(0.3, 0.9)) if rng.random() < 0.3 else 1.0
    left, right = (weak, 1.0) if rng.random() < 0.5 else (1.0, weak)
    return Action(
        name,
        px=px,
        mm=px * mm_per_px,
        width=float(rng.uniform(0.85, 1.15)),
        turn_rad=float(rng.uniform(-0.2, 0.2)),
        left=left,
        right=right,
        shift_px=(float(rng.uniform(-1.5, 1.5)), float(rng.uniform(-1.5, 1.5))),
    )


def _blinks(rng: np.random.Generator, count: int, seconds: float) -> list[FaceEvent]:
    slots = np.linspace(0.3, max(seconds - 0.5, 0.4), count + 1)
    blinks = []
    for low, high in itertools.pairwise(slots.tolist()):
        rise, hold, fall = int(rng.integers(2, 4)), int(rng.integers(1, 3)), int(rng.integers(3, 5))
        start = round(float(rng.uniform(low, max(high - 0.35, low))) / FRAME_S) * FRAME_S
        closure = float(rng.uniform(0.8, 1.0))
        blinks.append(
            FaceEvent("blink", "blink", start, rise * FRAME_S, hold * FRAME_S, fall * FRAME_S, closure=closure)
        )
    return blinks


def _speech(rng: np.random.Generator) -> FaceEvent:
    hold = float(rng.uniform(0.6, 1.6))
    actions = (
        _action(rng, "jaw_drop", float(rng.uniform(1.2, 3.0)), float(rng.uniform(0.3, 0.8))),
        _action(rng, "lip_press", float(rng.uniform(0.2, 0.8)), 0.4),
    )
    return FaceEvent("speech", "jaw_drop", 0.0, 0.2, hold, 0.2, actions, syllables_hz=float(rng.uniform(2.5, 5.0)))


def _gazes(rng: np.random.Generator, count: int, seconds: float) -> list[FaceEvent]:
    slots = np.linspace(0.3, max(seconds - 0.5, 0.4), count + 1)
    gazes = []
    for low, high in itertools.pairwise(slots.tolist()):
        hold = float(rng.uniform(0.1, 0.6)) * (high - low)
        start = float(rng.uniform(low, max(high - hold - 0.2, low)))
        turn = float(rng.choice([0.0, math.pi]) + rng.uniform(-0.5, 0.5))
        action = Action("gaze", px=float(rng.uniform(0.8, 2.2)), turn_rad=turn)
        gazes.append(FaceEvent("gaze", "gaze", start, 2 * FRAME_S, hold, 2 * FRAME_S, (action,)))
    return gazes
