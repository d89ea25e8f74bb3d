"""Compares windows of the small training images with those of full camera frames, for the same plans.

Run `python -m benchmarks.window_statistics`. What the network sees in training must look like what it sees live: noise
where nothing moves, blinks, and the measured share of a known movement.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import RGBDFrame
from sfam.capture.sensor_noise import Noise
from sfam.capture.sequence_plan import draw_plan
from sfam.training.backgrounds import Measured, measure
from sfam.training.sequences import FPS, Scene, frame_count, frames, sequence_of

LIVE_SCALE = 1.25
"""Face size of the demo camera."""
QUIET_MARGIN = 8


def full_frames(scene: Scene) -> Iterator[RGBDFrame]:
    """The scene as the demo camera gives it."""
    sequence = sequence_of(scene)
    return (sequence.frame(index) for index in range(frame_count(scene)))


def statistics(scene: Scene, measured: Measured) -> dict[str, float]:
    """Root mean squares of u, v (px) and w (mm) at rest and in blinks, and of u, v in expressions."""
    rows: dict[str, list[NDArray[np.float32]]] = {"rest": [], "blink": [], "move": []}
    events = sequence_of(scene).events()
    for window in measured.windows:
        if window is None:
            continue
        near = {e.kind for e in events if e.onset - 2 <= window.frame <= e.offset + QUIET_MARGIN}
        name = "rest" if not near else "blink" if near == {"blink"} else "move"
        rows[name].append(np.sqrt((window.maps**2).mean(axis=(1, 2))))
    result = {}
    for name, values in rows.items():
        u, v, w = np.mean(values, axis=0) if values else (np.nan,) * 3
        result.update({f"{name} u": float(u), f"{name} v": float(v), f"{name} w": float(w)})
    result["windows"] = float(sum(len(values) for values in rows.values()))
    return result


def main() -> None:
    """Print one row per plan and form."""
    for seed in range(3):
        for kind in ("white", "correlated"):
            noise = Noise(depth_model="correlated" if kind == "correlated" else "white")
            plan = draw_plan(900_000 + seed, 10.0, micro=2, macro=1, blinks=3, identity=900 + seed)
            scene = Scene(plan, noise, LIVE_SCALE)
            for form, source in (("small", frames(scene)), ("full", full_frames(scene))):
                row = statistics(scene, measure(source, fps=FPS))
                print(f"{seed} {kind:10} {form:5} " + "  ".join(f"{name} {value:.3f}" for name, value in row.items()))


if __name__ == "__main__":
    main()
