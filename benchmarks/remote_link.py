"""A camera host and an analysing host in two network namespaces, with loss, delay and narrow links put between them.

    sudo python -m benchmarks.remote_link [--seconds 10] [--save benchmarks/results/remote_link.md]

See `network_link.py` for what it needs. Both hosts are this machine, so their clocks are one: the delay of a frame is
measured, not estimated, and the offset that `--camera tcp://...` measures can be checked against 0.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.network_link import ADDRESSES, Impairment, network_link
from sfam.capture.config import CaptureConfig
from sfam.capture.source import SourceError, open_source

BIN = Path(sys.executable).parent
ADDRESS = f"tcp://{ADDRESSES[0]}:5572"


NONE = Impairment()


@dataclass(frozen=True, slots=True)
class Case:
    """One network and what is sent over it."""

    name: str
    impairment: Impairment = NONE
    color: str = "jpeg"
    outage_s: float = 0.0
    """The link is cut for so long, in the middle."""


CASES = (
    Case("no impairment"),
    Case("no impairment", color="lossless"),
    Case("1 ms, 0.1 % loss", Impairment(1.0, loss=0.001)),
    Case("10 +- 2 ms", Impairment(10.0, 2.0)),
    Case("20 ms, 1 % loss", Impairment(20.0, loss=0.01)),
    Case("100 Mbit/s, 1 ms", Impairment(1.0, rate_mbit=100.0)),
    Case("20 Mbit/s, 1 ms: too narrow", Impairment(1.0, rate_mbit=20.0)),
    Case("cut for 2 s", Impairment(1.0), outage_s=2.0),
)


@dataclass(frozen=True, slots=True)
class Received:
    """What the analysing host saw."""

    frames: int
    seconds: float
    lost: dict[str, int]
    delay_p50_ms: float
    delay_p99_ms: float
    clock_error_ms: float
    """Offset measured over the link; the truth is 0."""
    clock_within_ms: float
    """Uncertainty stated for it."""
    error: str = ""


def run_case(case: Case, camera: str, seconds: float) -> Received:
    """Serve in one namespace, receive in the other."""
    with network_link(case.impairment) as link:
        serve = [str(BIN / "sfam"), "serve", "--camera", camera, "--address", ADDRESS, "--insecure", "--quiet"]
        host = subprocess.Popen([*link.inside(0), *serve, "--color", case.color])
        try:
            command = [*link.inside(1), sys.executable, "-m", "benchmarks.remote_link", "--receive", str(seconds)]
            lab = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert lab.stdout is not None
            lab.stdout.readline()  # frames flow
            if case.outage_s:
                time.sleep(seconds / 4)
                link.cut()
                time.sleep(case.outage_s)
                link.mend()
            report, _ = lab.communicate(timeout=seconds + 90)
            return Received(**json.loads(report))
        finally:
            host.terminate()
            host.wait(timeout=30)


def receive(seconds: float) -> Received:
    """Take frames for a while, in the analysing host's namespace."""
    config = CaptureConfig(camera=ADDRESS, wait_for_device_timeout=60, stall_timeout=20)
    delays: list[int] = []
    error = ""
    with open_source(config) as source:
        details = source.info.details
        began_s = time.monotonic()
        try:
            for frame in source.frames():
                # t_capture_ns is moved by the measured offset; taken back, it is the one clock of this machine
                if not delays:
                    print("frames flow", flush=True)
                delays.append(frame.t_host_ns - frame.t_capture_ns - int(details["camera_clock_ahead_ns"]))
                if time.monotonic() - began_s >= seconds:
                    break
        except SourceError as failed:
            error = str(failed)
        took_s = time.monotonic() - began_s
        lost = dict(source.drops)
    p50, p99 = np.percentile(delays, [50, 99]) / 1e6 if delays else (0.0, 0.0)
    ahead_ms, within_ms = (int(details[f"camera_clock_{name}_ns"]) / 1e6 for name in ("ahead", "uncertainty"))
    return Received(len(delays), took_s, lost, float(p50), float(p99), abs(ahead_ms), within_ms, error)


def table(rows: Sequence[tuple[Case, Received]], frame_kb: dict[str, float]) -> str:
    """The results in Markdown."""
    lines = [
        "| link | color | frames/s | Mbit/s | lost on link, host | delay p50 / p99 | clock error (said) |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, got in rows:
        rate = got.frames / got.seconds
        lost = [got.lost.get(f"lost_on_{where}", 0) for where in ("link", "camera_host")]
        lines.append(
            f"| {case.name} | {case.color} | {rate:.1f} | {rate * frame_kb[case.color] * 8 / 1e3:.0f} | {lost[0]}, "
            f"{lost[1]} | {got.delay_p50_ms:.0f} / {got.delay_p99_ms:.0f} ms | {got.clock_error_ms:.2f} ms "
            f"(within {got.clock_within_ms:.2f}) |" + (f" {got.error}" if got.error else "")
        )
    return "\n".join(lines)


def frame_sizes(camera: str) -> dict[str, float]:
    """kB of a message with JPEG and with lossless color, over the first frames of a source."""
    from sfam.capture.frame_message import FramePacker

    with open_source(CaptureConfig(camera=camera)) as source:
        frames = [frame for frame, _ in zip(source.frames(), range(30), strict=False)]
        sizes = {}
        for name, packing in (("jpeg", "jpeg"), ("lossless", "zstd")):
            packer = FramePacker(source.info, "size", packing)  # type: ignore[arg-type]
            sizes[name] = sum(len(part) for frame in frames for part in packer.frame(frame, {})) / len(frames) / 1e3
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--camera", default="demo")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--receive", type=float, help=argparse.SUPPRESS)
    asked: Any = parser.parse_args()
    if asked.receive:
        print(json.dumps(asdict(receive(asked.receive))))
        return
    rows = []
    for case in CASES:
        rows.append((case, run_case(case, asked.camera, asked.seconds)))
        print(rows[-1], flush=True)
    sizes = frame_sizes(asked.camera)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, sfam-live {version('sfam-live')}, {time.strftime('%F')}"
    text = (
        f"# Frames over a network\n\n`python -m benchmarks.remote_link --seconds {asked.seconds:g}`; {machine}; camera "
        f"{asked.camera}, a message is {sizes['jpeg']:.0f} kB with JPEG color, {sizes['lossless']:.0f} kB lossless.\n"
        "Impaired in both directions; delay = capture on one host to arrival on the other.\n\n"
        f"{table(rows, sizes)}\n"
    )
    print(text)
    if asked.save:
        asked.save.write_text(text)


if __name__ == "__main__":
    main()
