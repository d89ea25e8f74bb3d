"""A synthetic face over time: RGB-D frames, 128x128 crops, and the exact truth about both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .expression import REGION, Action, Bumps, FaceEvent, event_bumps, peak_of
from .face_model import FaceModel, face_model
from .frame import Calibration, ClockDomain, Extrinsics, Intrinsics, RGBDFrame
from .render import CANONICAL, FaceState, Renderer, View, forward, solve
from .sensor_noise import Noise, sense_color, sense_depth
from .sequence_plan import Plan

DEPTH_TO_COLOR = Extrinsics(
    (
        0.9999874954999233, -0.00246475234725445, -0.004351303213707228,
        0.002443435261380898, 0.9999850217052978, -0.004897549303346309,
        0.004363309284746571, 0.004886855934235337, 0.9999785398553129,
    ),
    (0.015, 0.0002, -0.0003),
)  # fmt: skip
CALIBRATION = Calibration(
    color=Intrinsics(640, 480, 615.0, 615.8, 321.4, 238.2),
    depth=Intrinsics(848, 480, 425.0, 425.0, 423.7, 240.6),
    depth_to_color=DEPTH_TO_COLOR,
)
"""The demo camera: color 640x480 and depth 848x480, 15 mm apart and a little turned."""
COLOR_VIEW = View.of(CALIBRATION.color)
DEPTH_VIEW = View.of(CALIBRATION.depth, DEPTH_TO_COLOR.inverse())


@dataclass(frozen=True, slots=True)
class TruthEvent:
    """What truly happened, in frames of one sequence; onset and offset are the first and last that differ from rest."""

    kind: str
    name: str
    region: str
    emotion: str
    onset: int
    apex: int
    offset: int
    peak_px: float
    """Largest tangential way of the skin at the apex, pixels of the 128 crop (blinks: way of the lid)."""
    peak_mm: float
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class FlowTruth:
    """True motion of the point seen at each pixel of frame a, to frame b."""

    u: NDArray[np.float32]
    """(H, W) px of the view."""
    v: NDArray[np.float32]
    w: NDArray[np.float32]
    """(H, W) change of depth, mm, positive = away."""
    rigid: NDArray[np.float32]
    """(3, H, W): u, v, w if only the head had moved."""
    head: NDArray[np.bool_]
    """(H, W) where frame a shows the head; elsewhere everything is 0."""
    hull: NDArray[np.bool_]
    """(H, W) hull of the landmarks, grown by 2 px."""
    act: NDArray[np.bool_]
    """(H, W) where the expression part exceeds half its peak (all False when nothing but the head moves)."""


def truth_of(event: FaceEvent, model: FaceModel, fps: float) -> TruthEvent | None:
    """The event in frames; None when no frame falls into it."""
    first = math.floor(event.start_s * fps + 1e-6) + 1
    last = math.ceil(event.end_s * fps - 1e-6) - 1
    if last < first:
        return None
    courses = [round(event.course(frame / fps), 9) for frame in range(first, last + 1)]
    peak_px, peak_mm = peak_of(event, model)
    return TruthEvent(
        event.kind,
        event.name,
        REGION[event.name],
        event.emotion,
        first,
        first + int(np.argmax(courses)),
        last,
        peak_px,
        peak_mm,
        event.actions,
    )


class FaceSequence:
    """A plan played at a frame rate through a noisy camera; any frame can be asked for, in any order."""

    def __init__(self, plan: Plan, noise: Noise | None = None, fps: float = 30.0) -> None:
        """`noise` None = the default sensor; `Noise.none()` = exact."""
        self.plan, self.noise, self.fps = plan, noise or Noise(), float(fps)
        self.model = face_model(plan.identity)
        self._bumps = lru_cache(maxsize=64)(self._event_bumps)
        self._renderers: dict[str, Renderer] = {}

    def _event_bumps(self, event: FaceEvent) -> Bumps:
        return event_bumps(event, self.model)

    def state(self, t_s: float) -> FaceState:
        """The face at an instant."""
        parts, closure = [np.zeros((0, 7))], 0.0
        for event in self.plan.events_between(t_s, t_s + 1e-9):
            share = event.course(t_s)
            closure = max(closure, event.closure * share)
            if event.actions and share > 0.0:
                parts.append(self._bumps(event) * np.array([1, 1, 1, 1, share, share, share]))
        rotation, translation = self.plan.sway.pose(t_s)
        gain, offset = self.plan.light.at(t_s)
        return FaceState(np.concatenate(parts), min(closure, 1.0), rotation, translation, gain, offset)

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        return np.random.default_rng((self.plan.seed, 3 + stream, index))

    def _renderer(self, key: str, view: View, *, color: bool = True, depth: bool = True) -> Renderer:
        if key not in self._renderers:
            self._renderers[key] = Renderer(self.model, view, color=color, depth=depth)
        return self._renderers[key]

    def frame(self, index: int) -> RGBDFrame:
        """Full RGB-D frame number `index`, as the demo camera gives it."""
        state = self.state(index / self.fps)
        light, _ = self._renderer("color", COLOR_VIEW, depth=False).render(state)
        _, metric = self._renderer("depth", DEPTH_VIEW, color=False).render(state)
        assert light is not None
        assert metric is not None
        rng = self._rng(index, 0)
        color = sense_color(light, self.noise, state.gain, state.offset, rng)
        depth = np.rint(sense_depth(metric, self.noise, rng)).astype(np.uint16)
        stamp = round(index * 1_000_000_000 / self.fps)
        return RGBDFrame(
            sequence=index,
            color=color,
            depth=depth,
            calibration=CALIBRATION,
            depth_scale_m=0.001,
            t_capture_ns=stamp,
            t_device_ns=stamp,
            clock_domain=ClockDomain.HARDWARE,
            t_host_ns=stamp,
            t_utc_ns=0,
            t_depth_device_ns=stamp,
            color_number=index,
            depth_number=index,
        )

    def crop(self, index: int, view: View = CANONICAL) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The face alone: color (H, W, 3) uint8 RGB and depth (H, W) float32 mm (0 = hole) of `view`."""
        state = self.state(index / self.fps)
        light, metric = self._renderer(f"{view}", view).render(state)
        assert light is not None
        assert metric is not None
        rng = self._rng(index, 1)
        return sense_color(light, self.noise, state.gain, state.offset, rng), sense_depth(metric, self.noise, rng)

    def events(self, until_frame: int | None = None) -> tuple[TruthEvent, ...]:
        """All events that begin before frame `until_frame` (None: all of a finite plan), by onset."""
        end_s = self.plan.seconds if until_frame is None else until_frame / self.fps
        if math.isinf(end_s):
            raise ValueError("this plan is endless; say until which frame")
        found = (truth_of(event, self.model, self.fps) for event in self.plan.events_between(0.0, end_s))
        kept = [event for event in found if event is not None]
        return tuple(sorted(kept, key=lambda event: (event.onset, event.name)))

    def landmarks(self, index: int, view: View = COLOR_VIEW) -> NDArray[np.float64]:
        """(68, 2) true landmark pixels of a frame in `view`."""
        mark = self.model.landmarks
        px, py, _ = forward(self.model, self.state(index / self.fps), view, mark[:, 0], mark[:, 1])
        return np.stack([px, py], axis=1).astype(np.float64)

    def flow(self, frame_a: int, frame_b: int, view: View = CANONICAL) -> FlowTruth:
        """Exact scene flow from frame a to frame b, in pixels of `view` and mm."""
        a, b = self.state(frame_a / self.fps), self.state(frame_b / self.fps)
        gx, gy = np.meshgrid(np.arange(view.width, dtype=np.float64), np.arange(view.height, dtype=np.float64))
        sx, sy = solve(self.model, a, view, gx, gy, 40)
        x0, y0, z0 = forward(self.model, a, view, sx, sy)
        moved = self._lids(sx, sy, a.closure, b.closure)
        x1, y1, z1 = forward(self.model, b, view, sx, moved)
        x2, y2, z2 = forward(self.model, a.posed_like(b), view, sx, sy)
        head = self._head_mask(sx, sy)
        flow = np.stack([x1 - x0, y1 - y0, z1 - z0]) * head
        rigid = np.stack([x2 - x0, y2 - y0, z2 - z0]) * head
        part = np.hypot(flow[0] - rigid[0], flow[1] - rigid[1])
        hull = self._hull(frame_a, view)
        act = (part > 0.5 * part[hull].max()) & hull if hull.any() and part[hull].max() > 1e-4 else np.zeros_like(hull)
        u, v, w = (channel.astype(np.float32) for channel in flow)
        return FlowTruth(u, v, w, rigid.astype(np.float32), head, hull, act)

    def _lids(
        self, sx: NDArray[np.floating], sy: NDArray[np.floating], before: float, after: float
    ) -> NDArray[np.floating]:
        """Where the skin seen at (sx, sy) lies once the lids have gone from `before` to `after`."""
        if before == after:
            return sy
        for eye in self.model.eyes:
            near = (np.abs(sx - eye.middle_x) < eye.half_width) & (np.abs(sy - eye.corner_y) < 20.0)
            texture = eye.to_texture(sx, sy, before)
            sy = np.where(near, eye.from_texture(sx, texture, after), sy)
        return sy

    def _head_mask(self, sx: NDArray[np.floating], sy: NDArray[np.floating]) -> NDArray[np.bool_]:
        renderer = self._renderer("mask", CANONICAL)
        return renderer.alpha(sx.astype(np.float32), sy.astype(np.float32)) > 0.5

    def _hull(self, index: int, view: View) -> NDArray[np.bool_]:
        mask = np.zeros((view.height, view.width), np.uint8)
        points = np.round(self.landmarks(index, view)).astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(points), 1)
        return np.asarray(cv2.dilate(mask, np.ones((5, 5), np.uint8)) > 0)
