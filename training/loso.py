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
from sfam.engine.network import SFAMNet

from .clip_windows import FRAME_SKIP, ClipWindows, scored_frames, subjects_of
from .dataset import DataSetError, emotion_class, subject_key
from .executor import Executor
from .feature_set import SUMMARY, read_features
from .processed import FOLDER, SPOTTING_FILE, find_processed, read_pickle, read_processed
from .published import PublishedRecipe, draw_samples, fit_published

SCORED_AT_ONCE = 512
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
    """Folder of `subject_<number>.pkl` to score with; None trains."""
    recipe: PublishedRecipe = field(default_factory=PublishedRecipe)
    seed: int = 0


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


@lru_cache(maxsize=1)
def load_clips(data: Path, annotation: Path | None) -> list[ClipWindows]:
    """Clips of a feature folder or of the authors' processed files.

    Raises:
        DataSetError: neither is there; one sentence says that the authors have hidden the download.
    """
    if (data / SUMMARY).exists():
        return read_features(data)
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
    tell: Callable[[str], None] = lambda _: None,
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
        tell: called with a line after each fold.

    Raises:
        DataSetError: the data cannot be read, or fewer than two subjects.
    """
    subjects = subjects_of(load_clips(data, annotation))
    if len(subjects) < 2:
        raise DataSetError(f"{data}: {len(subjects)} subject; leaving one out needs two or more")
    for name in (FOLDS, WEIGHTS):
        (out / name).mkdir(parents=True, exist_ok=True)
    chosen = recipe or PublishedRecipe()
    tasks = [FoldTask(name, data, annotation, classes, out, weights, chosen, seed) for name in subjects]
    results: dict[int, FoldResult] = {}
    for number, outcome in executor.run(run_fold, tasks):
        if isinstance(outcome, BaseException):
            raise outcome
        results[number] = outcome
        tell(f"fold {len(results)} of {len(tasks)}: {outcome.subject} {outcome.status} {outcome.reason}".rstrip())
    return [results[number] for number in sorted(results)]


def run_fold(task: FoldTask) -> FoldResult:
    """Train or fetch the network of one fold and score its subject."""
    path, identity = task.out / FOLDS / f"{_file_name(task.subject)}.json", _identity(task)
    done = _read_fold(path, identity)
    if done is not None:
        return done
    clips = load_clips(task.data, task.annotation)
    own = [clip for clip in clips if clip.subject == task.subject]
    loss = float("nan")
    try:
        if task.weights is None:
            network, loss = _train(task, [clip for clip in clips if clip.subject != task.subject])
        else:
            network = fold_network(task.weights, task.subject, task.classes)
    except FloatingPointError as error:
        result = FoldResult(task.subject, "non_finite", str(error))
    except CheckpointError as error:
        broken = "not finite" in str(error)
        result = FoldResult(task.subject, "non_finite" if broken else "no_weights", str(error))
    else:
        result = score_subject(network, task.subject, own, task.classes, loss)
    _replace(path, json.dumps({"identity": identity, "result": asdict(result)}).encode())
    return result


def fold_network(weights: Path, subject: str, classes: int) -> SFAMNet:
    """The imported network of one held-out subject: its own fold, never one that saw them.

    Raises:
        CheckpointError: there is none, it is not finite, or it has other classes.
    """
    inside = weights / f"{classes}emo"
    folder = inside if inside.is_dir() else weights
    path = folder / f"subject_{_file_name(subject)}.pkl"
    if not path.exists():
        raise CheckpointError(f"{path}: no fold of subject {subject}")
    network = read_checkpoint(path)
    if network.classes != classes + 1:
        raise CheckpointError(f"{path}: has {network.classes} classes; {classes} and neutral were asked for")
    return network


def _train(task: FoldTask, others: Sequence[ClipWindows]) -> tuple[SFAMNet, float]:
    torch.set_num_threads(1)
    torch.manual_seed(task.seed)
    network = SFAMNet(task.classes + 1)
    samples = draw_samples(others, task.classes, task.recipe, task.seed)
    losses = fit_published(network, samples, task.recipe, task.seed)
    path = task.out / WEIGHTS / f"subject_{_file_name(task.subject)}.pkl"
    beside = path.with_suffix(".new")
    torch.save(network.state_dict(), beside)
    os.replace(beside, path)
    return network, float(np.mean(losses[-10:]))


def score_subject(
    network: SFAMNet, subject: str, clips: Sequence[ClipWindows], classes: int, loss: float = float("nan")
) -> FoldResult:
    """What a network says of all clips of a subject."""
    traces, truth, predicted = [], [], []
    for clip in clips:
        samples = -(-clip.length // FRAME_SKIP)
        spot, emotion = np.zeros(samples, np.float32), np.full(samples, classes, np.int64)
        scored = scored_frames(clip)
        places = clip.frames[scored] // FRAME_SKIP
        spot[places], emotion[places] = _score(network, clip.maps, scored)
        if samples:
            traces.append(ClipTrace(clip.video, tuple(map(float, spot)), tuple(map(int, emotion))))
        _, apex = _score(network, clip.apex_maps, np.arange(len(clip.apex_maps)))
        for name, found in zip(clip.apex_emotions, apex, strict=True):
            label = emotion_class(name, classes)
            if label is not None:
                truth.append(label)
                predicted.append(int(found))
    return FoldResult(subject, "scored", "", tuple(traces), tuple(truth), tuple(predicted), loss)


def _score(
    network: SFAMNet, maps: NDArray[np.float32], chosen: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Spotting score and class of chosen maps, read a batch at a time."""
    spots, classes = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
    with torch.inference_mode():
        for begin in range(0, len(chosen), SCORED_AT_ONCE):
            part = torch.from_numpy(np.array(maps[chosen[begin : begin + SCORED_AT_ONCE]], np.float32))
            spot, logits = network(*torch.chunk(part, 3, dim=1))
            spots.append(spot.numpy())
            classes.append(logits.argmax(dim=1).numpy())
    return np.concatenate(spots), np.concatenate(classes)


def _identity(task: FoldTask) -> str:
    """Hash of all that decides a fold's result."""
    listed = [task.data / SUMMARY, task.data / "index.csv"]
    files = [path for path in listed if path.exists()]
    parts: list[Any] = [path.read_text(encoding="utf-8") for path in files]
    processed = find_processed(task.data) if not files else None
    if processed is not None:
        parts += [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(processed.glob("*.pkl"))]
    parts += [str(task.data), str(task.weights), task.subject, task.classes, asdict(task.recipe), task.seed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read_fold(path: Path, identity: str) -> FoldResult | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["identity"] != identity:
            return None
        result = dict(content["result"])
        traces = tuple(
            ClipTrace(one["video"], tuple(one["spot"]), tuple(one["emotion"])) for one in result.pop("traces")
        )
        truth, predicted = tuple(result.pop("truth")), tuple(result.pop("predicted"))
        return FoldResult(**result, traces=traces, truth=truth, predicted=predicted)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or of another version: the fold runs again


def _file_name(subject: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in subject_key(subject))


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    os.replace(beside, path)
