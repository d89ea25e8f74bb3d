"""Our readers beside the vendor's SDK: the same files, in turns, in one run.

python -m benchmarks.readers [--rounds 7] [--json] [--save FILE.md]
Time runs from opening a file to its last image. `handed out`: every image as an array, whoever owns it; `copied`: every
image copied once more, so that an array which only points into the file costs its reading too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.recording import open_recording
from tests.capture.long_bag import lengthen

SET = Path(__file__).resolve().parents[2] / "shared" / "recordings"
SHORT_BAG = "small_2.56.5_uncompressed.bag"
FILES = {
    "face_a.bag": ("LZ4 .bag", 1.0),
    "long uncompressed.bag": ("uncompressed .bag", 5.0),
    "face_b_2.59.1_png.db3": ("PNG .db3, 2 threads", 0.9),
    "face_b_2.58.4_zstd.db3": ("zstd .db3", None),
    "small_2.59.1_raw.db3": ("raw .db3", None),
}
"""File -> (form, ratio to reach, None = none was set)."""
LONGEST_S = 30.0
Take = Callable[[NDArray[Any]], object]


@dataclass(frozen=True)
class Row:
    form: str
    images: int
    ours: float
    """Images a second."""
    sdk: float
    ratio: float
    cpu_ratio: float
    """SDK's processor time over ours, all threads: hardly moved by what else runs."""
    target: float | None


def seen(image: NDArray[Any]) -> object:
    """An image handed out: one value is looked at."""
    return image[0, 0]


def copied(image: NDArray[Any]) -> object:
    """An image taken into memory of one's own."""
    return np.array(image)


def read_ours(path: Path, take: Take) -> tuple[int, float]:
    """Images of a recording and seconds from opening to the last of them."""
    began_s = time.perf_counter()
    recording = open_recording(path)
    images = 0
    for frame in recording.frames():
        take(frame.image)
        images += 1
    spent_s = time.perf_counter() - began_s
    recording.close()
    return images, spent_s


def read_sdk(path: Path, take: Take) -> tuple[int, float]:
    """The same through the SDK's playback, as fast as it goes and without losing a frame."""
    import pyrealsense2 as rs

    began_s = last_s = time.perf_counter()
    playback = rs.playback(rs.context().load_device(str(path)))
    playback.set_real_time(False)
    queue = rs.frame_queue(1000, True)
    ended: list[object] = []
    playback.set_status_changed_callback(
        lambda state: ended.append(state) if state == rs.playback_status.stopped else 0
    )
    sensors = playback.query_sensors()
    playback.pause()  # sensors started while it plays lose their first frames
    for sensor in sensors:
        sensor.open(sensor.get_stream_profiles())
        sensor.start(queue)
    playback.resume()
    images = 0
    while time.perf_counter() - began_s < LONGEST_S:
        found, frame = queue.try_wait_for_frame(200)
        if not found and ended:
            break
        if found:
            take(np.asanyarray(frame.get_data()))
            images, last_s = images + 1, time.perf_counter()
    for sensor in sensors:
        sensor.stop()
        sensor.close()
    return images, last_s - began_s


def compare(path: Path, form: str, target: float | None, take: Take, rounds: int) -> Row:
    """Both readers in turns; the best round of each, for what else runs only ever adds time."""
    ours: list[float] = []
    sdk: list[float] = []
    work: dict[str, list[float]] = {read_ours.__name__: [], read_sdk.__name__: []}
    counts = set()
    for _ in range(rounds):
        for read, times in ((read_ours, ours), (read_sdk, sdk)):
            began_cpu_s = time.process_time()
            images, spent_s = read(path, take)
            work[read.__name__].append(time.process_time() - began_cpu_s)
            counts.add(images)
            times.append(spent_s)
    if len(counts) != 1:
        raise RuntimeError(f"{path}: the readers gave {sorted(counts)} images")
    images = counts.pop()
    cpu_ratio = min(work[read_sdk.__name__]) / min(work[read_ours.__name__])
    return Row(form, images, images / min(ours), images / min(sdk), min(sdk) / min(ours), cpu_ratio, target)


def measure(rounds: int) -> dict[str, list[Row]]:
    """All files in both ways of taking images."""
    with tempfile.TemporaryDirectory() as name:
        long = lengthen(SET / SHORT_BAG, Path(name) / "long uncompressed.bag", 40, 200_000_000)
        return {
            title: [
                compare(long if file == long.name else SET / file, form, target, take, rounds)
                for file, (form, target) in FILES.items()
            ]
            for title, take in (("handed out", seen), ("copied", copied))
        }


def machine() -> str:
    """What it ran on."""
    import pyrealsense2 as rs

    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), model)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{model}, {os.cpu_count()} cores{load}; Python {platform.python_version()}, NumPy {np.__version__}, "
        f"OpenCV {cv2.__version__}, pyrealsense2 {rs.__version__}; {datetime.date.today().isoformat()}"
    )


def table(found: dict[str, list[Row]], rounds: int) -> str:
    """Both tables as Markdown."""
    text = f"# Readers beside the vendor's SDK\n\n{machine()}. Best of {rounds} rounds, taken in turns.\n"
    text += (
        "Ratio: SDK's time over ours from opening to the last image; above 1 ours is faster. Absolute rates are of\n"
    )
    text += "this machine and its load; made by `python -m benchmarks.readers`, as `make bench` does.\n"
    text += (
        "Half of the depth images of the uncompressed file lie at odd bytes: ours hands them out where they lie, and\n"
    )
    text += "copies them to even addresses where they become parts of pairs, which is not timed here.\n"
    for title, rows in found.items():
        text += (
            f"\n## Images {title}\n\n| form | images | ours, 1/s | SDK, 1/s | ratio | by processor time | target |\n"
        )
        text += "|---|--:|--:|--:|--:|--:|--:|\n"
        for row in rows:
            target = f"{row.target:g}" if row.target else "-"
            text += f"| {row.form} | {row.images} | {row.ours:.0f} | {row.sdk:.0f} | **{row.ratio:.2f}** "
            text += f"| {row.cpu_ratio:.2f} | {target} |\n"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--save", type=Path, help="write the tables here too")
    asked = parser.parse_args()
    if not SET.exists():
        print(f"readers: nothing to compare, {SET} is not there", file=sys.stderr)
        return 0
    found = measure(asked.rounds)
    if asked.save:
        asked.save.write_text(table(found, asked.rounds))
    if asked.json:
        ratios = {f"{row.form}, {title}": round(row.ratio, 3) for title, rows in found.items() for row in rows}
        print(json.dumps({"machine": machine(), "ratios": ratios}, indent=1))
    else:
        print(table(found, asked.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
