from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from benchmarks.stand_in_casme3 import write_tree
from sfam.app.cli import app
from sfam.training.executor import WorkerLostError, open_executor
from sfam.training.feature_set import read_features
from tests.shared_data import shared
from tests.training.stand_in import write_processed

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


def kill_at_work(out: Path, killed: list[int], over: Event) -> None:
    """Once a clip is done, kill a worker that measures another; it is held first, so that it is in the midst of it."""
    while not over.wait(0.002):
        begun = any((out / "clips").glob("[!.]*"))
        for process in psutil.Process().children(recursive=True) if begun else ():
            with suppress(psutil.NoSuchProcess):
                if measures(process):
                    process.suspend()
                    if measures(process):
                        process.kill()
                        killed.append(process.pid)
                        return
                    process.resume()


def measures(process: psutil.Process) -> bool:
    """Whether a worker is at work: Ray names its processes after their tasks."""
    return "ray::measure_clip" in " ".join(process.cmdline())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow  # starts a cluster of two nodes, and measures a dozen clips twice
def test_features_of_a_cluster_whose_worker_is_killed_are_those_of_this_machine(two_nodes: Any, tmp_path: Path) -> None:
    clips = write_tree(tmp_path / "tree", shared("sfamnet/annotation"), subjects=6, videos=2, frames=22)
    killed: list[int] = []
    over = Event()
    killer = Thread(target=kill_at_work, args=(tmp_path / "ray", killed, over))
    killer.start()
    for executor in ("ray", "local"):
        command = ["features", str(tmp_path / "tree"), str(tmp_path / executor), "--executor", executor]
        done = CliRunner().invoke(app, command)
        over.set()
        assert done.exit_code == 0, done.output
        assert f"{clips} clips (" in done.output
    killer.join()
    assert len(killed) == 1
    made = contents(tmp_path / "ray")
    assert sum(Path(name).name == "maps.npy" for name in made) == clips
    assert made == contents(tmp_path / "local"), "no window is missing, doubled or other"
    assert all(len(clip.maps) for clip in read_features(tmp_path / "ray"))


@pytest.mark.slow  # starts a cluster of two nodes, and trains three short folds twice
def test_folds_trained_on_a_cluster_are_those_of_this_machine(two_nodes: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    data = write_processed(tmp_path, ("spNO.1", "spNO.2", "spNO.3"))
    short = ["--annotation", str(shared("sfamnet/annotation")), "--steps", "3", "--batch", "32", "--draws", "5"]
    for executor in ("ray", "local"):
        command = ["evaluate", str(data), "--out", str(tmp_path / executor), "--executor", executor, "--workers", "1"]
        done = CliRunner().invoke(app, [*command, *short])
        assert done.exit_code == 0, done.output
    made = contents(tmp_path / "ray" / "folds")
    assert sorted(made) == ["1.json", "2.json", "3.json"]
    assert all(b'"status": "scored"' in content for content in made.values())
    assert made == contents(tmp_path / "local" / "folds")
    for name in ("report.md", "weights/origin.json"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
