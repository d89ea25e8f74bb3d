"""From a preset to a model folder: render, measure, learn, tune, write.

Scenes are measured and tuning sequences judged in processes of their own; their number changes nothing in the result.
What is done is kept beside the model until the model is written, so the same command goes on after an interruption.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sfam.engine.decoding import RunsSpec
from sfam.engine.export import check_replaceable, default_parity_maps, write_model
from sfam.engine.network import SFAMNet
from sfam.engine.normalisation import Normalisation
from sfam.stream.config import StreamConfig

from .backgrounds import BackgroundTask, measure_background
from .card import model_text, training_record
from .courses import CLASSES
from .decoding import Tally
from .executor import Executor, LocalExecutor
from .fit import Run, Schedule, fit
from .overlays import Background, Batch, Corpus, Overlay, draw_overlay
from .program import program_hash
from .recipe import PRESETS, REFUSED, Preset
from .sequences import Conditions, Scene, draw_background, draw_session
from .tuning import Judged, calibrate, judge_sequence, tune

PARITY_WINDOWS = 4
TUNE_IDENTITY = 500
NATURAL_SWAY, RESTLESS_SWAY = (0.5, 1.2), (1.5, 3.0)
TUNE_CONDITIONS = (
    Conditions(sway=0.5),
    Conditions(),
    Conditions(),
    Conditions(noise=1.8),
    Conditions(sway=1.8),
    Conditions(),
    Conditions(sway=2.5),
    Conditions(speech=2, gaze=5),
)
"""The decoding is tuned on all of them. Scores are calibrated on the usual ones: in restless or noisy ones as many
windows move, but noise seems to as well, and a mean over both is right for neither."""
GOLDEN_RATIO = 0.618
HELD_OUT_BATCHES = 8
Progress = Callable[[str], None]


def train_scenes(preset: Preset, seed: int) -> list[Scene]:
    """Backgrounds to learn from, each on another head; the last ones restless."""
    scenes = []
    for index in range(preset.train_sequences + preset.restless_sequences):
        low, high = RESTLESS_SWAY if index >= preset.train_sequences else NATURAL_SWAY
        sway = low + (high - low) * ((index * GOLDEN_RATIO) % 1.0)
        scenes.append(draw_background(seed + index, preset.seconds, index, sway, talks=index % 6 == 5))
    return scenes


def tune_conditions(index: int) -> Conditions:
    """What a tuning sequence is seen under."""
    return TUNE_CONDITIONS[index % len(TUNE_CONDITIONS)]


def tune_scenes(preset: Preset, seed: int) -> list[Scene]:
    """Sequences with expressions to tune the decoding on: other heads, other numbers."""
    return [
        draw_session(seed + 500 + index, preset.tune_seconds, TUNE_IDENTITY + index, tune_conditions(index))
        for index in range(preset.tune_sequences)
    ]


def draw_overlays(
    backgrounds: Sequence[Background], each: int, preset: Preset, rng: np.random.Generator
) -> list[Overlay]:
    """`each` overlays of random expressions over every background."""
    return [
        draw_overlay(rng, background, index, preset.micros, preset.macros)
        for index, background in enumerate(backgrounds)
        for _ in range(each)
    ]


def learn(
    preset: Preset,
    backgrounds: Sequence[Background],
    seed: int,
    progress: Callable[[int, float], None] | None = None,
    saved: Path | None = None,
) -> tuple[SFAMNet, int, Run]:
    """A fresh network trained on overlays over these backgrounds, the number of windows it was shown from, and the run.

    Every `preset.held_out_every`-th background is not learnt from; its overlays decide when to stop.
    """
    rng = np.random.default_rng((seed, 1))
    every = preset.held_out_every
    apart = [background for index, background in enumerate(backgrounds) if every and index % every == every - 1]
    kept = [background for index, background in enumerate(backgrounds) if not every or index % every != every - 1]
    corpus = Corpus(kept, draw_overlays(kept, preset.overlays_each, preset, rng), preset.silent)
    held_out: list[Batch] = []
    if apart:
        other = Corpus(apart, draw_overlays(apart, preset.overlays_each, preset, rng), preset.silent)
        held_out = [other.batch(rng) for _ in range(HELD_OUT_BATCHES)]
    torch.manual_seed(seed)
    network = SFAMNet(len(CLASSES))
    schedule = Schedule(steps=preset.steps)
    run = fit(network, corpus, schedule, preset.scales, seed, progress, held_out=held_out, saved=saved)
    return network, corpus.windows, run


@dataclass(frozen=True, slots=True, eq=False)
class JudgeTask:
    """One tuning sequence to be judged by the trained network; picklable."""

    scene: Scene
    preset: Preset
    weights: dict[str, NDArray[np.float32]]


def judge_scene(task: JudgeTask) -> Judged:
    """Scores and windows of one sequence."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    network = SFAMNet(len(CLASSES))
    network.load_state_dict({name: torch.from_numpy(value) for name, value in task.weights.items()})
    network.eval()
    preset = task.preset
    return judge_sequence(network, preset.scales, task.scene, stream_of(preset), preset.silent)


def judge_scenes(
    network: SFAMNet, preset: Preset, scenes: Sequence[Scene], executor: Executor, say: Progress
) -> list[Judged]:
    """Every scene by the network, in order."""
    weights = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    tasks = [JudgeTask(scene, preset, weights) for scene in scenes]
    return _all(executor, judge_scene, tasks, "tuning sequence", say)


def stream_of(preset: Preset) -> StreamConfig:
    """Settings of the analysis that a preset is measured with."""
    return StreamConfig(window_ms=preset.window_ms, head_motion=preset.head_motion)


def train_preset(
    name: str,
    out: Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    preset: Preset | None = None,
    executor: Executor | None = None,
    steps: Callable[[int, float], None] | None = None,
) -> Path:
    """Make a model from nothing but the synthetic generator.

    Args:
        name: of a preset.
        out: folder to write; a model that is there is replaced.
        seed: of data, weights and order; the same seed gives the same model on the same machine and versions.
        progress: called with a line of text now and then.
        preset: a changed recipe instead of the named one.
        executor: where scenes are measured; None = processes of this machine.
        steps: called with number and loss of every step.

    Returns:
        The artifact's folder.

    Raises:
        ValueError: unknown preset, or one that there is no honest way to train; the text says why.
        ModelError: `out` holds something else than a model.
    """
    chosen = preset or named_preset(name)
    check_replaceable(out)
    say, runner = progress or (lambda line: None), executor or LocalExecutor()
    torch.set_num_threads(1)
    work = out.with_name(f".{out.name}.unfinished")
    work.mkdir(parents=True, exist_ok=True)
    _begin_anew_if_other(work, chosen, seed)
    first = chosen.seed + 1000 * seed

    def tell(step: int, loss: float) -> None:
        if (step + 1) % 50 == 0:
            say(f"step {step + 1} of {chosen.steps}: loss {loss:.3f}")
        if steps is not None:
            steps(step, loss)

    backgrounds = measure_backgrounds(chosen, first, work, runner, say)
    network, windows, run = learn(chosen, backgrounds, seed, tell, work / "fit.pt")
    say(f"kept the weights of step {run.kept_step} of {len(run.losses)}")
    del backgrounds
    spec, tuned = calibrate_and_tune(network, chosen, first, runner, say)
    px, mm = chosen.scales
    write_model(
        network,
        model_text(chosen),
        spec,
        out,
        normalisation=Normalisation(scale=(px, px, mm)),
        window_ms=chosen.window_ms,
        parity_maps=default_parity_maps(PARITY_WINDOWS),
        extra={"training": training_record(chosen, seed, tuned, windows)},
        overwrite=True,
    )
    shutil.rmtree(work, ignore_errors=True)
    return out


def measure_backgrounds(
    preset: Preset, first_seed: int, work: Path, executor: Executor, say: Progress
) -> list[Background]:
    """Sequences without expressions as the live chain sees them; kept in `work`, and taken from there."""
    stream = stream_of(preset)
    tasks = [
        BackgroundTask(scene, stream, work / f"scene_{index:03d}.npz")
        for index, scene in enumerate(train_scenes(preset, first_seed))
    ]
    return _all(executor, measure_background, tasks, "training sequence", say)


def calibrate_and_tune(
    network: SFAMNet, preset: Preset, first_seed: int, executor: Executor, say: Progress
) -> tuple[RunsSpec, Tally]:
    """Scores that mean what they say, changed in the network, and the decoding that reads them best."""
    judged = judge_scenes(network, preset, tune_scenes(preset, first_seed), executor, say)
    usual = [each for index, each in enumerate(judged) if tune_conditions(index).is_usual]
    judged = calibrate(network, judged, usual)
    say("tuning the decoding")
    spec, tuned = tune(preset.choices, judged)
    say(f"on tuning sequences: micro F1 {tuned.micro.f1:.3f}, {tuned.false_per_min:.2f} false per minute")
    return spec, tuned


def named_preset(name: str) -> Preset:
    """A preset by name.

    Raises:
        ValueError: there is none; the text says why, or which there are.
    """
    if name in REFUSED:
        raise ValueError(f"no preset {name!r}: {REFUSED[name]}")
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; known: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def _begin_anew_if_other(work: Path, preset: Preset, seed: int) -> None:
    """Clear what an earlier run left, unless it was of the same recipe, seed and program."""
    program = program_hash("capture", "stream", "engine", "training")
    content = json.dumps([asdict(preset), seed, program], sort_keys=True, default=str)
    identity = hashlib.sha256(content.encode()).hexdigest()
    note = work / "recipe.txt"
    if note.exists() and note.read_text(encoding="utf-8") == identity:
        return
    for path in work.iterdir():
        path.unlink()
    note.write_text(identity, encoding="utf-8")


def _all(executor: Executor, work: Callable[[Any], Any], tasks: Sequence[Any], what: str, say: Progress) -> list[Any]:
    """Results of all tasks in their order; the first failure ends it."""
    done: dict[int, Any] = {}
    for number, outcome in executor.run(work, tasks):
        if isinstance(outcome, BaseException):
            raise outcome
        done[number] = outcome
        say(f"{what} {len(done)} of {len(tasks)}")
    return [done[number] for number in range(len(tasks))]
