"""A folder of measured clips: made by many workers, read back lazily."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfam.stream.config import StreamConfig

from .clip_windows import ClipWindows, StoredMaps
from .dataset import AnnotatedInterval, DataSet, DataSetError
from .executor import Executor
from .features import CLIPS, ClipRecord, ClipTask, measure_clip, read_record, totals

INDEX = "index.csv"
SUMMARY = "features.json"
FINDINGS = "findings.csv"
Tell = Callable[[ClipRecord | None, str], None]
"""Told of each clip: its record, or None and the error."""


@dataclass(frozen=True, slots=True)
class FeatureRun:
    """What a run came to."""

    records: tuple[ClipRecord, ...]
    failed: dict[str, str]
    """Clip -> why it could not be measured."""


def write_features(
    data: DataSet, out: Path, stream: StreamConfig, executor: Executor, tell: Tell = lambda *_: None
) -> FeatureRun:
    """Measure every clip of a data set; the same call goes on where an earlier one was broken off.

    A clip that fails is reported and left out; the summary, written last, says how many.

    Raises:
        OSError: `out` cannot be written to.
    """
    (out / CLIPS).mkdir(parents=True, exist_ok=True)
    (out / SUMMARY).unlink(missing_ok=True)
    tasks = [ClipTask(clip, stream, out) for clip in data.clips]
    records: dict[int, ClipRecord] = {}
    failed: dict[str, str] = {}
    for number, outcome in executor.run(measure_clip, tasks):
        if isinstance(outcome, ClipRecord):
            records[number] = outcome
            tell(outcome, "")
        else:
            failed[data.clips[number].name] = f"{type(outcome).__name__}: {outcome}"
            tell(None, f"{data.clips[number].name}: {outcome}")
    done = [records[number] for number in sorted(records)]
    measured = {record.subject for record in done}
    _remove_drafts(out / CLIPS, {record.folder for record in done})
    _write_table(out / FINDINGS, ("where", "what", "kept"), [(f.where, f.what, f.kept) for f in data.findings])
    columns = ("subject", "video", "folder", "frames", "windows", "without_apex", "content_hash")
    _write_table(out / INDEX, columns, [tuple(getattr(r, name) for name in columns) for r in done])
    summary = {
        "data_set": data.name,
        "clips": len(done),
        "failed": failed,
        "failed_expressions": sum(len(clip.intervals) for clip in data.clips if clip.name in failed),
        "subjects_without_clip": [one.name for one in data.subjects if one.name not in measured],
        "findings": len(data.findings),
        "findings_not_used": sum(not finding.kept for finding in data.findings),
        "window_ms": stream.window_ms,
        **totals(done),
    }
    _replace(out / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return FeatureRun(tuple(done), failed)


def _remove_drafts(clips: Path, kept: set[str]) -> None:
    """What workers left that were killed while they wrote."""
    for draft in clips.glob(".*"):
        if draft.name not in kept:
            shutil.rmtree(draft, ignore_errors=True)


def read_features(folder: Path, window_ms: float | None = None) -> list[ClipWindows]:
    """Clips of a finished run; maps stay on disk until they are looked at.

    Args:
        folder: what `write_features` made.
        window_ms: the length of window that a model reads; None takes any.

    Raises:
        DataSetError: no finished run, windows of another length, or a clip is gone or damaged.
    """
    if not (folder / SUMMARY).exists() or not (folder / INDEX).exists():
        raise DataSetError(f"{folder}: no finished features here; run `sfam features DATASET {folder}` (again)")
    if window_ms is not None and measured_window_ms(folder) != window_ms:
        raise DataSetError(
            f"{folder}: windows of {measured_window_ms(folder):g} ms, but the model reads windows of {window_ms:g} ms; "
            f"run `sfam features DATASET OUT --set stream.window_ms={window_ms:g}`"
        )
    with (folder / INDEX).open(newline="", encoding="utf-8") as lines:
        names = [row["folder"] for row in csv.DictReader(lines)]
    return [_read_clip(folder / CLIPS / name) for name in names]


def measured_window_ms(folder: Path) -> float:
    """Time between the two ends of a window of a finished run.

    Raises:
        DataSetError: its summary is damaged.
    """
    path = folder / SUMMARY
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["window_ms"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataSetError(f"{path}: damaged ({error!r}); run `sfam features` again") from error


def _read_clip(folder: Path) -> ClipWindows:
    record = read_record(folder)
    if record is None:
        raise DataSetError(f"{folder}: listed in {INDEX}, but not whole; run `sfam features` again")
    try:
        count = len(np.load(folder / "maps.npy", mmap_mode="r" if record.windows else None))
        frames = np.load(folder / "frames.npy")
        apex_maps = np.load(folder / "apex_maps.npy")
    except (OSError, ValueError) as error:
        raise DataSetError(f"{folder}: damaged ({error}); remove it and run `sfam features` again") from error
    if not count == len(frames) == record.windows:
        raise DataSetError(f"{folder}: {count} maps for {record.windows} windows; run `sfam features` again")
    maps = StoredMaps(folder / "maps.npy", count)
    intervals = tuple(AnnotatedInterval(**one) for one in record.intervals)
    return ClipWindows(
        record.subject,
        record.video,
        maps,
        frames,
        record.frames,
        intervals,
        apex_maps,
        record.apex_emotions,
        record.fps,
    )


def _write_table(path: Path, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
    os.replace(beside, path)


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
