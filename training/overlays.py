"""Expressions laid over measured backgrounds: cheap, exactly labelled training windows of any strength.

A background is what the real flow chain measured on a face that moves its head and blinks but shows no expression.
Since windows are displacements, an expression adds (c(t) - c(t-k)) times its field. The fields here are drawn from
landmarks and are not those of the renderer, so that what is learnt does not hang on one set of shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sfam.stream.flow_window import MAP_PX
from sfam.stream.roi import Regions, cut_maps
from sfam.stream.scene_flow import CROP_PX, Crop, SceneFlow

from .courses import CLASSES, FAMILIES, Happening, draw_happening, place, strength

FloatMap = NDArray[np.float32]

SIGMA_PX = {"brow_raise": 9.0, "brow_lower": 8.0, "lip_pull": 7.0, "lip_press": 7.0, "lip_depress": 7.0}
MICRO_MOVING = (0.25, 0.08)
"""A window is positive when a micro changed by this share of its peak, and by this many crop pixels."""
MACRO_MOVING = 0.12
MICRO_STILL, MACRO_STILL = 0.08, 0.04
"""At or below these shares of the peak a window is negative; in between it is not used."""
RISING = (0.35, 0.1)
"""The emotion is named on the rise only: the fall of one movement looks like the rise of another."""
LOOKALIKE_CHANGE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Windows of one sequence without expressions, from the real flow chain."""

    maps: FloatMap
    """(T, 3, 42, 42) u px, v px, w mm per frame; zero where `usable` is False."""
    usable: NDArray[np.bool_]
    """(T,) whether there is a window at this frame."""
    lag: NDArray[np.int64]
    """(T,) frames from the window's begin to its end."""
    lookalikes: NDArray[np.float32]
    """(T,) how far a blink, a shift of gaze or a syllable has gone, 0..1."""
    landmarks: FloatMap
    """(68, 2) crop pixels, in the middle of the sequence."""
    regions: Regions
    """Where the maps were cut, in the middle of the sequence."""


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """One background with expressions on it, as windows can be drawn from it."""

    background: int
    happenings: tuple[Happening, ...]
    change: FloatMap
    """(E, T) change of strength over each window."""
    fields: FloatMap
    """(E, 3, 42, 42) displacement at full strength, background units."""
    gain: float
    """Factor on the background's motion and noise."""
    spot: NDArray[np.int8]
    """(T,) 1 = moving, 0 = not, -1 = not used."""
    hard: NDArray[np.bool_]
    """(T,) not moving, but a look-alike or the remnant of an expression."""
    emotion: NDArray[np.int64]
    """(T,) class index."""

    def maps(self, background: Background, frames: NDArray[np.int64]) -> FloatMap:
        """(N, 3, 42, 42) windows at these frames."""
        motion = np.tensordot(self.change[:, frames].T, self.fields, axes=1)
        return np.asarray(self.gain * background.maps[frames] + motion, dtype=np.float32)


def action_field(action: str, landmarks: FloatMap, rng: np.random.Generator) -> FloatMap:
    """(2, 128, 128) displacement in crop pixels of an action, largest vector 1, drawn with natural variety.

    Centre +-1.5 px, width 0.8-1.2, direction +-12 degrees, sides uneven by up to 30 %.
    """
    y, x = np.mgrid[0:CROP_PX, 0:CROP_PX].astype(np.float32)
    field = np.zeros((2, CROP_PX, CROP_PX), dtype=np.float32)
    turn = np.deg2rad(rng.uniform(-12, 12))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    sigma = SIGMA_PX[action] * rng.uniform(0.8, 1.2)
    stretch = rng.uniform(1.0, 1.4)
    side = rng.uniform(-0.3, 0.3)
    for centre, direction, mirror in _parts(action, landmarks):
        cx, cy = centre + rng.uniform(-1.5, 1.5, 2)
        bell = np.exp(-0.5 * (((x - cx) / (sigma * stretch)) ** 2 + ((y - cy) / sigma) ** 2))
        along = rotation @ direction * (1 + mirror * side)
        field += (along[:, None, None] * bell).astype(np.float32)
    return field / float(np.hypot(*field).max())


def _parts(action: str, landmarks: FloatMap) -> list[tuple[FloatMap, FloatMap, int]]:
    """Centre, direction and side (-1, 0, 1) of every patch of skin that an action moves."""
    above = np.array((0, -3), dtype=np.float32)
    left_brow, right_brow = landmarks[17:22].mean(axis=0) + above, landmarks[22:27].mean(axis=0) + above
    parts: dict[str, list[tuple[FloatMap, tuple[float, float], int]]] = {
        "brow_raise": [(left_brow, (0, -1), -1), (right_brow, (0, -1), 1)],
        "brow_lower": [
            (landmarks[19:22].mean(axis=0), (0.4, 1), -1),
            (landmarks[22:25].mean(axis=0), (-0.4, 1), 1),
        ],
        "lip_pull": [(landmarks[48], (-1, -0.6), -1), (landmarks[54], (1, -0.6), 1)],
        "lip_press": [(landmarks[51], (0, 1), 0), (landmarks[57], (0, -1), 0)],
        "lip_depress": [(landmarks[48], (-0.2, 1), -1), (landmarks[54], (0.2, 1), 1)],
    }
    return [(centre, np.array(direction, dtype=np.float32), side) for centre, direction, side in parts[action]]


def cut_field(field: FloatMap, depth: FloatMap, regions: Regions) -> FloatMap:
    """(3, 42, 42) cut of a displacement (2, 128, 128) px and depth change (128, 128) mm, as live windows are cut."""
    valid = np.ones((CROP_PX, CROP_PX), dtype=np.bool_)
    return cut_maps(SceneFlow(0, 0, 0, 0, 0, field[0], field[1], depth, valid, Crop(0, 0, CROP_PX)), regions)


def draw_overlay(rng: np.random.Generator, background: Background, index: int, micros: float, macros: float) -> Overlay:
    """Expressions over one background, `micros` and `macros` per 20 s."""
    frames = len(background.usable)
    scale = frames / 600
    counts = (max(1, round(micros * scale)), round(macros * scale) + int(rng.random() < 0.5))
    drawn = [draw_happening(rng, kind) for kind, n in zip(("micro", "macro"), counts, strict=True) for _ in range(n)]
    return overlay(rng, background, index, place(rng, drawn, frames))


def overlay(rng: np.random.Generator, background: Background, index: int, happenings: list[Happening]) -> Overlay:
    """Lay these expressions over a background, with fields, gains and box placement drawn at random."""
    frames = len(background.usable)
    begin = np.maximum(np.arange(frames) - background.lag, 0)
    courses = np.array([strength(h, frames) for h in happenings]).reshape(len(happenings), frames)
    change = np.asarray(courses - courses[:, begin], dtype=np.float32)
    fields = np.zeros((len(happenings), 3, MAP_PX, MAP_PX), dtype=np.float32)
    for row, happening in enumerate(happenings):
        fields[row] = _drawn_field(rng, background, happening)
    spot, hard = _spot_labels(happenings, change, background, begin)
    return Overlay(
        index, tuple(happenings), change, fields, float(np.exp(rng.uniform(np.log(0.7), np.log(2.2)))),
        spot, hard, _emotion_labels(happenings, change),
    )  # fmt: skip


def _drawn_field(rng: np.random.Generator, background: Background, happening: Happening) -> FloatMap:
    flow = action_field(happening.action, background.landmarks, rng)
    gain = rng.uniform(0.85, 1.05)
    shape = np.hypot(*flow)
    field = np.asarray(flow * happening.peak_px * gain, dtype=np.float32)
    return cut_field(
        field, np.asarray(shape * happening.peak_mm * gain, dtype=np.float32), _moved(background.regions, rng)
    )


def _moved(regions: Regions, rng: np.random.Generator) -> Regions:
    """Boxes as another frame's landmarks would have placed them: up to 2 px away."""
    boxes = []
    for x, y, width, height in (regions.upper, regions.lower):
        dx, dy = int(rng.integers(-2, 3)), int(rng.integers(-2, 3))
        boxes.append(
            (int(np.clip(x + dx, 0, CROP_PX - width)), int(np.clip(y + dy, 0, CROP_PX - height)), width, height)
        )
    return replace(regions, upper=boxes[0], lower=boxes[1])


def _spot_labels(
    happenings: list[Happening], change: FloatMap, background: Background, begin: NDArray[np.int64]
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    size = np.abs(change)
    moving = np.zeros(change.shape[1], dtype=np.bool_)
    remnant, unclear = moving.copy(), moving.copy()
    for row, happening in enumerate(happenings):
        if happening.kind == "micro":
            moving |= (size[row] >= MICRO_MOVING[0]) & (size[row] * happening.peak_px >= MICRO_MOVING[1])
            unclear |= size[row] >= MICRO_STILL
        else:
            moving |= size[row] >= MACRO_MOVING
            unclear |= size[row] >= MACRO_STILL
        remnant |= size[row] > 0
    spot = np.where(moving, 1, np.where(unclear, -1, 0)).astype(np.int8)
    spot[~background.usable] = -1
    alike = np.abs(background.lookalikes - background.lookalikes[begin]) > LOOKALIKE_CHANGE
    return spot, (spot == 0) & (remnant | alike)


def _emotion_labels(happenings: list[Happening], change: FloatMap) -> NDArray[np.int64]:
    emotion = np.full(change.shape[1], CLASSES.index("neutral"), dtype=np.int64)
    for row, happening in enumerate(happenings):
        rising = (change[row] >= RISING[0]) & (change[row] * happening.peak_px > RISING[1])
        emotion[rising] = FAMILIES[happening.action]
    return emotion


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step learns from."""

    maps: NDArray[np.float32]
    """(N, 3, 42, 42) u px, v px, w mm."""
    spot: NDArray[np.float32]
    """(N,) 1 = an expression moves, 0 = none does."""
    emotion: NDArray[np.int64]
    """(N,) class index, neutral last."""


class Corpus:
    """Draws training batches: moving windows, look-alikes and quiet ones in fixed shares."""

    POSITIVE, HARD, EASY = 52, 38, 38
    W_ZERO_SHARE = 0.2

    def __init__(
        self, backgrounds: Sequence[Background], overlays: Sequence[Overlay], silent: tuple[int, ...] = ()
    ) -> None:
        """`silent`: channels that are always zero."""
        self._backgrounds, self._overlays, self._silent = backgrounds, overlays, list(silent)
        self._pools = [
            self._where(lambda o: o.spot == 1),
            self._where(lambda o: o.hard),
            self._where(lambda o: (o.spot == 0) & ~o.hard),
        ]

    def _where(self, choose) -> NDArray[np.int64]:  # type: ignore[no-untyped-def]
        rows = [(i, frame) for i, o in enumerate(self._overlays) for frame in np.flatnonzero(choose(o))]
        return np.array(rows, dtype=np.int64)

    @property
    def windows(self) -> int:
        """Labelled windows that batches are drawn from."""
        return sum(len(pool) for pool in self._pools)

    def batch(self, rng: np.random.Generator) -> Batch:
        """128 windows; in a fifth of them w is silent, so that the network does not lean on good depth."""
        sizes = (self.POSITIVE, self.HARD, self.EASY)
        rows = np.concatenate(
            [pool[rng.integers(len(pool), size=n)] for pool, n in zip(self._pools, sizes, strict=True)]
        )
        maps = np.empty((len(rows), 3, MAP_PX, MAP_PX), dtype=np.float32)
        spot = np.empty(len(rows), dtype=np.float32)
        emotion = np.empty(len(rows), dtype=np.int64)
        for i, (index, frame) in enumerate(rows):
            chosen = self._overlays[index]
            maps[i] = chosen.maps(self._backgrounds[chosen.background], np.array([frame]))[0]
            spot[i], emotion[i] = chosen.spot[frame], chosen.emotion[frame]
        maps[rng.random(len(rows)) < self.W_ZERO_SHARE, 2] = 0
        maps[:, self._silent] = 0
        return Batch(maps, spot, emotion)
