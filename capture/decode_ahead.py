"""Images decoded a few frames ahead on worker threads, handed out in the order they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class DecodeAhead(Generic[JobT, ResultT]):
    """A bounded row of jobs on `threads` threads; results come in the order of the jobs, whatever the load."""

    def __init__(self, work: Callable[[JobT], ResultT], *, threads: int = 2, ahead: int = 6) -> None:
        """Run `work` on each job, holding at most `ahead` of them; with 0 threads it runs in the caller's."""
        self._work = work
        self._threads = threads
        self._ahead = ahead

    def over(self, jobs: Iterator[JobT]) -> Iterator[ResultT]:
        """Results of all jobs."""
        if not self._threads:
            yield from map(self._work, jobs)
            return
        row: deque[Future[ResultT]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="decode") as pool:
            try:
                for job in jobs:
                    row.append(pool.submit(self._work, job))
                    if len(row) >= self._ahead:
                        yield row.popleft().result()
                while row:
                    yield row.popleft().result()
            finally:
                for waiting in row:
                    waiting.cancel()
