"""Leave one subject out: a network for each subject that has never seen them, and what it says of their clips.

Each fold is a file of its own, written when it is whole, so a run that was broken off goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sfam.engine.checkpoint import CheckpointError, read_checkpoint
from sfam.engine.fold_origin import begin_origin
from sfam.engine.network import SFAMNet

from .clip_windows import FRAME_SKIP, ClipWindows, MapStore, at_published_rate, scored_frames, subjects_of
from .dataset import DataSetError, emotion_class
from .executor import Executor
from .feature_set import SUMMARY, read_features
from .fold_names import file_stem, refuse_shared_files, weights_file
from .processed import FOLDER, SPOTTING_FILE, find_processed, read_pickle, read_processed
from .program import program_hash
from .published import PublishedRecipe, draw_samples, fit_published

SCORED_AT_ONCE = 512
GAIN_WINDOWS = 256
GAINS = tuple(float(gain) for gain in np.geomspace(0.05, 20.0, 14))
"""Factors on the maps that `fold_gain` tries."""
FOLDS, WEIGHTS = "folds", "weights"


@dataclass(frozen=True, slots=True)
class FoldTask:
    """One fold; picklable."""

    subject: str
    data: Path
    annotation: Path | None
    classes: int
    out: Path
    weights: Path | None = None
    """Folder of one checkpoint a subject to score with, see `weights_file`; None trains."""
    recipe: PublishedRecipe = field(default_factory=PublishedRecipe)
    seed: int = 0
    gain: float | None = 1.0
    """Factor on all maps before imported weights see them; None = fitted for each fold without its subject."""


@dataclass(frozen=True, slots=True)
class ClipTrace:
    """What one network says of one clip, at every second frame; 0 and neutral where there is no window."""

    video: str
    spot: tuple[float, ...]
    emotion: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FoldResult:
    """What became of one fold."""

    subject: str
    status: Literal["scored", "non_finite", "no_weights"]
    reason: str = ""
    traces: tuple[ClipTrace, ...] = ()
    truth: tuple[int, ...] = ()
    """Classes of the annotated micro-expressions whose onset-to-apex motion is known."""
    predicted: tuple[int, ...] = ()
    loss: float = float("nan")
    """Mean of the last ten steps."""
    gain: float = 1.0
    """Factor on the maps."""


FoldTold = Callable[[int, int, FoldResult], None]
"""Told of each fold: how many are done, of how many, and what became of it."""


@lru_cache(maxsize=1)
def load_clips(data: Path, annotation: Path | None) -> list[ClipWindows]:
    """Clips of a feature folder or of the authors' processed files.

    Raises:
        DataSetError: neither is there; one sentence says that the authors have hidden the download. Or a clip has
            another frame rate than the published protocol counts by.
    """
    if (data / SUMMARY).exists():
        return at_published_rate(read_features(data))
    folder = find_processed(data)
    if folder is None:
        read_pickle(data / SPOTTING_FILE if data.name == FOLDER else data / FOLDER / SPOTTING_FILE)
    if annotation is None:
        raise DataSetError(f"{data}: the processed files hold no annotation; give the folder of both tables")
    assert folder is not None
    return read_processed(folder, annotation)


def run_folds(
    data: Path,
    out: Path,
    classes: int,
    executor: Executor,
    *,
    annotation: Path | None = None,
    weights: Path | None = None,
    recipe: PublishedRecipe | None = None,
    seed: int = 0,
    gain: float | None = 1.0,
    tell: FoldTold = lambda *_: None,
) -> list[FoldResult]:
    """Every fold, trained or scored with its own imported weights; finished ones are not done again.

    Args:
        data: feature folder, or the folder of the authors' processed files.
        out: where folds (and trained weights) go.
        classes: 4 or 7.
        executor: where folds run.
        annotation: folder of both tables; needed for processed files.
        weights: folder of one checkpoint a subject; None trains.
        recipe: other constants than the published ones.
        seed: of weights, draws and order.
        gain: factor on all maps for imported weights, None = fitted; see `fold_gain`.
        tell: called after each fold.

    Raises:
        DataSetError: the data cannot be read, fewer than two subjects, or two whose files would have one name.
    """
    tasks = fold_tasks(data, out, classes, annotation=annotation, weights=weights, recipe=recipe, seed=seed, gain=gain)
    results: dict[int, FoldResult] = {}
    for number, outcome in executor.run(run_fold, tasks):
        if isinstance(outcome, BaseException):
            raise outcome
        results[number] = outcome
        tell(len(results), len(tasks), outcome)
    return [results[number] for number in sorted(results)]


def fold_tasks(
    data: Path,
    out: Path,
    classes: int,
    *,
    annotation: Path | None = None,
    weights: Path | None = None,
    recipe: PublishedRecipe | None = None,
    seed: int = 0,
    gain: float | None = 1.0,
) -> list[FoldTask]:
    """One task a subject, arguments as in `run_folds`; makes the folders below `out`.

    Trained weights count as unfinished until `folds_origin` is written beside them.
    """
    subjects = subjects_of(load_clips(data, annotation))
    if len(subjects) < 2:
        raise DataSetError(f"{data}: {len(subjects)} subject; leaving one out needs two or more")
    refuse_shared_files(subjects, data)
    for name in (FOLDS, WEIGHTS):
        (out / name).mkdir(parents=True, exist_ok=True)
    if weights is None:
        begin_origin(out / WEIGHTS)
    chosen = recipe or PublishedRecipe()
    return [FoldTask(name, data, annotation, classes, out, weights, chosen, seed, gain) for name in subjects]


def fold_line(done: int, total: int, result: FoldResult) -> str:
    """What is said when a fold is done."""
    return f"fold {done} of {total}: {result.subject} {result.status} {result.reason}".rstrip()


def run_fold(task: FoldTask) -> FoldResult:
    """Train or fetch the network of one fold and score its subject."""
    done = read_fold(task)
    if done is not None:
        return done
    clips = load_clips(task.data, task.annotation)
    own = [clip for clip in clips if clip.subject == task.subject]
    others = [clip for clip in clips if clip.subject != task.subject]
    loss, gain = float("nan"), 1.0
    try:
        if task.weights is None:
            network, loss = _train(task, others)
        else:
            network = fold_network(task.weights, task.subject, task.classes)
            gain = fold_gain(network, others, task.seed) if task.gain is None else task.gain
    except FloatingPointError as error:
        result = FoldResult(task.subject, "non_finite", str(error))
    except CheckpointError as error:
        broken = "not finite" in str(error)
        result = FoldResult(task.subject, "non_finite" if broken else "no_weights", str(error))
    else:
        result = score_subject(network, task.subject, own, task.classes, loss, gain)
    write_fold(task, result)
    return result


def fold_gain(network: SFAMNet, others: Sequence[ClipWindows], seed: int) -> float:
    """The factor on all maps under which a fold's scores span the most, from windows of the other subjects only.

    The published weights were trained on maps of an unknown scale. No label is looked at, and no window of the
    subject that the fold is to be scored on; up to `GAIN_WINDOWS` windows are drawn by seed.
    """
    rng = np.random.default_rng((seed, 7))
    places = [(clip, int(index)) for clip in others for index in scored_frames(clip)]
    if not places:
        return 1.0
    drawn = rng.choice(len(places), min(GAIN_WINDOWS, len(places)), replace=False)
    maps = np.stack([places[index][0].maps[places[index][1]] for index in sorted(drawn)]).astype(np.float32)

    def span(gain: float) -> float:
        spot, _ = _score(network, maps, np.arange(len(maps)), gain)
        low, high = np.percentile(spot, [5, 99])
        return float(high - low)

    return max((1.0, *GAINS), key=span)


def fold_network(weights: Path, subject: str, classes: int) -> SFAMNet:
    """The imported network of one held-out subject: its own fold, never one that saw them.

    Raises:
        CheckpointError: there is none, it is not finite, or it has other classes.
    """
    path = _fold_path(weights, subject, classes)
    if not path.exists():
        raise CheckpointError(f"{path}: no fold of subject {subject}")
    network = read_checkpoint(path)
    if network.classes != classes + 1:
        raise CheckpointError(f"{path}: has {network.classes} classes; {classes} and neutral were asked for")
    return network


def _fold_path(weights: Path, subject: str, classes: int) -> Path:
    inside = weights / f"{classes}emo"
    return (inside if inside.is_dir() else weights) / weights_file(subject)


def _train(task: FoldTask, others: Sequence[ClipWindows]) -> tuple[SFAMNet, float]:
    torch.set_num_threads(1)
    torch.manual_seed(task.seed)
    network = SFAMNet(task.classes + 1)
    samples = draw_samples(others, task.classes, task.recipe, task.seed)
    losses = fit_published(network, samples, task.recipe, task.seed)
    save_weights(task, network)
    return network, float(np.mean(losses[-10:]))


def save_weights(task: FoldTask, network: SFAMNet) -> None:
    """Keep what a fold has learnt, in the form of the published checkpoints."""
    path = task.out / WEIGHTS / weights_file(task.subject)
    beside = path.with_suffix(f".{os.getpid()}.new")
    torch.save(network.state_dict(), beside)
    os.replace(beside, path)


def score_subject(
    network: SFAMNet,
    subject: str,
    clips: Sequence[ClipWindows],
    classes: int,
    loss: float = float("nan"),
    gain: float = 1.0,
) -> FoldResult:
    """What a network says of all clips of a subject, their maps times `gain`."""
    traces, truth, predicted = [], [], []
    for clip in clips:
        samples = -(-clip.length // FRAME_SKIP)
        spot, emotion = np.zeros(samples, np.float32), np.full(samples, classes, np.int64)
        scored = scored_frames(clip)
        places = clip.frames[scored] // FRAME_SKIP
        spot[places], emotion[places] = _score(network, clip.maps, scored, gain)
        if samples:
            traces.append(ClipTrace(clip.video, tuple(map(float, spot)), tuple(map(int, emotion))))
        _, apex = _score(network, clip.apex_maps, np.arange(len(clip.apex_maps)), gain)
        for name, found in zip(clip.apex_emotions, apex, strict=True):
            label = emotion_class(name, classes)
            if label is not None:
                truth.append(label)
                predicted.append(int(found))
    return FoldResult(subject, "scored", "", tuple(traces), tuple(truth), tuple(predicted), loss, gain)


def _score(
    network: SFAMNet, maps: MapStore, chosen: NDArray[np.int64], gain: float
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Spotting score and class of chosen maps, read a batch at a time."""
    spots, classes = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
    with torch.inference_mode():
        for begin in range(0, len(chosen), SCORED_AT_ONCE):
            part = torch.from_numpy(np.array(maps[chosen[begin : begin + SCORED_AT_ONCE]], np.float32)) * gain
            spot, logits = network(*torch.chunk(part, 3, dim=1))
            spots.append(spot.numpy())
            classes.append(logits.argmax(dim=1).numpy())
    return np.concatenate(spots), np.concatenate(classes)


def _identity(task: FoldTask) -> str:
    """Hash of all that decides a fold's result: what lies in the files, not only where they are."""
    listed = [task.data / SUMMARY, task.data / "index.csv"]
    files = [path for path in listed if path.exists()]
    parts: list[Any] = [path.read_text(encoding="utf-8") for path in files]
    processed = find_processed(task.data) if not files else None
    if processed is not None:
        parts += [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(processed.glob("*.pkl"))]
        parts += [_bytes_hash(path) for path in sorted(task.annotation.glob("*.xls*"))] if task.annotation else []
    network = None if task.weights is None else _bytes_hash(_fold_path(task.weights, task.subject, task.classes))
    parts += [program_hash(), str(task.data), network]
    parts += [task.subject, task.classes, asdict(task.recipe), task.seed, task.gain]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _bytes_hash(path: Path) -> str:
    """SHA-256 of a file; why not, where it cannot be read, so that a run with the file is another."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return type(error).__name__


def read_fold(task: FoldTask) -> FoldResult | None:
    """The result of a finished fold of the same data, settings and weights."""
    try:
        content = json.loads(_path(task).read_text(encoding="utf-8"))
        if content["identity"] != _identity(task):
            return None
        result = dict(content["result"])
        traces = tuple(
            ClipTrace(one["video"], tuple(one["spot"]), tuple(one["emotion"])) for one in result.pop("traces")
        )
        truth, predicted = tuple(result.pop("truth")), tuple(result.pop("predicted"))
        return FoldResult(**result, traces=traces, truth=truth, predicted=predicted)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or of another version: the fold runs again


def write_fold(task: FoldTask, result: FoldResult) -> None:
    """Keep a finished fold; the file is whole or not there."""
    path = _path(task)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(json.dumps({"identity": _identity(task), "result": asdict(result)}).encode())
    os.replace(beside, path)


def _path(task: FoldTask) -> Path:
    return task.out / FOLDS / f"{file_stem(task.subject)}.json"
