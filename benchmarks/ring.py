"""Throughput, latency and idle cost of the ring at 640x480 color + 848x480 depth, beside a plain memory copy.

python benchmarks/ring.py [--seconds 60]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from multiprocessing.connection import Connection

import numpy as np

from sfam.capture.frame import Calibration, ClockDomain, Intrinsics, RGBDFrame
from sfam.stream.ring import Policy, Ring
from sfam.stream.ring_reader import RingReader
from sfam.stream.ring_writer import RingWriter

COLOR, DEPTH = (480, 640), (480, 848)


def sample_frame() -> RGBDFrame:
    random = np.random.default_rng(0)
    return RGBDFrame(
        sequence=0,
        color=random.integers(0, 256, (*COLOR, 3), dtype=np.uint8),
        depth=random.integers(0, 9999, DEPTH, dtype=np.uint16),
        calibration=Calibration(
            Intrinsics(COLOR[1], COLOR[0], 615.0, 615.0, 320.0, 240.0),
            Intrinsics(DEPTH[1], DEPTH[0], 425.0, 425.0, 424.0, 240.0),
        ),
        depth_scale_m=0.001,
        t_capture_ns=0,
        t_device_ns=0,
        clock_domain=ClockDomain.HARDWARE,
        t_host_ns=0,
        t_utc_ns=0,
    )


def write(ring: str, count: int, period_s: float, ready: Connection) -> None:
    frame = sample_frame()
    with RingWriter(ring) as writer:
        ready.recv()
        begin_s = time.monotonic()
        for number in range(count):
            if period_s:
                time.sleep(max(0.0, begin_s + number * period_s - time.monotonic()))
            writer.write(frame, {"sent": time.monotonic_ns()})
        writer.end()


def transfer(policy: Policy, count: int, period_s: float, work_s: float) -> dict[str, float]:
    """Write in another process, read here; `work_s` is what the reader takes per frame."""
    context = multiprocessing.get_context("spawn")
    with Ring(COLOR, DEPTH, policy=policy) as ring, RingReader(ring.name) as reader:
        ours, theirs = context.Pipe()
        writer = context.Process(target=write, args=(ring.name, count, period_s, theirs))
        writer.start()
        ours.send("go")
        late_ms, begin_s, used_s = [], 0.0, 0.0
        for _ in reader.frames():
            late_ms.append((time.monotonic_ns() - reader.stage_ns["sent"]) / 1e6)
            if not begin_s:
                begin_s, used_s = time.monotonic(), time.process_time()
            time.sleep(work_s)
        wall_s, used_s = time.monotonic() - begin_s, time.process_time() - used_s
        writer.join(10)
        p50, p99 = np.percentile(late_ms, (50, 99))
        return {
            "frames": reader.read_count,
            "lost": reader.lost,
            "fps": round((reader.read_count - 1) / wall_s, 1),
            "latency_p50_ms": round(float(p50), 3),
            "latency_p99_ms": round(float(p99), 3),
            "reader_cpu_share": round(used_s / wall_s, 4),
        }


def copies(rounds: int) -> dict[str, float]:
    """Interleaved in one process: a plain copy of one frame's bytes, a ring write, a ring read; medians in ms."""
    frame = sample_frame()
    plain = np.empty_like(frame.color), np.empty_like(frame.depth)
    times: dict[str, list[float]] = {"memcpy": [], "write": [], "read": []}
    with (
        Ring(COLOR, DEPTH, policy="latest") as ring,
        RingWriter(ring.name) as writer,
        RingReader(ring.name) as reader,
    ):
        for _ in range(rounds):
            stamps = [time.perf_counter()]
            np.copyto(plain[0], frame.color)
            np.copyto(plain[1], frame.depth)
            stamps.append(time.perf_counter())
            writer.write(frame)
            stamps.append(time.perf_counter())
            held = reader.read(0)
            stamps.append(time.perf_counter())
            assert held is not None
            for name, begin, end in zip(times, stamps, stamps[1:], strict=False):
                times[name].append((end - begin) * 1e3)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    return {
        **{f"{name}_ms": round(value, 3) for name, value in medians.items()},
        "write_vs_memcpy": round(medians["write"] / medians["memcpy"], 2),
        "read_vs_memcpy": round(medians["read"] / medians["memcpy"], 2),
    }


def idle(seconds: float) -> dict[str, float]:
    with Ring(COLOR, DEPTH, policy="latest") as ring, RingReader(ring.name) as reader:
        used_s = time.process_time()
        reader.read(seconds)
        return {"waiting_reader_cpu_share": round((time.process_time() - used_s) / seconds, 4)}


def plain_sleep(seconds: float) -> dict[str, float]:
    """How late this machine wakes a process that only sleeps: the floor under every latency here."""
    late_ms, begin_s = [], time.monotonic()
    for number in range(1, int(30 * seconds)):
        due_s = begin_s + number / 30
        time.sleep(max(0.0, due_s - time.monotonic()))
        late_ms.append((time.monotonic() - due_s) * 1e3)
    p50, p99 = np.percentile(late_ms, (50, 99))
    return {"late_p50_ms": round(float(p50), 3), "late_p99_ms": round(float(p99), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each paced run")
    seconds = parser.parse_args().seconds
    results = {
        "copies": copies(400),
        "idle": idle(2.0),
        "plain sleep": plain_sleep(seconds),
        "lossless, full speed": transfer("lossless", 2000, 0.0, 0.0),
        "latest, 30 fps, no work": transfer("latest", int(30 * seconds), 1 / 30, 0.0),
        "latest, 90 fps, 3 ms of work": transfer("latest", int(90 * seconds), 1 / 90, 0.003),
    }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
