"""How a synthetic face moves: local action fields and the course of an event in time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .face_model import MM_PER_PX, FaceModel

ActionName = Literal["brow_raise", "brow_lower", "lip_pull", "lip_press", "lip_depress", "jaw_drop", "gaze"]
EventKind = Literal["micro", "macro", "blink", "speech", "gaze"]
Bumps = NDArray[np.float64]
"""(n, 7): centre x, y and sigma x, y in canonical pixels; displacement x, y, z in mm at the centre."""

EXPRESSIONS: tuple[ActionName, ...] = ("brow_raise", "brow_lower", "lip_pull", "lip_press", "lip_depress")
EMOTION: dict[str, str] = {
    "brow_lower": "negative",
    "lip_depress": "negative",
    "lip_pull": "positive",
    "brow_raise": "surprise",
    "lip_press": "others",
}
"""Movement family of the main action, named like the four emotion classes; it says nothing about feeling."""
REACH = 5.0
"""A window is not evaluated beyond this many sigma: what is left there is under 0.00002 px."""
REGION: dict[str, str] = {
    "brow_raise": "brows",
    "brow_lower": "brows",
    "lip_pull": "mouth",
    "lip_press": "mouth",
    "lip_depress": "mouth",
    "jaw_drop": "mouth",
    "gaze": "eyes",
    "blink": "eyes",
}


@dataclass(frozen=True, slots=True)
class Action:
    """One local movement at its full extent."""

    name: ActionName
    px: float
    """Way of the skin at the centre, canonical (crop) pixels."""
    mm: float = 0.0
    """Change of depth at the centre, mm; the action gives the sign."""
    width: float = 1.0
    turn_rad: float = 0.0
    left: float = 1.0
    right: float = 1.0
    """Shares of the two sides of the face, as seen in the image."""
    shift_px: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class FaceEvent:
    """A movement with a beginning and an end; times in seconds of the sequence."""

    kind: EventKind
    name: str
    start_s: float
    """Last instant at rest before it."""
    rise_s: float
    hold_s: float
    fall_s: float
    actions: tuple[Action, ...] = ()
    closure: float = 0.0
    """Blinks: share of the eye that the lid covers at most."""
    syllables_hz: float = 0.0
    """Speech: openings of the mouth per second while it lasts."""

    @property
    def end_s(self) -> float:
        """First instant at rest after it."""
        return self.start_s + self.rise_s + self.hold_s + self.fall_s

    @property
    def emotion(self) -> str:
        """Movement family of the main action; empty for blinks, speech and gaze."""
        return EMOTION.get(self.name, "")

    def course(self, t_s: float) -> float:
        """Share 0..1 of the full extent at `t_s`: cosine flanks around a hold."""
        past, left = t_s - self.start_s, self.end_s - t_s
        if past <= 0.0 or left <= 0.0:
            return 0.0
        share = min(_flank(past / self.rise_s), _flank(left / self.fall_s))
        if self.syllables_hz > 0.0:
            share *= 0.5 - 0.5 * math.cos(2.0 * math.pi * self.syllables_hz * past)
        return share


def _flank(way: float) -> float:
    return 1.0 if way >= 1.0 else 0.5 - 0.5 * math.cos(math.pi * way)


def action_bumps(action: Action, model: FaceModel) -> Bumps:
    """The Gaussian windows that make up `action` on this face."""
    mark = model.landmarks
    lips = 0.5 * (mark[62] + mark[66])
    shapes: dict[str, tuple[list[NDArray[np.float64]], tuple[float, float], list[tuple[float, float]], float]] = {
        "brow_raise": ([mark[17:22].mean(0), mark[22:27].mean(0)], (11.0, 7.5), [(-0.08, -1.0), (0.08, -1.0)], -1.0),
        "brow_lower": ([mark[20:22].mean(0), mark[22:24].mean(0)], (9.0, 6.5), [(0.45, 0.9), (-0.45, 0.9)], -1.0),
        "lip_pull": ([mark[48], mark[54]], (9.5, 8.0), [(-0.77, -0.64), (0.77, -0.64)], 1.0),
        "lip_press": ([mark[51], mark[57]], (13.0, 4.5), [(0.0, 1.0), (0.0, -1.0)], -1.0),
        "lip_depress": ([mark[48] + (2, 4), mark[54] + (-2, 4)], (9.0, 7.5), [(-0.35, 0.94), (0.35, 0.94)], 1.0),
        "jaw_drop": ([0.6 * mark[57] + 0.4 * mark[8]], (15.0, 10.0), [(0.0, 1.0)], 1.0),
        "gaze": ([mark[36:42].mean(0), mark[42:48].mean(0)], (4.5, 3.2), [(1.0, 0.0), (1.0, 0.0)], 0.0),
    }
    centres, sigma, ways, sign = shapes[action.name]
    turn = np.array(
        [
            [math.cos(action.turn_rad), -math.sin(action.turn_rad)],
            [math.sin(action.turn_rad), math.cos(action.turn_rad)],
        ]
    )
    rows = []
    for centre, way in zip(centres, ways, strict=True):
        share = _side_share(action, float(centre[0]), float(lips[0]), len(centres))
        moved = turn @ np.asarray(way) * (action.px * MM_PER_PX * share)
        place = np.asarray(centre) + action.shift_px
        rows.append([*place, sigma[0] * action.width, sigma[1] * action.width, *moved, sign * action.mm * share])
    return np.array(rows, dtype=np.float64)


def _side_share(action: Action, x: float, middle: float, parts: int) -> float:
    """Share of one side; windows on the midline move fully."""
    if parts == 1 or action.name == "lip_press":
        return 1.0
    return action.left if x < middle else action.right


def event_bumps(event: FaceEvent, model: FaceModel) -> Bumps:
    """All windows of an event at its full extent; (0, 7) for a blink."""
    if not event.actions:
        return np.zeros((0, 7))
    return np.concatenate([action_bumps(action, model) for action in event.actions])


def displace(
    bumps: Bumps, sx: NDArray[np.floating], sy: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Displacement x, y, z in mm at canonical pixels; keeps their dtype. Windows end at `REACH` sigma."""
    dx, dy, dz = np.zeros_like(sx), np.zeros_like(sx), np.zeros_like(sx)
    if sx.ndim == 2:
        spans = sx.min(axis=0), sx.max(axis=0), sy.min(axis=1), sy.max(axis=1)
    for cx, cy, wide, high, mx, my, mz in bumps.tolist():
        part: tuple[slice, ...] = (slice(None),)
        if sx.ndim == 2:
            part = (
                _touched(spans[2], spans[3], cy - REACH * high, cy + REACH * high),
                _touched(spans[0], spans[1], cx - REACH * wide, cx + REACH * wide),
            )
        across, down = (sx[part] - cx) * (1.0 / wide), (sy[part] - cy) * (1.0 / high)
        bell = np.exp(-0.5 * (across * across + down * down))
        dx[part] += mx * bell
        dy[part] += my * bell
        dz[part] += mz * bell
    return dx, dy, dz


def _touched(low: NDArray[np.floating], high: NDArray[np.floating], start: float, stop: float) -> slice:
    """Rows or columns whose span meets [start, stop]."""
    touched = np.flatnonzero((high >= start) & (low <= stop))
    return slice(int(touched[0]), int(touched[-1]) + 1) if len(touched) else slice(0, 0)
