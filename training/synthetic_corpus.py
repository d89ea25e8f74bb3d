"""A corpus of synthetic recordings on disk, with their truth: what `sfam synth` writes and `sfam features` reads.

    OUT/train/<subject>/<clip>.mcap      OUT/test/<subject>/<clip>.mcap      each with <clip>.json (truth and settings)

Subjects are heads of their own; those of `test` are in no clip of `train`. Everything is drawn from the seed: how long
expressions last (after 860 annotated ones), blinks, shifts of gaze, speech, head motion, light, and the depth noise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from sfam.capture.face_sequence import TruthEvent
from sfam.capture.recorder import Recorder, RecorderSettings
from sfam.capture.sensor_noise import Noise
from sfam.capture.sequence_plan import Light, SequencePlan, draw_plan
from sfam.capture.source import SourceInfo

from .courses import annotated_durations
from .dataset import AnnotatedInterval, Clip, DataSet, DataSetError, Kind, group_by_subject
from .sequences import FPS, SCALES, Scene, frame_count, frames, sequence_of

NAME = "SYNTHETIC corpus"
TRUTH = "sfam.synthetic-clip/1"
SPLITS = ("train", "test")
DepthNoise = Literal["mixed", "white", "correlated", "quantised"]
DEPTH_NOISE: tuple[DepthNoise, ...] = ("mixed", "white", "correlated", "quantised")
ATTEMPTS = 20
FIRST_HEAD = {"train": 10_000, "test": 20_000}
"""Numbers of the heads: far from each other, and from those of presets and benchmarks."""


@dataclass(frozen=True, slots=True)
class CorpusPlan:
    """What to write."""

    subjects: int = 20
    test_share: float = 0.25
    """Of the subjects; at least one where there are two or more."""
    clips: int = 2
    """Of each subject."""
    seconds: float = 30.0
    depth_noise: DepthNoise = "mixed"
    full_size: bool = False
    """640x480 color with 848x480 depth beside it, as the demo camera; else the face's surroundings, depth aligned."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SynthTask:
    """One clip to write; picklable."""

    scene: Scene
    folder: Path
    name: str
    subject: str
    full_size: bool


def corpus_tasks(plan: CorpusPlan, out: Path) -> list[SynthTask]:
    """Every clip of a corpus, train first.

    Raises:
        ValueError: fewer than one subject or clip, or clips too short for what should happen in them.
    """
    if plan.subjects < 1 or plan.clips < 1:
        raise ValueError(f"a corpus of {plan.subjects} subjects with {plan.clips} clips each is empty")
    tests = round(plan.subjects * plan.test_share)
    tests = min(max(tests, 1), plan.subjects - 1) if plan.subjects > 1 and plan.test_share > 0 else 0
    tasks = []
    for number in range(plan.subjects):
        split = "test" if number >= plan.subjects - tests else "train"
        subject = f"head{FIRST_HEAD[split] + number:05d}"
        for clip in range(plan.clips):
            scene = draw_scene(plan, FIRST_HEAD[split] + number, clip)
            tasks.append(SynthTask(scene, out / split / subject, f"clip{clip:02d}", subject, plan.full_size))
    return tasks


def draw_scene(plan: CorpusPlan, head: int, clip: int) -> Scene:
    """What happens in one clip, before which camera.

    Raises:
        ValueError: the clips are too short for any expression.
    """
    rng = np.random.default_rng((plan.seed, head, clip))
    model = plan.depth_noise if plan.depth_noise != "mixed" else str(rng.choice(DEPTH_NOISE[1:]))
    noise = Noise(
        rgb_sigma=float(rng.uniform(1.5, 4.0)),
        depth_sigma_mm=float(rng.uniform(0.7, 2.0)),
        depth_model=cast(Literal["white", "correlated", "quantised"], model),
        correlation_px=float(rng.uniform(1.0, 2.0)),
        holes=float(rng.uniform(0.0, 0.05)),
    )
    scale = float(rng.uniform(*SCALES))
    for _ in range(ATTEMPTS - 1):
        with suppress(ValueError):  # what was drawn is longer than the clip: draw again
            return Scene(_happenings(plan, head, rng), noise, scale)
    return Scene(_happenings(plan, head, rng), noise, scale)


def _happenings(plan: CorpusPlan, head: int, rng: np.random.Generator) -> SequencePlan:
    blocks = plan.seconds / 30.0
    return draw_plan(
        int(rng.integers(1 << 31)),
        plan.seconds,
        speech=int(blocks * rng.integers(0, 3)),
        gaze=round(blocks * rng.integers(0, 5)),
        blinks=max(1, round(blocks * rng.integers(4, 11))),
        sway=float(np.exp(rng.uniform(np.log(0.5), np.log(2.5)))),
        identity=head,
        durations=tuple((int(rise), int(total)) for rise, total in annotated_durations()),
        light=Light(drift=float(rng.uniform(0, 0.04)), flicker=float(rng.choice((0.0, 0.0, 0.01, 0.02)))),
    )


def write_clip(task: SynthTask) -> bool:
    """Render one clip and its truth; False where it is there already. Under its name only once it is whole.

    Raises:
        RecordingError: the disk does not take it.
    """
    path, truth = task.folder / f"{task.name}.mcap", task.folder / f"{task.name}.json"
    content = truth_of(task)
    if path.exists() and _read_truth(truth) == content:
        return False
    task.folder.mkdir(parents=True, exist_ok=True)
    truth.unlink(missing_ok=True)
    draft = task.folder / f".{task.name}.{os.getpid()}.mcap"
    draft.unlink(missing_ok=True)
    sequence = sequence_of(task.scene)
    every = (
        (sequence.frame(index) for index in range(frame_count(task.scene))) if task.full_size else frames(task.scene)
    )
    try:
        _record(draft, every, task)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    beside = truth.with_name(f".{truth.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(beside, truth)
    return True


def _record(path: Path, every: Any, task: SynthTask) -> None:
    recorder = Recorder(RecorderSettings(path, lossless=True))
    begun = False
    try:
        for frame in every:
            if not begun:
                info = SourceInfo(task.subject, "synthetic", live=False, fps=FPS, calibration=frame.calibration)
                recorder.begin(replace(info, details={"what": NAME}))
                begun = True
            recorder.push(frame)
    finally:
        if begun:
            recorder.finish()


def truth_of(task: SynthTask) -> dict[str, Any]:
    """What is known of a clip, as its JSON file holds it."""
    events = sequence_of(task.scene).events()
    return {
        "format": TRUTH,
        "subject": task.subject,
        "video": task.name,
        "frames": frame_count(task.scene),
        "fps": FPS,
        "head": task.scene.plan.identity,
        "noise": asdict(task.scene.noise),
        "light": asdict(task.scene.plan.light),
        "face_scale": task.scene.scale,
        "full_size": task.full_size,
        "events": [_row(event) for event in events],
    }


def _row(event: TruthEvent) -> dict[str, Any]:
    names = ("kind", "name", "region", "emotion", "onset", "apex", "offset", "peak_px", "peak_mm")
    return {name: getattr(event, name) for name in names}


def _read_truth(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # none, or cut off: the clip is written again
    return content if isinstance(content, dict) and content.get("format") == TRUTH else None


def is_corpus(root: Path) -> bool:
    """Whether `root` holds a corpus or one of its splits."""
    return any(_read_truth(path) is not None for path in _truths(root)[:1])


def _truths(root: Path) -> Sequence[Path]:
    return sorted([*root.glob("*/*/*.json"), *root.glob("*/*.json")])


def read_corpus(root: Path) -> DataSet:
    """Clips of a corpus, or of one split of it; a clip without its truth is not finished and not read.

    Raises:
        DataSetError: there is none.
    """
    clips = []
    for path in _truths(root):
        content, recording = _read_truth(path), path.with_suffix(".mcap")
        if content is None or not recording.exists():
            continue
        intervals = tuple(
            AnnotatedInterval(cast(Kind, one["kind"]), one["onset"], one["apex"], one["offset"], one["emotion"])
            for one in content["events"]
            if one["kind"] in ("micro", "macro")
        )
        clips.append(Clip(content["subject"], content["video"], recording, intervals))
    if not clips:
        raise DataSetError(f"{root}: no finished clip of a synthetic corpus; write one with `sfam synth {root}`")
    return DataSet(NAME, group_by_subject(clips))
