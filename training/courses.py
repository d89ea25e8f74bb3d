"""How strongly an expression shows over time, and where expressions fall in a sequence.

A course runs 0 -> 1 -> 0 with cosine flanks. Micro-expressions take the rise and total durations that annotators found
(`data/durations.json`), mixed with shorter ones; macros are slower and stronger.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

ACTIONS = ("brow_raise", "brow_lower", "lip_pull", "lip_press", "lip_depress")
FAMILIES = {"brow_lower": 0, "lip_depress": 0, "lip_pull": 1, "brow_raise": 2, "lip_press": 3}
"""Class index per action: negative, positive, surprise, others; neutral follows as 4."""
CLASSES = ("negative", "positive", "surprise", "others", "neutral")

MICRO_PEAKS_PX = (0.2, 0.5, 1.0, 2.0)
MACRO_PEAK_PX = (2.4, 4.0)
MM_PER_PX = (0.3, 1.5)
SHORT_SHARE = 0.4
LONGEST_MICRO_FRAMES = 30
MIN_GAP_FRAMES = 12


@dataclass(frozen=True, slots=True)
class Course:
    """Durations of one expression in frames at 30 fps."""

    rise: int
    hold: int
    fall: int

    @property
    def total(self) -> int:
        """Frames between the last frame at rest before and the first after."""
        return self.rise + self.hold + self.fall

    def values(self) -> NDArray[np.float64]:
        """(total + 1,) strength, 0 at both ends, 1 from apex to the end of the hold."""
        up = 0.5 - 0.5 * np.cos(np.pi * np.arange(self.rise) / self.rise)
        down = 0.5 + 0.5 * np.cos(np.pi * np.arange(self.fall + 1) / self.fall)
        return np.concatenate([up, np.ones(self.hold), down])


@dataclass(frozen=True, slots=True)
class Happening:
    """One expression of a sequence; `start` is the last frame at rest."""

    kind: str
    action: str
    start: int
    course: Course
    peak_px: float
    """Largest displacement in crop pixels."""
    peak_mm: float
    """Depth change at the peak, positive = away from the camera."""

    @property
    def onset(self) -> int:
        """First frame that differs from rest."""
        return self.start + 1

    @property
    def offset(self) -> int:
        """Last frame that differs from rest."""
        return self.start + self.course.total - 1


@cache
def annotated_durations() -> NDArray[np.int64]:
    """(N, 2) rise and total of every usable annotated micro-expression: total <= 30 frames, rise >= 2."""
    content = json.loads(files("sfam.training").joinpath("data/durations.json").read_text())
    rows = [[rise, total] for rise, total, count in content["counts"] for _ in range(count)]
    pairs = np.array(rows, dtype=np.int64)
    return pairs[(pairs[:, 1] <= LONGEST_MICRO_FRAMES) & (pairs[:, 0] >= 2) & (pairs[:, 1] >= pairs[:, 0] + 2)]


def draw_micro(rng: np.random.Generator) -> Course:
    """Course of a micro-expression: an annotated duration, or one of the short ones that annotators seldom mark."""
    if rng.random() < SHORT_SHARE:
        return Course(int(rng.integers(4, 9)), int(rng.integers(0, 4)), int(rng.integers(5, 11)))
    durations = annotated_durations()
    rise, total = (int(value) for value in durations[rng.integers(len(durations))])
    hold = int((total - rise) * rng.uniform(0.0, 0.35))
    return Course(rise, hold, total - rise - hold)


def draw_macro(rng: np.random.Generator) -> Course:
    """Course of a macro-expression."""
    return Course(int(rng.integers(8, 26)), int(rng.integers(4, 41)), int(rng.integers(10, 41)))


def draw_happening(rng: np.random.Generator, kind: str, peak_px: float | None = None) -> Happening:
    """An expression at frame 0, action, strength and course drawn at random."""
    course = draw_micro(rng) if kind == "micro" else draw_macro(rng)
    if peak_px is None:
        peak_px = float(rng.choice(MICRO_PEAKS_PX) if kind == "micro" else rng.uniform(*MACRO_PEAK_PX))
    peak_mm = float(peak_px * rng.uniform(*MM_PER_PX) * rng.choice((-1.0, 1.0)))
    return Happening(kind, str(rng.choice(ACTIONS)), 0, course, peak_px, peak_mm)


def place(rng: np.random.Generator, drawn: list[Happening], frames: int, margin: int = 8) -> list[Happening]:
    """Spread expressions over a sequence in random order with random pauses of at least `MIN_GAP_FRAMES`.

    What does not fit any more is left out, the last of the random order first.
    """
    order = [drawn[i] for i in rng.permutation(len(drawn))]
    while order and (free := frames - 2 * margin - sum(h.course.total + MIN_GAP_FRAMES for h in order)) < 0:
        order.pop()
    if not order:
        return []
    pauses = np.floor(rng.dirichlet(np.ones(len(order) + 1)) * free).astype(int)
    placed, at = [], margin
    for happening, pause in zip(order, pauses, strict=False):
        at += int(pause)
        placed.append(
            Happening(happening.kind, happening.action, at, happening.course, happening.peak_px, happening.peak_mm)
        )
        at += happening.course.total + MIN_GAP_FRAMES
    return placed


def strength(happening: Happening, frames: int) -> NDArray[np.float64]:
    """(frames,) course of a placed expression, 0 where it does not show."""
    values = np.zeros(frames)
    course = happening.course.values()
    stop = min(frames, happening.start + len(course))
    values[happening.start : stop] = course[: stop - happening.start]
    return values
