"""A synthetic face over time: RGB-D frames, 128x128 crops, and the exact truth about both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .expression import REGION, Action, Bumps, FaceEvent, event_bumps
from .face_model import FaceModel, face_model
from .flow_truth import FlowTruth, event_peak, flow_between, landmark_pixels
from .frame import Calibration, ClockDomain, Extrinsics, Intrinsics, RGBDFrame
from .render import CANONICAL, FaceState, Renderer, View
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


def truth_of(event: FaceEvent, model: FaceModel, fps: float) -> TruthEvent | None:
    """The event in frames; None when no frame falls into it."""
    first = math.floor(event.start_s * fps + 1e-6) + 1
    last = math.ceil(event.end_s * fps - 1e-6) - 1
    if last < first:
        return None
    courses = [round(event.course(frame / fps), 9) for frame in range(first, last + 1)]
    peak_px, peak_mm = event_peak(event, model)
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
        self._renderer = lru_cache(maxsize=4)(self._new_renderer)

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
        place = self.plan.place_mm
        moved = (translation[0] + place[0], translation[1] + place[1], translation[2] + place[2])
        return FaceState(np.concatenate(parts), min(closure, 1.0), rotation, moved, gain, offset)

    def _new_renderer(self, view: View) -> Renderer:
        return Renderer(self.model, view, self.plan.place_mm)

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        return np.random.default_rng((self.plan.seed, 3 + stream, index))

    def frame(self, index: int) -> RGBDFrame:
        """Full RGB-D frame number `index`, as the demo camera gives it."""
        state = self.state(index / self.fps)
        light = self._renderer(COLOR_VIEW).color(state)
        metric = self._renderer(DEPTH_VIEW).depth(state)
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
        light, metric = self._renderer(view).render(state)
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
        return landmark_pixels(self.model, self.state(index / self.fps), view)

    def flow(self, frame_a: int, frame_b: int, view: View = CANONICAL) -> FlowTruth:
        """Exact scene flow from frame a to frame b, in pixels of `view` and mm."""
        return flow_between(self.model, self.state(frame_a / self.fps), self.state(frame_b / self.fps), view)
