"""Tasks on a Ray cluster: for corpora beyond one machine. All nodes must see the same files under the same paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .executor import ATTEMPTS, Outcome, WorkerLostError

IN_FLIGHT_PER_CORE = 2


class RayExecutor:
    """Uses the cluster that `RAY_ADDRESS` names or that this process has joined, else starts one on this machine."""

    def __init__(self, workers: int | None = None) -> None:
        """Join a cluster.

        Raises:
            RuntimeError: Ray is not installed.
        """
        try:
            import ray
        except ImportError as error:
            raise RuntimeError(
                "--executor ray needs Ray, which is not installed: pip install 'sfam-live[ray]'"
            ) from error
        self._ray: Any = ray
        if not ray.is_initialized():
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)

    def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Outcome]:
        """As the contract says: Ray runs a task again, anywhere, when its process or node has died."""
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(work)
        limit = max(1, IN_FLIGHT_PER_CORE * int(ray.cluster_resources().get("CPU", 1)))
        waiting = list(enumerate(tasks))[::-1]
        running: dict[Any, int] = {}
        while waiting or running:
            while waiting and len(running) < limit:
                number, task = waiting.pop()
                running[remote.remote(task)] = number
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                yield running.pop(reference), self._outcome(reference)

    def _outcome(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            return error.cause
        except self._ray.exceptions.RayError as error:
            return WorkerLostError(f"its process or node died {ATTEMPTS} times ({type(error).__name__})")
