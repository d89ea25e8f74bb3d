from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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


PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.training.test_executor import announce_and_wait
from sfam.training.executor import LocalExecutor
if __name__ == "__main__":
    list(LocalExecutor(2).run(announce_and_wait, [sys.argv[2]] * 2))
"""


def announce_and_wait(folder: str) -> None:
    """Leave a file named by this process and work for a long time."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def wait_until(told: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not told():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX systems can")
def test_workers_end_with_the_process_that_they_work_for(tmp_path: Path) -> None:
    script, told = tmp_path / "parent.py", tmp_path / "pids"
    told.mkdir()
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script), str(Path(__file__).parents[2]), str(told)])
    try:
        wait_until(lambda: len(list(told.iterdir())) == 2)
        workers = [int(path.name) for path in told.iterdir()]
        assert all(alive(pid) for pid in workers)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not any(alive(pid) for pid in workers))
