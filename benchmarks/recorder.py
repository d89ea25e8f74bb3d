"""The recorder: encoding speed beside a memory copy, sizes on disk, and what a kill costs.

python -m benchmarks.recorder [--recording FILE] [--kills 200] [--json] [--save FILE.md]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.recorder import Recorder, RecorderSettings
from sfam.capture.source import SourceInfo, open_source
from tests.capture.killed_recorder import FPS, kill_once

ROUNDS = 3
FORMS: dict[str, dict[str, Any]] = {
    "lossless zstd": {},
    "lossless lz4": {"compression": "lz4"},
    "jpeg 95 zstd": {"color": "jpeg"},
}


def load(camera: str, count: int) -> tuple[SourceInfo, list[RGBDFrame]]:
    with open_source(CaptureConfig(camera=camera)) as source:
        return source.info, list(islice(source.frames(), count))


def copy_s(frames: Sequence[RGBDFrame]) -> float:
    """Seconds to copy all pixels once into memory that is already there."""
    color, depth = np.empty_like(frames[0].color), np.empty_like(frames[0].depth)
    began_s = time.perf_counter()
    for frame in frames:
        np.copyto(color, frame.color)
        np.copyto(depth, frame.depth)
    return time.perf_counter() - began_s


def record_s(
    info: SourceInfo, frames: Sequence[RGBDFrame], settings: dict[str, Any], folder: Path
) -> tuple[float, int]:
    """Seconds from the first frame to the closed file, and its bytes."""
    path = folder / "bench.mcap"
    path.unlink(missing_ok=True)
    recorder = Recorder(RecorderSettings(path, lossless=True, **settings))
    recorder.begin(info)
    began_s = time.perf_counter()
    for frame in frames:
        recorder.push(frame)
    size = recorder.finish().size_bytes
    return time.perf_counter() - began_s, size


def read_s(path: Path) -> float:
    began_s = time.perf_counter()
    with open_source(CaptureConfig(camera=str(path))) as source:
        for _ in source.frames():
            pass
    return time.perf_counter() - began_s


def speeds(camera: str, count: int, folder: Path) -> dict[str, Any]:
    """All forms, taken in turns with the copy."""
    info, frames = load(camera, count)
    raw = sum(frame.color.nbytes + frame.depth.nbytes for frame in frames)
    copies: list[float] = []
    table: dict[str, Any] = {}
    for name, settings in FORMS.items():
        writes, reads, size = [], [], 0
        for _ in range(ROUNDS):
            copies.append(copy_s(frames))
            spent_s, size = record_s(info, frames, settings, folder)
            writes.append(spent_s)
            reads.append(read_s(folder / "bench.mcap"))
        table[name] = {
            "write_mb_s": round(raw / median(writes) / 1e6, 1),
            "read_mb_s": round(raw / median(reads) / 1e6, 1),
            "write_vs_copy": round(median(copies) / median(writes), 4),
            "frames_s": round(len(frames) / median(writes), 1),
            "smaller": round(raw / size, 2),
            "gb_per_hour_at_30_fps": round(size / len(frames) * 108_000 / 1e9, 1),
        }
    return {
        "frames": len(frames),
        "raw_mb": round(raw / 1e6, 1),
        "copy_mb_s": round(raw / median(copies) / 1e6),
        **table,
    }


def kills(count: int, folder: Path) -> dict[str, Any]:
    """Kill so many recorders at random moments; each file is repaired and compared to the byte."""
    results = []
    for seed in range(count):
        path = folder / "killed.mcap"
        path.unlink(missing_ok=True)
        results.append(kill_once(path, seed))
    missing = sorted(result.missing_s for result in results)
    late = [result for result in results if result.missing_s > 0.5]
    return {
        "kills": count,
        "frames_recovered": sum(result.recovered for result in results),
        "missing_s_median": round(missing[len(missing) // 2], 3),
        "missing_s_most": round(missing[-1], 3),
        "over_half_a_second": len(late),
        "of_these_but_for_frames_that_waited": sum(one.missing_s - one.waiting / FPS > 0.5 for one in late),
    }


def page(title: str, report: dict[str, Any]) -> str:
    """The result as Markdown."""
    load = f", load {os.getloadavg()[0]:.0f}" if hasattr(os, "getloadavg") else ""
    text = f"# {title}\n\n{os.cpu_count()} cores{load}; {datetime.date.today().isoformat()}.\n"
    for name, table in report.items():
        rows = "".join(f"| {key} | {value} |\n" for key, value in table.items())
        text += f"\n## {name}\n\n| what | |\n|---|--:|\n{rows}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recording", default="../shared/recordings/face_a.bag")
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", type=Path, help="write a page here too")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.kills:
            report["kills"] = kills(arguments.kills, folder)
        else:
            # pre-drawn: the demo camera's noise is as hard to pack as a sensor's
            report["demo"] = speeds("demo", arguments.frames, folder)
            if Path(arguments.recording).exists():
                report[Path(arguments.recording).name] = speeds(arguments.recording, arguments.frames, folder)
    if arguments.save:
        title = "Recorders of 640x480 at 30 fps, killed at random moments" if arguments.kills else "The recorder"
        arguments.save.write_text(page(title, report))
    if arguments.json:
        print(json.dumps(report, indent=1))
        return
    for title, table in report.items():
        print(title)
        for key, value in table.items():
            print(f"  {key:22} {value}")


if __name__ == "__main__":
    main()
