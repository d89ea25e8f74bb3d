"""From a preset to a model folder: render, measure, learn, tune, write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from sfam.engine.export import default_parity_maps, write_model
from sfam.engine.network import SFAMNet
from sfam.engine.normalisation import Normalisation

from .backgrounds import as_background, measure
from .card import model_text, training_record
from .courses import CLASSES
from .fit import Schedule, fit
from .overlays import Background, Corpus, Overlay, draw_overlay
from .recipe import PRESETS, Preset
from .sequences import Scene, draw_background, draw_session, frames, lookalikes
from .tuning import judge_sequence, tune

PARITY_WINDOWS = 4
TUNE_IDENTITY = 500
NATURAL_SWAY, RESTLESS_SWAY = (0.5, 1.2), (1.5, 3.0)
TUNE_SWAY = (0.5, 1.0, 1.0, 1.8)
GOLDEN_RATIO = 0.618


def train_scenes(preset: Preset, seed: int) -> list[Scene]:
    """Backgrounds to learn from, each on another head; the last ones restless."""
    scenes = []
    for index in range(preset.train_sequences + preset.restless_sequences):
        low, high = RESTLESS_SWAY if index >= preset.train_sequences else NATURAL_SWAY
        sway = low + (high - low) * ((index * GOLDEN_RATIO) % 1.0)
        scenes.append(draw_background(seed + index, preset.seconds, index, sway, talks=index % 6 == 5))
    return scenes


def tune_scenes(preset: Preset, seed: int) -> list[Scene]:
    """Sequences with expressions to tune the decoding on: other heads, other numbers."""
    return [
        draw_session(seed + 500 + index, preset.tune_seconds, TUNE_IDENTITY + index, TUNE_SWAY[index % len(TUNE_SWAY)])
        for index in range(preset.tune_sequences)
    ]


def draw_overlays(backgrounds: list[Background], each: int, preset: Preset, rng: np.random.Generator) -> list[Overlay]:
    """`each` overlays of random expressions over every background."""
    return [
        draw_overlay(rng, background, index, preset.micros, preset.macros)
        for index, background in enumerate(backgrounds)
        for _ in range(each)
    ]


def learn(
    preset: Preset, backgrounds: list[Background], seed: int, progress: Callable[[int, float], None] | None = None
) -> tuple[SFAMNet, int]:
    """A fresh network trained on overlays over these backgrounds, and the number of windows it was shown from."""
    rng = np.random.default_rng((seed, 1))
    corpus = Corpus(backgrounds, draw_overlays(backgrounds, preset.overlays_each, preset, rng))
    torch.manual_seed(seed)
    network = SFAMNet(len(CLASSES))
    fit(network, corpus, Schedule(steps=preset.steps), preset.scales, seed, progress)
    return network, corpus.windows


def train_preset(
    name: str, out: Path, *, seed: int = 0, progress: Callable[[str], None] | None = None, preset: Preset | None = None
) -> Path:
    """Make a model from nothing but the synthetic generator.

    Args:
        name: of a preset.
        out: folder to write; replaced if it is there.
        seed: of data, weights and order; the same seed gives the same model on the same machine and versions.
        progress: called with a line of text now and then.
        preset: a changed recipe instead of the named one.

    Returns:
        The artifact's folder.

    Raises:
        ValueError: unknown preset.
    """
    if preset is None:
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}; known: {', '.join(sorted(PRESETS))}")
        preset = PRESETS[name]
    say = progress or (lambda line: None)
    first = preset.seed + 1000 * seed
    torch.set_num_threads(1)
    scenes = train_scenes(preset, first)
    backgrounds = [
        as_background(measure(frames(scene)), lookalikes(scene)) for scene in _told(scenes, "training sequence", say)
    ]
    network, windows = learn(preset, backgrounds, seed, lambda step, loss: _tell_step(say, preset, step, loss))
    del backgrounds
    judged = [
        judge_sequence(network, preset.scales, measure(frames(scene)), scene)
        for scene in _told(tune_scenes(preset, first), "tuning sequence", say)
    ]
    say("tuning the decoding")
    spec, tuned = tune(preset.choices, judged)
    say(f"on tuning sequences: micro F1 {tuned.micro.f1:.3f}, {tuned.false_per_min:.2f} false per minute")
    px, mm = preset.scales
    write_model(
        network,
        model_text(preset),
        spec,
        out,
        normalisation=Normalisation(scale=(px, px, mm)),
        window_ms=preset.window_ms,
        parity_maps=default_parity_maps(PARITY_WINDOWS),
        extra={"training": training_record(preset, seed, tuned, windows)},
        overwrite=True,
    )
    return out


def _told(scenes: list[Scene], what: str, say: Callable[[str], None]) -> Iterator[Scene]:
    for index, scene in enumerate(scenes):
        say(f"rendering {what} {index + 1} of {len(scenes)}")
        yield scene


def _tell_step(say: Callable[[str], None], preset: Preset, step: int, loss: float) -> None:
    if (step + 1) % 50 == 0:
        say(f"step {step + 1} of {preset.steps}: loss {loss:.3f}")
