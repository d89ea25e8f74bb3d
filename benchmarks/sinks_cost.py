"""What all sinks together cost the analysis: sessions with none and with all of them, in turns.

python -m benchmarks.sinks_cost [--seconds 30] [--turns 3] [--source demo|30]

`30` plays a recording from memory, which costs about what a camera does; `demo` renders its frames, for which it takes
a third of a core. All sinks: web overlay without a page, metrics, LSL, MCAP and Rerun files, at tier `results`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.live_latency import LONGEST_S, record_face
from benchmarks.live_session import LiveSession
from benchmarks.soak import all_sinks

MOST_RATIO = 1.1


@dataclass(frozen=True, slots=True)
class Cost:
    """One session."""

    p50_ms: float
    p99_ms: float
    """From capture to publishing."""
    analysed: int
    lost: dict[str, int]


def measure(camera: str, seconds: float, folder: Path, options: Sequence[str]) -> Cost:
    """One session of so many seconds after its first score."""
    session = LiveSession(folder, ("--speed", "1", "--policy", "latest", *options), camera)
    try:
        session.wait_rows(1)
        time.sleep(seconds)
        session.process.send_signal(signal.SIGINT)
        session.end()
    finally:
        session.kill()
    counters = json.loads((folder / "session.json").read_text())["counters"]
    total = counters["latency_us"]["total"]
    lost = {cause: count for cause, count in counters["dropped"].items() if count}
    return Cost(total["p50"] / 1e3, total["p99"] / 1e3, counters["analysed"], lost)


def main() -> None:
    """Print each turn; exit 1 where the sinks cost the 99th percentile more than a tenth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--source", choices=("demo", "30"), default="30")
    asked = parser.parse_args()
    if asked.seconds > LONGEST_S:
        parser.error(f"a recording is held in memory: at most {LONGEST_S:g} s")
    found: dict[str, list[float]] = {"no sinks": [], "all sinks": []}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        camera = "demo"
        if asked.source != "demo":
            camera = f"{name}/face.mcap"
            record_face(Path(camera), int(asked.source), asked.seconds + 6.0)
        for turn in range(asked.turns):
            for what, costs in found.items():
                folder = Path(name) / f"{what.replace(' ', '_')}_{turn}"
                folder.mkdir()
                options = all_sinks(folder) if what == "all sinks" else ()
                cost = measure(camera, asked.seconds, folder / "session", options)
                costs.append(cost.p99_ms)
                print(f"{what}: {cost}", flush=True)
    ratio = median(found["all sinks"]) / median(found["no sinks"])
    print(f"p99 with all sinks {ratio:.2f} times that without; goal {MOST_RATIO:g}")
    sys.exit(ratio > MOST_RATIO)


if __name__ == "__main__":
    main()
