"""Synthetic sequences to learn from and to tune on: heads that move, blink, look about, talk, and show expressions.

Frames are rendered on a small image around the face at the size that a camera at some distance would see, with depth
on the same grid; everything after that is the live chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sfam.capture.face_model import FOCAL_PX
from sfam.capture.face_sequence import FaceSequence
from sfam.capture.frame import Intrinsics, RGBDFrame
from sfam.capture.render import View
from sfam.capture.sensor_noise import Noise
from sfam.capture.sequence_plan import Light, SequencePlan, draw_plan

from .courses import annotated_durations

FPS = 30.0
IMAGE_PX = 208
"""Side of the image at canonical scale: the face, its hair and room to sway."""
USUAL_SWAY = 1.2
ATTEMPTS = 20
SCALES = (0.95, 1.5)
"""Face sizes, as factors on 107 px between the jaw's sides: about 0.45 to 0.75 m from a common camera."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One sequence before it is rendered."""

    plan: SequencePlan
    noise: Noise
    scale: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """What makes a session more or less hard to read."""

    sway: float = 1.0
    """Head motion, times the natural one."""
    noise: float = 1.0
    """Sensor noise, times the usual one."""
    speech: int = 0
    gaze: int = 0
    """Number of spells of talking and of shifts of gaze, between the expressions."""

    @property
    def is_usual(self) -> bool:
        """Whether nothing is harder than in most sessions."""
        return self.sway <= USUAL_SWAY and self.noise <= 1.0


def draw_background(seed: int, seconds: float, identity: int, sway: float, talks: bool) -> Scene:
    """A sequence without expressions: blinks, now and then a shift of gaze, speech where `talks`."""
    rng = np.random.default_rng((seed, 77))
    blocks = seconds / 20.0
    plan = draw_plan(
        seed,
        seconds,
        micro=0,
        macro=0,
        blinks=max(1, round(blocks * rng.integers(4, 8))),
        speech=round(blocks * 2) if talks else 0,
        gaze=round(blocks * rng.integers(0, 3)),
        sway=sway,
        identity=identity,
        light=Light(drift=float(rng.uniform(0, 0.03)), flicker=float(rng.choice((0.0, 0.0, 0.01)))),
    )
    return _seen(plan, rng)


def draw_session(seed: int, seconds: float, identity: int, conditions: Conditions) -> Scene:
    """A sequence with expressions as the generator draws them: 5 micros, 2 macros and 7 blinks per 30 s.

    Where what a seed draws does not fit into the time, the next of its own numbers is taken.

    Raises:
        ValueError: nothing that was drawn fits.
    """
    durations = tuple((int(rise), int(total)) for rise, total in annotated_durations())
    for attempt in range(ATTEMPTS):
        with suppress(ValueError):
            plan = draw_plan(
                seed + 1_000_000 * attempt,
                seconds,
                identity=identity,
                sway=conditions.sway,
                speech=conditions.speech,
                gaze=conditions.gaze,
                durations=durations,
            )
            return _seen(plan, np.random.default_rng((seed, 78)), conditions.noise)
    raise ValueError(f"no session of seed {seed} fits into {seconds:g} s after {ATTEMPTS} draws")


def _seen(plan: SequencePlan, rng: np.random.Generator, noisier: float = 1.0) -> Scene:
    """The plan before a camera: sensor noise and distance vary as cameras and rooms do."""
    correlated = rng.random() < 0.4
    noise = Noise(
        rgb_sigma=noisier * float(rng.uniform(1.5, 3.0)),
        depth_sigma_mm=noisier * float(rng.uniform(0.8, 2.2)),
        depth_model="correlated" if correlated else "white",
        correlation_px=float(rng.uniform(1.0, 2.0)),
        holes=float(rng.uniform(0.0, 0.05)),
    )
    return Scene(plan, noise, float(rng.uniform(*SCALES)))


def frames(scene: Scene) -> Iterator[RGBDFrame]:
    """Render a scene frame by frame."""
    sequence = sequence_of(scene)
    side = 4 * round(IMAGE_PX * scene.scale / 4)
    focal, centre = FOCAL_PX * scene.scale, side / 2 - 0.5
    view = View(side, side, focal, focal, centre, centre)
    intrinsics = Intrinsics(side, side, focal, focal, centre, centre)
    for index in range(frame_count(scene)):
        color, depth_mm = sequence.crop(index, view)
        stamp = round(index * 1e9 / FPS)
        yield RGBDFrame.from_arrays(color, np.rint(depth_mm).astype(np.uint16), intrinsics, stamp, sequence=index)


def sequence_of(scene: Scene) -> FaceSequence:
    """The scene in time, with its truth."""
    return FaceSequence(scene.plan, scene.noise, FPS)


def frame_count(scene: Scene) -> int:
    """Frames of a scene."""
    return round(scene.plan.seconds * FPS)


def lookalikes(scene: Scene) -> NDArray[np.float32]:
    """(T,) how far a blink, a shift of gaze or a syllable has gone, 0..1."""
    times = np.arange(frame_count(scene)) / FPS
    gone = np.zeros(len(times), dtype=np.float32)
    for event in scene.plan.events:
        gone = np.maximum(gone, np.array([event.course(t) for t in times], dtype=np.float32))
    return gone
