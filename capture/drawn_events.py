"""Expressions, blinks, speech and gaze of a synthetic face, drawn from a random stream: what, how strong, when."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from .expression import EXPRESSIONS, Action, ActionName, FaceEvent

FRAME_S = 1.0 / 30.0
"""Durations are drawn in frames at 30 fps, as the annotated data sets give them."""
GAP_S = 12 * FRAME_S
"""Rest between two expressions, at least."""


@dataclass(frozen=True, slots=True)
class EventCounts:
    """How many of each kind."""

    micro: int
    macro: int
    blinks: int
    speech: int = 0
    gaze: int = 0


def draw_events(
    rng: np.random.Generator,
    seconds: float,
    counts: EventCounts,
    micro_px: tuple[float, ...],
    durations: tuple[tuple[int, int], ...],
    *,
    offset_s: float = 0.0,
    first_micro_s: float | None = None,
) -> tuple[FaceEvent, ...]:
    """Events within `seconds`, by start; what is drawn depends on the stream and the arguments alone.

    Args:
        rng: taken from in a fixed order.
        seconds: length.
        counts: how many.
        micro_px: peaks of the micro-expressions to draw from, crop pixels.
        durations: annotated (rise, total) in frames at 30 fps.
        offset_s: added to every start.
        first_micro_s: where the first expression, a micro, starts; None = anywhere.

    Raises:
        ValueError: when the expressions do not fit.
    """
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
