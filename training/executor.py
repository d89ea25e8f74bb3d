"""Where many tasks run: processes of this machine, or a Ray cluster. A task must be safe to run twice."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from typing import Any, Protocol

ATTEMPTS = 3
"""A task whose process died this often is given up."""
EXECUTORS = {"local": "executor:LocalExecutor", "ray": "ray_executor:RayExecutor"}
Outcome = tuple[int, Any]
"""Number of a task, and what it returned or the exception that ended it."""


class WorkerLostError(RuntimeError):
    """The processes that were to run a task died each time."""


class Executor(Protocol):
    """Runs tasks somewhere."""

    def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Outcome]:
        """Outcomes as they come; each task has exactly one, whatever happens to the process that ran it."""
        ...


def open_executor(name: str, workers: int | None = None) -> Executor:
    """An executor by name.

    Raises:
        ValueError: unknown name. RuntimeError: its library is not installed.
    """
    if name not in EXECUTORS:
        raise ValueError(f"no executor {name!r}; known: {', '.join(EXECUTORS)}")
    module, _, kind = EXECUTORS[name].partition(":")
    executor: Executor = getattr(import_module(f".{module}", __package__), kind)(workers)
    return executor


def cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end_with_parent() -> None:
    """In a worker: end when the process that hands out the tasks is gone, were it killed, instead of working on."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_for_end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_end, name="parent-watch", daemon=True).start()


class LocalExecutor:
    """One process a core; a process that dies takes only its own tasks with it, and those run again."""

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or cores()

    def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Outcome]:
        """As the contract says; no more tasks are handed out than there are processes."""
        waiting = deque(range(len(tasks)))
        while waiting:
            lost = yield from self._until_broken(self._workers, work, tasks, waiting)
            for number in lost:  # alone, so that a task that kills its process does not take others with it again
                yield from self._alone(work, tasks, number)

    def _alone(self, work: Callable[[Any], Any], tasks: Sequence[Any], number: int) -> Iterator[Outcome]:
        for _ in range(ATTEMPTS - 1):
            lost = yield from self._until_broken(1, work, tasks, deque([number]))
            if not lost:
                return
        yield number, WorkerLostError(f"its process died {ATTEMPTS} times (killed, or out of memory)")

    def _until_broken(
        self, workers: int, work: Callable[[Any], Any], tasks: Sequence[Any], waiting: deque[int]
    ) -> Generator[Outcome, None, list[int]]:
        """Run until all is done or a process has died; returns the tasks that were running then."""
        running: dict[Future[Any], int] = {}
        lost: list[int] = []
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(waiting)), context, initializer=_end_with_parent) as pool:
            while (waiting and not lost) or running:
                while waiting and not lost and len(running) < workers:
                    number = waiting.popleft()
                    try:
                        running[pool.submit(work, tasks[number])] = number
                    except BrokenProcessPool:
                        lost.append(number)
                for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                    number, error = running.pop(future), future.exception()
                    if isinstance(error, BrokenProcessPool):
                        lost.append(number)
                    else:
                        yield number, future.result() if error is None else error
        return lost
