"""What a model that was trained on synthetic faces says about itself, wherever it goes."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import torch

from sfam.engine.export import ModelText

from .courses import CLASSES
from .decoding import Tally
from .recipe import Preset

VERSION = "1"
LICENCE = "Apache-2.0"
LIMITS = (
    "not evaluated on any real face: every figure about it comes from synthetic faces",
    "all heads derive from one photograph, repainted and reshaped; real faces differ more",
    "the classes are movement families, not feelings: negative = brows lowered or lip corners down, positive = lip "
    "corners pulled, surprise = brows raised, others = lips pressed, neutral = none of these",
    "base rates in training (5 micros, 1-2 macros in 20 s) are far above those of real life, where most detections of "
    "any such model are false alarms; published systems reach a spotting F1 of 0.03 to 0.07 on CAS(ME)^3",
    "a score is how often a window of a synthetic session with that score moves; where expressions are rarer, as in "
    "real life, it is less often",
    "movements below 0.2 px of a 110 px wide face, or below the noise of the camera, are not seen",
    "talking, chewing, strong light changes and hands before the face can look like expressions",
)


def model_text(preset: Preset) -> ModelText:
    """Name, classes, origin, licence and limits of a preset's model."""
    sequences = preset.train_sequences + preset.restless_sequences
    return ModelText(
        name=preset.name,
        version=VERSION,
        classes=CLASSES,
        training_data=(
            f"synthetic faces only: {sequences} rendered sequences of {preset.seconds:g} s (head motion, blinks, gaze, "
            "some speech; sensor noise) measured by this project's own flow chain, with drawn expressions laid over; "
            "rise and total durations after the annotation of CAS(ME)^3. Not evaluated on any real face."
        ),
        licence=LICENCE,
        limits=LIMITS,
    )


def training_record(preset: Preset, seed: int, tuned: Tally, windows: int) -> dict[str, Any]:
    """The `training` entry of model.json: how to make this model again, and what tuning saw."""
    return {
        "command": f"sfam train --preset {preset.name} --seed {seed}",
        "seed": seed,
        "steps": preset.steps,
        "windows": windows,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "tuning": {
            "what": "synthetic sequences on other heads that the decoding was tuned on: an upper bound, not a test",
            "micro_f1": round(tuned.micro.f1, 4),
            "false_micro_per_min": round(tuned.false_per_min, 3),
            "macro_f1": round(tuned.macro.f1, 4),
        },
        "not_evaluated_on": "any real face",
    }
