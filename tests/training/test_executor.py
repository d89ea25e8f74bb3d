from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sfam.training.executor import LocalExecutor, WorkerLostError, open_executor


def square(task: tuple[int, Path]) -> int:
    """Task 3 kills its process the first time, task 5 always, task 7 raises."""
    number, folder = task
    marker = folder / f"died_{number}"
    if number == 5 or (number == 3 and not marker.exists()):
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 7:
        raise ValueError("seven")
    return number * number


def test_a_killed_process_loses_no_task_and_doubles_none(tmp_path: Path) -> None:
    tasks = [(number, tmp_path) for number in range(9)]
    outcomes = list(LocalExecutor(2).run(square, tasks))
    assert sorted(number for number, _ in outcomes) == list(range(9))
    by_number = dict(outcomes)
    assert isinstance(by_number.pop(5), WorkerLostError)
    assert str(by_number.pop(7)) == "seven"
    assert by_number == {number: number * number for number in (0, 1, 2, 3, 4, 6, 8)}
    assert (tmp_path / "died_3").exists()


def test_no_tasks_need_no_process() -> None:
    assert list(LocalExecutor(2).run(square, [])) == []


def test_unknown_executors_are_refused() -> None:
    with pytest.raises(ValueError, match="known: local, ray"):
        open_executor("slurm")
