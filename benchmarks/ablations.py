"""What each part of the default model is worth: channels, head-motion removal, length of the window.

SYNTHETIC. Every variant is trained and tuned alike, with a smaller recipe than the default model's, and judged on the
same sessions of other heads, with the live spotter. Channels are compared on white and on correlated depth noise.

    python -m benchmarks.ablations [--scenes 16] [--steps 500] [--tune 8] [--test 10] [--only NAME] [--work DIR]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sfam.capture.sensor_noise import Noise
from sfam.capture.sequence_plan import draw_plan
from sfam.training.courses import annotated_durations
from sfam.training.decoding import Tally
from sfam.training.executor import LocalExecutor
from sfam.training.recipe import PRESETS, Preset
from sfam.training.sequences import Scene
from sfam.training.train import calibrate_and_tune, judge_scenes, learn, measure_backgrounds
from sfam.training.tuning import count

FIRST_SEED, FIRST_HEAD, SCALE = 830_000, 4000, 1.25
U, V, W = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table."""

    name: str
    preset: Preset


def variants(base: Preset) -> list[Variant]:
    """All rows."""
    return [
        Variant("all (the default)", base),
        Variant("u, v only", replace(base, silent=(W,))),
        Variant("w only", replace(base, silent=(U, V))),
        Variant("head motion not removed", replace(base, head_motion=False)),
        Variant("window 150 ms (133 or 167 at 30 fps)", replace(base, window_ms=150.0)),
        Variant("window 300 ms", replace(base, window_ms=300.0)),
    ]


def test_scenes(number: int) -> dict[str, list[Scene]]:
    """Sessions of heads that no variant has seen."""
    durations = tuple((int(rise), int(total)) for rise, total in annotated_durations())
    noises = {"white": Noise(), "correlated": Noise(depth_model="correlated")}
    return {
        name: [
            Scene(draw_plan(FIRST_SEED + index, 30.0, identity=FIRST_HEAD + index, durations=durations), noise, SCALE)
            for index in range(number if name == "white" else max(2, number // 2))
        ]
        for name, noise in noises.items()
    }


def row(variant: Variant, work: Path, tests: dict[str, list[Scene]]) -> str:
    """Train, tune and judge one variant."""
    preset, runner = variant.preset, LocalExecutor()
    folder = work / f"{preset.window_ms:g}{'' if preset.head_motion else '_head'}"
    folder.mkdir(parents=True, exist_ok=True)
    backgrounds = measure_backgrounds(preset, preset.seed, folder, runner, _unsaid)
    network, _, _ = learn(preset, backgrounds, 0)
    spec, _ = calibrate_and_tune(network, preset, preset.seed, runner, _unsaid)
    cells: list[str] = []
    for scenes in tests.values():
        cells += _cells(count(spec, judge_scenes(network, preset, scenes, runner, _unsaid)))
    return f"| {variant.name} | " + " | ".join(cells) + " |"


def _unsaid(line: str) -> None:
    """Rows are all that is printed."""


def _cells(found: Tally) -> Sequence[str]:
    micro = found.micro
    return [
        f"{micro.tp}/{micro.tp + micro.fn}",
        f"{found.false_per_min:.2f}",
        f"{micro.f1:.3f}",
        f"{found.macro.f1:.2f}",
    ]


def main() -> None:
    """Print one row after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--tune", type=int, default=8)
    parser.add_argument("--test", type=int, default=10)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--work", type=Path, default=Path("ablations"), help="keeps measured scenes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    base = replace(
        PRESETS["synthetic-4"], train_sequences=given.scenes * 3 // 4, restless_sequences=given.scenes // 4,
        steps=given.steps, tune_sequences=given.tune, held_out_every=0,
    )  # fmt: skip
    sides = ("found", "false/min", "micro F1", "macro F1")
    tests = test_scenes(given.test)
    heads = [f"{side}, {name} depth noise" for name in tests for side in sides]
    print("| variant | " + " | ".join(heads) + " |\n" + "|---" * (len(heads) + 1) + "|", flush=True)
    for variant in variants(base):
        if given.only in variant.name:
            print(row(variant, given.work, tests), flush=True)


if __name__ == "__main__":
    main()
