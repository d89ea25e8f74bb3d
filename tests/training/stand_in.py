"""A tree in the layout of CAS(ME)^3, the two published files, and an executor that stays in this process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stand_in_casme3 import write_tree
from sfam.training.casme3 import read_casme3
from sfam.training.dataset import DataSet
from sfam.training.executor import Outcome
from sfam.training.processed import FOLDER, RECOGNITION_FILE, SPOTTING_FILE
from tests.shared_data import shared


def tree(folder: Path, subjects: int = 2, frames: int = 22) -> DataSet:
    write_tree(folder, shared("sfamnet/annotation"), subjects=subjects, videos=1, frames=frames)
    return read_casme3(folder)


def write_processed(root: Path, subjects: tuple[str, ...]) -> Path:
    """Both files for up to three subjects with a video each, random maps."""
    rng = np.random.default_rng(0)
    folder, count = root / FOLDER, len(subjects)
    folder.mkdir()
    videos, emotions = ["a", "a", "c"][:count], ["sad", "happy", "Others"][:count]
    maps = [rng.normal(0, 0.5, (n, 42, 42, 3)).astype(np.float32) for n in (400, 300, 300)[:count]]
    spotting = [maps, list(subjects), [[video] for video in videos]]
    (folder / SPOTTING_FILE).write_bytes(pickle.dumps(spotting))
    apex = [rng.normal(0, 0.5, (42, 42, 3)).astype(np.float32) for _ in subjects]
    (folder / RECOGNITION_FILE).write_bytes(pickle.dumps([apex, list(subjects), videos, emotions]))
    return root


class InThisProcess:
    """For tests that look at something else: no process, same contract."""

    def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Outcome]:
        for number, task in enumerate(tasks):
            try:
                outcome = work(task)
            except Exception as error:
                outcome = error
            yield number, outcome
