"""Windows per second of the batched motion stage: `python benchmarks/flow_torch.py [--device cuda] [--out FILE.md]`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from sfam.app.bench_flow import WINDOW_FRAMES, machine, synthetic_stream
from sfam.capture.render import CANONICAL
from sfam.stream.flow_torch import TorchMotion
from sfam.stream.head_motion import rigid_mask

BATCHES = (1, 64, 1024)
MIN_SECONDS = 3.0


def windows_per_second(device: str, batch: int) -> tuple[float, float]:
    """Cold and warm windows per second at one batch size; products of both ends and transfers included."""
    crops, landmarks = synthetic_stream(WINDOW_FRAMES + 16)
    starts = np.arange(batch) % 16
    grey = np.stack([np.stack([crops[i][0], crops[i + WINDOW_FRAMES][0]]) for i in starts])
    depth_mm = np.stack([np.stack([crops[i][1], crops[i + WINDOW_FRAMES][1]]) for i in starts])
    camera = np.tile([CANONICAL.fx, CANONICAL.fy, CANONICAL.cx, CANONICAL.cy], (batch, 1))
    mask = np.repeat(rigid_mask(landmarks)[None], batch, axis=0)
    motion = TorchMotion(device)
    grid = motion.measure(grey, depth_mm, camera, mask).grid
    rates = []
    for start in (None, grid):
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < MIN_SECONDS:
            motion.measure(grey, depth_mm, camera, mask, grid=start).rigid.sum().item()
            done += batch
        rates.append(done / (time.perf_counter() - began))
    return rates[0], rates[1]


def main() -> None:
    """Print and, with --out, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    name = (
        torch.cuda.get_device_name()
        if arguments.device.startswith("cuda")
        else f"CPU, {torch.get_num_threads()} threads"
    )
    lines = [
        "# Batched motion in torch",
        "",
        f"{name}; torch {torch.__version__}; {machine()}. Flow, depth change and head motion, both ends prepared anew."
        + ("" if arguments.device.startswith("cuda") else " It has never run on a GPU."),
        "",
        "| batch | cold windows/s | warm windows/s |",
        "|---|---|---|",
    ]
    for batch in arguments.batches:
        cold, warm = windows_per_second(arguments.device, batch)
        lines.append(f"| {batch} | {cold:.0f} | {warm:.0f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
