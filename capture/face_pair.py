"""Single pairs of face images with exact flow: the generator behind flow benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .expression import EXPRESSIONS, Action, FaceEvent, event_bumps
from .face_model import face_model
from .flow_truth import FlowTruth, flow_between, landmark_pixels
from .render import CANONICAL, FaceState, Renderer
from .sensor_noise import Noise, sense_color, sense_depth


@dataclass(frozen=True, slots=True, eq=False)
class FacePair:
    """Two 128x128 RGB-D images of one face; conventions of the canonical crop (f = 492 px, centre 63.5)."""

    rgb: NDArray[np.uint8]
    """(2, 128, 128, 3) uint8."""
    depth_mm: NDArray[np.float32]
    """(2, 128, 128) float32 mm, 0 = hole."""
    truth: FlowTruth
    landmarks: NDArray[np.float64]
    """(68, 2) px in the first image."""
    actions: tuple[Action, ...]


def draw_pair(
    seed: int,
    *,
    peak_px: float = 1.0,
    head: float = 0.0,
    gain: float = 1.0,
    offset: float = 0.0,
    identity: int = 0,
    narrow: float = 1.0,
    noise: Noise | None = None,
) -> FacePair:
    """One pair: rest, and one or two actions at their peak.

    Args:
        seed: of motion and noise.
        peak_px: way of the main action at its centre; 0 = no expression.
        head: share of a head motion of 3 px in a random direction and up to 1 degree.
        gain: light of the second image relative to the first.
        offset: grey levels added to the second image.
        identity: which head.
        narrow: factor on the width of the action windows.
        noise: None = the default sensor.
    """
    rng = np.random.default_rng((seed, 11))
    model, sensor = face_model(identity), noise or Noise()
    actions = _pair_actions(rng, peak_px, narrow)
    way = rng.standard_normal(3)
    moved = way / np.linalg.norm(way) * (3.0 * 600.0 / 492.0 * head)
    turned = np.radians(rng.uniform(-1.0, 1.0, 3)) * head
    event = FaceEvent("micro", actions[0].name, 0.0, 1.0, 0.0, 1.0, actions)
    bumps = event_bumps(event, model) if peak_px > 0.0 else np.zeros((0, 7))
    first = FaceState()
    second = FaceState(bumps, 0.0, _triple(turned), _triple(moved), gain, offset)
    renderer = Renderer(model, CANONICAL)
    colors, depths = [], []
    for state in (first, second):
        color, depth = renderer.render(state, rounds=4)
        colors.append(sense_color(color, sensor, state.gain, state.offset, rng))
        depths.append(sense_depth(depth, sensor, rng))
    return FacePair(
        np.stack(colors),
        np.stack(depths),
        flow_between(model, first, second),
        landmark_pixels(model, first, CANONICAL),
        actions,
    )


def _pair_actions(rng: np.random.Generator, peak_px: float, narrow: float) -> tuple[Action, ...]:
    names = [EXPRESSIONS[int(k)] for k in rng.permutation(len(EXPRESSIONS))[: int(rng.integers(1, 3))]]
    mm = float(rng.uniform(0.3, 1.5))
    return tuple(
        Action(name, px=peak_px * share, mm=peak_px * share * mm, width=narrow, left=float(rng.uniform(0.75, 1.0)))
        for name, share in zip(names, (1.0, 0.6), strict=False)
    )


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
