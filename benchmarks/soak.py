"""Soak: one session with all sinks for hours; memory stays flat, no frame is lost unexplained, latency stays.

    python -m benchmarks.soak --seconds 3600 --save benchmarks/results

Samples the resident memory of every process once a second and the latency of every score from the bus. Afterwards,
beyond the warm-up: memory of each process flat within 2 %, no loss without a cause, no message lost, latency p99 of the
last quarter at most 1.1 times the first. `--save` writes the samples, a plot and the verdict.
"""

from __future__ import annotations

import argparse
import csv
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zmq

from benchmarks.live_session import LiveSession, wrong_in
from sfam.app.bench_flow import machine

SAMPLE_S = 1.0
WARM_UP_SHARE, WARM_UP_S = 0.4, 120.0
"""Memory settles within two minutes; short runs look at the last three fifths only."""
MOST_GROWTH = 0.02
PAGE_NOISE_BYTES = 2 * 2**20
"""Growth that says nothing over any time: a thread's stack, an allocator's arena."""
MOST_LATENCY_RATIO = 1.1
KEPT_SAMPLES = 400
COLORS = ("#c0392b", "#2471a3", "#1e8449", "#7d3c98", "#b7950b", "#566573")

Series = list[tuple[float, int]]


@dataclass(slots=True)
class Listener:
    """Reads every score of the bus: when it came, and its latency."""

    address: str
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the first score, total latency in ms."""
    gaps: int = 0

    def listen(self, over: threading.Event) -> None:
        """Until `over`; runs on a thread of its own."""
        last, began_s = -1, 0.0
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.linger = 0
            socket.connect(self.address)
            socket.subscribe(b"sfam/demo/score")
            while not over.is_set():
                if not socket.poll(50):
                    continue
                header = json.loads(socket.recv_multipart()[1])
                self.gaps += max(0, header["seq"] - last - 1) if last >= 0 else 0
                last = max(last, header["seq"])
                now_s = time.monotonic()
                began_s = began_s or now_s
                if (total := header["latency_us"].get("total")) is not None:
                    self.latencies.append((now_s - began_s, total / 1e3))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a soak came to."""

    growth: Mapping[str, float]
    """Memory in the last third of the time after warm-up against the first third, by process: 0.01 = 1 % more."""
    latency_ratio: float
    """p99 of the last quarter against the first."""
    frames: int
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        grown = ", ".join(f"{name} {value:+.2%}" for name, value in self.growth.items())
        return f"{self.frames} scores; memory {grown}; latency p99 last/first quarter {self.latency_ratio:.2f}"


def growth_bytes(series: Series) -> tuple[float, float]:
    """Median of the first and of the last third after the warm-up."""
    times = np.array([at_s for at_s, _ in series])
    sizes = np.array([size for _, size in series], dtype=np.float64)
    settled = sizes[times >= times[0] + min(WARM_UP_S, WARM_UP_SHARE * (times[-1] - times[0]))]
    third = max(len(settled) // 3, 1)
    return float(np.median(settled[:third])), float(np.median(settled[-third:]))


def judge(memory: Mapping[str, Series], listener: Listener, wrong: Sequence[str], *, latency: bool) -> Verdict:
    """The verdict on what was sampled; `latency` = hold it to its limit too, which needs an otherwise idle machine."""
    complaints, growth = list(wrong), {}
    for name, series in memory.items():
        before, after = growth_bytes(series)
        growth[name] = after / before - 1
        if after - before > max(MOST_GROWTH * before, PAGE_NOISE_BYTES):
            complaints.append(f"{name} grew from {before / 2**20:.1f} to {after / 2**20:.1f} MiB")
    values = np.array([value for _, value in listener.latencies])
    quarter = max(len(values) // 4, 1)
    ratio = float("nan")
    if len(values) >= 4:
        ratio = float(np.percentile(values[-quarter:], 99) / np.percentile(values[:quarter], 99))
    if latency and not ratio <= MOST_LATENCY_RATIO:
        complaints.append(f"latency p99 of the last quarter is {ratio:.2f} times that of the first")
    if listener.gaps:
        complaints.append(f"{listener.gaps} score messages never arrived")
    if not len(values):
        complaints.append("no score came")
    return Verdict(growth, ratio, len(values), tuple(complaints))


def run(
    seconds: float, folder: Path, options: Sequence[str] = (), *, latency: bool = True
) -> tuple[Verdict, dict[str, Series]]:
    """Run one session for so long, then end it by SIGINT; verdict and the memory of each process."""
    session = LiveSession(folder / "soak", options)
    listener, over = Listener(session.address), threading.Event()
    thread = threading.Thread(target=listener.listen, args=(over,), daemon=True)
    thread.start()
    memory: dict[str, Series] = {}
    try:
        session.wait_rows(1)
        began_s = time.monotonic()
        while (now_s := time.monotonic() - began_s) < seconds and session.running:
            for name, size in session.memory_bytes().items():
                memory.setdefault(name, []).append((now_s, size))
            time.sleep(SAMPLE_S)
        wrong = [] if session.running else [f"ended by itself:\n{session.log}"]
        session.process.send_signal(signal.SIGINT)
        code = session.end()
        wrong += [f"exit code {code}:\n{session.log}"] if code else []
        wrong += [f"left behind: {what}" for what in session.left_behind()] + wrong_in(session.out, finished=True)
    finally:
        over.set()
        thread.join()
        session.kill()
    return judge(memory, listener, wrong, latency=latency), memory


def all_sinks(folder: Path) -> tuple[str, ...]:
    """Options of a session on the demo camera with everything that can watch it."""
    files = ("--mcap", str(folder / "bus.mcap"), "--rerun", str(folder / "bus.rrd"))
    return (*files, "--lsl", "--metrics", "0", "--overlay", "web", "--set", "sinks.web_address=127.0.0.1:0")


def save(
    folder: Path, verdict: Verdict, memory: Mapping[str, Series], seconds: float, options: Sequence[str] = ()
) -> None:
    """Write soak.csv and soak.svg, of some 400 samples a process, and soak.md; no `options` = all sinks."""
    folder.mkdir(parents=True, exist_ok=True)
    memory = {name: series[:: max(len(series) // KEPT_SAMPLES, 1)] for name, series in memory.items()}
    with (folder / "soak.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("t_s", "process", "rss_bytes"))
        writer.writerows((f"{at_s:.1f}", name, size) for name, series in memory.items() for at_s, size in series)
    (folder / "soak.svg").write_text(plot(memory), encoding="utf-8")
    found = "\n".join(f"- {complaint}" for complaint in verdict.wrong) or "- nothing wrong"
    text = (
        f"# Soak of {seconds:g} s, {time.strftime('%Y-%m-%d', time.gmtime())}\n\n"
        f"{machine()}; demo camera, {' '.join(options) or 'all sinks'}.\n\n"
        f"{verdict}\n\n{found}\n\n![Memory of each process](soak.svg)\n"
    )
    (folder / "soak.md").write_text(text, encoding="utf-8")


def plot(memory: Mapping[str, Series]) -> str:
    """Memory over time, a line per process."""
    width, height, left, top = 800, 300, 60, 20
    longest = max((series[-1][0] for series in memory.values()), default=1.0) or 1.0
    largest = max((size for series in memory.values() for _, size in series), default=1) * 1.05
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 200} {height + 60}" '
        'font-family="sans-serif" font-size="12">'
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + height * (1 - share)
        lines.append(f'<path d="M{left} {y:.0f}h{width}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{share * largest / 2**20:.0f}</text>')
    for number, (name, series) in enumerate(memory.items()):
        color = COLORS[number % len(COLORS)]
        points = " ".join(
            f"{left + width * at_s / longest:.1f},{top + height * (1 - size / largest):.1f}" for at_s, size in series
        )
        lines.append(f'<polyline fill="none" stroke="{color}" points="{points}"/>')
        lines.append(f'<text x="{left + width + 10}" y="{top + 16 * (number + 1)}" fill="{color}">{name}</text>')
    lines.append(f'<text x="{left}" y="{top + height + 24}">MiB over {longest:.0f} s</text></svg>')
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--save", type=Path)
    parser.add_argument("options", nargs="*", help="of sfam-live, after --; default: all sinks")
    arguments_ = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="sfam_soak_") as folder:
        verdict, memory = run(arguments_.seconds, Path(folder), arguments_.options or all_sinks(Path(folder)))
    print(verdict)
    for complaint in verdict.wrong:
        print(f"- {complaint}")
    if arguments_.save is not None:
        save(arguments_.save, verdict, memory, arguments_.seconds, arguments_.options)
    sys.exit(1 if verdict.wrong else 0)


if __name__ == "__main__":
    main()
