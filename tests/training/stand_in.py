"""A tree in the layout of CAS(ME)^3, and an executor that stays in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.stand_in_casme3 import write_tree
from sfam.training.casme3 import read_casme3
from sfam.training.dataset import DataSet
from sfam.training.executor import Outcome
from tests.shared_data import shared


def tree(folder: Path, subjects: int = 2, frames: int = 22) -> DataSet:
    write_tree(folder, shared("sfamnet/annotation"), subjects=subjects, videos=1, frames=frames)
    return read_casme3(folder)


class InThisProcess:
    """For tests that look at something else: no process, same contract."""

    def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Outcome]:
        for number, task in enumerate(tasks):
            try:
                outcome = work(task)
            except Exception as error:
                outcome = error
            yield number, outcome
