"""Two synthetic heads in one picture: each rendered alone, composed by which of them is nearer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sfam.capture.face_sequence import CALIBRATION, COLOR_VIEW, DEPTH_VIEW, FaceSequence
from sfam.capture.frame import RGBDFrame
from sfam.capture.render import FaceState, View
from sfam.capture.sensor_noise import sense_color, sense_depth
from sfam.capture.sequence_plan import draw_plan

Way = Callable[[float], tuple[float, float, float]]
"""Second -> shift of a head (mm) from 0.6 m straight ahead."""


@dataclass(frozen=True)
class Head:
    """One of the heads: its sequence, and where it goes."""

    sequence: FaceSequence
    way: Way

    def state(self, index: int) -> FaceState:
        t_s = index / self.sequence.fps
        return replace(self.sequence.state(t_s), translation_mm=self.way(t_s))

    def render(self, index: int, view: View) -> tuple[np.ndarray, np.ndarray]:
        return self.sequence._renderer(view).render(self.state(index), rounds=2)


def head(identity: int, way: Way, seed: int = 3, seconds: float = 10.0, micro: int = 0) -> Head:
    plan = draw_plan(seed, seconds, micro=micro, macro=0, blinks=0, sway=0.0, identity=identity, micro_px=(2.0,),
                     place_mm=(0.0, 600.0, 1500.0))  # fmt: skip
    return Head(FaceSequence(plan), way)


def both(first: Head, second: Head, index: int, *, depth: bool = True) -> RGBDFrame:
    """Frame `index` with both heads; the torsos stand out of sight. Without `depth` all of it is holes."""
    images, depths = [], []
    for view in (COLOR_VIEW, DEPTH_VIEW):
        (light_a, z_a), (light_b, z_b) = first.render(index, view), second.render(index, view)
        nearer = z_a < z_b
        images.append(np.where(nearer[..., None], light_a, light_b))
        depths.append(np.where(nearer, z_a, z_b))
    rng = np.random.default_rng(4000 + index)
    noise = first.sequence.noise
    color = sense_color(images[0], noise, 1.0, 0.0, rng)
    sensed = np.rint(sense_depth(depths[1], noise, rng)).astype(np.uint16)
    stamp = round(index * 1e9 / first.sequence.fps)
    frame = RGBDFrame.from_arrays(color, np.zeros((480, 640), np.uint16), CALIBRATION.color, stamp, sequence=index)
    return replace(frame, depth=sensed * np.uint16(depth), calibration=CALIBRATION)
