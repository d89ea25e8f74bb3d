"""Memory of the motion analysis over many frames: it must not grow.

    PYTHONPATH=. python benchmarks/flow_memory.py [--frames 100000]

A rendered face that sways and shows expressions goes to and fro through the default chain: detector, tracking, flow,
depth change, head motion, windows. Resident memory is read on the way; results/flow_memory.md holds it.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import cv2
import psutil

from sfam.app.bench_flow import machine
from sfam.capture.face_sequence import FaceSequence
from sfam.capture.frame import RGBDFrame
from sfam.capture.sequence_plan import draw_plan
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig

RENDERED = 90
PERIOD_NS = 33_333_333
WARM_UP = 0.1
"""Share of the run after which memory counts: buffers, detector and noise floor are full by then."""
MOST_GROWTH = 0.02
RESULT = Path(__file__).parent / "results" / "flow_memory.md"


@dataclass(frozen=True)
class MemoryRun:
    """What was read on the way."""

    frames: int
    windows: int
    seconds: float
    read_at: tuple[int, ...]
    resident_mb: tuple[float, ...]

    @property
    def growth(self) -> float:
        """Growth of the second half's mean over that of the first, once warm."""
        warm = [mb for at, mb in zip(self.read_at, self.resident_mb, strict=True) if at >= WARM_UP * self.frames]
        half = len(warm) // 2
        return (sum(warm[half:]) / len(warm[half:])) / (sum(warm[:half]) / half) - 1.0


def to_and_fro(frames: int) -> Iterator[RGBDFrame]:
    """Rendered frames forwards and backwards, with running numbers and stamps."""
    sequence = FaceSequence(draw_plan(17, RENDERED / 30.0, micro=1, first_micro_s=0.5, macro=0, blinks=1, sway=1.0))
    rendered = [sequence.frame(index) for index in range(RENDERED)]
    turn = 2 * (RENDERED - 1)
    for index in range(frames):
        place = index % turn
        shown = rendered[min(place, turn - place)]
        yield replace(shown, sequence=index, t_capture_ns=index * PERIOD_NS, t_host_ns=index * PERIOD_NS)


def run(frames: int, readings: int = 50) -> MemoryRun:
    """Analyse so many frames and read the memory on the way."""
    cv2.setNumThreads(1)
    process, analysis = psutil.Process(), Analysis(StreamConfig())
    every = max(frames // readings, 1)
    read_at, resident, windows = [], [], 0
    began_s = time.monotonic()
    for number, frame in zip(count(1), to_and_fro(frames), strict=False):
        windows += len(analysis.push(frame))
        if number % every == 0:
            gc.collect()
            read_at.append(number)
            resident.append(process.memory_info().rss / 2**20)
    analysis.close()
    return MemoryRun(frames, windows, time.monotonic() - began_s, tuple(read_at), tuple(resident))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    done = run(parser.parse_args().frames)
    shown = list(zip(done.read_at, done.resident_mb, strict=True))[:: max(len(done.read_at) // 10, 1)]
    verdict = "flat" if done.growth < MOST_GROWTH else "IT GROWS"
    lines = [
        "# Memory of the motion analysis",
        "",
        f"{machine()}. {done.frames} frames of a rendered face (SYNTHETIC), {done.windows} windows, "
        f"{done.seconds:.0f} s. After the first tenth, resident memory of the second half is "
        f"{100 * done.growth:+.2f} % of the first half's: {verdict} (limit {100 * MOST_GROWTH:.0f} %).",
        "",
        "| after frames | resident MB |",
        "|---|---|",
        *(f"| {at} | {mb:.1f} |" for at, mb in shown),
    ]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
