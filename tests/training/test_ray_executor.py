from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sfam.stream.config import StreamConfig
from sfam.training.dataset import DataSet, group_by_subject
from sfam.training.executor import WorkerLostError, open_executor
from sfam.training.feature_set import read_features, write_features
from tests.training.stand_in import tree

ray: Any = pytest.importorskip("ray", reason="Ray is an extra")


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A real cluster: two node processes on this machine, one core each."""
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def where(task: tuple[int, Path]) -> tuple[int, str]:
    number, folder = task
    marker = folder / f"died_{number}"
    if number == 5 or (number == 3 and not marker.exists()):
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    return number, str(ray.get_runtime_context().get_node_id())


@pytest.mark.slow  # starts a cluster of two nodes
def test_two_nodes_share_the_work_and_a_killed_worker_costs_nothing(two_nodes: Any, tmp_path: Path) -> None:
    outcomes = list(open_executor("ray").run(where, [(number, tmp_path) for number in range(10)]))
    by_number = dict(outcomes)
    assert len(outcomes) == len(by_number) == 10
    assert isinstance(by_number.pop(5), WorkerLostError)
    assert all(result[0] == number for number, result in by_number.items())
    assert len({node for _, node in by_number.values()}) == 2
    assert (tmp_path / "died_3").exists()


@pytest.mark.slow  # starts a cluster of two nodes
def test_features_made_on_a_cluster_are_whole(two_nodes: Any, tmp_path: Path) -> None:
    data = tree(tmp_path / "tree", frames=14)
    run = write_features(
        DataSet(data.name, group_by_subject(list(data.clips))), tmp_path / "out", StreamConfig(), open_executor("ray")
    )
    assert not run.failed
    assert [(clip.subject, len(clip.maps)) for clip in read_features(tmp_path / "out")] == [
        (record.subject, record.windows) for record in run.records
    ]
    assert sum(record.windows for record in run.records) > 0
