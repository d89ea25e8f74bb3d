"""Windows per second and core that `sfam features` makes of folders shaped like CAS(ME)^3.

Writes a stand-in tree (SYNTHETIC), measures its first clip to warm up, then all others in this one process.

    OMP_NUM_THREADS=1 python -m benchmarks.feature_speed [--subjects 4] [--videos 2] [--frames 60]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.stand_in_casme3 import SHARED, write_tree
from sfam.stream.config import StreamConfig
from sfam.training.casme3 import read_casme3
from sfam.training.features import ClipTask, measure_clip


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--subjects", type=int, default=4)
    parser.add_argument("--videos", type=int, default=2)
    parser.add_argument("--frames", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree, out = Path(folder) / "tree", Path(folder) / "windows"
        write_tree(tree, SHARED, subjects=given.subjects, videos=given.videos, frames=given.frames)
        tasks = [ClipTask(clip, StreamConfig(), out) for clip in read_casme3(tree).clips]
        measure_clip(tasks[0])
        wall, cpu = time.perf_counter(), time.process_time()
        records = [measure_clip(task) for task in tasks[1:]]
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    windows = sum(one.windows for one in records)
    print(
        f"{windows} windows of {len(records)} clips of {given.frames} images: "
        f"{windows / cpu:.0f} windows per second of processor time, {windows / wall:.0f} per second"
    )


if __name__ == "__main__":
    main()
