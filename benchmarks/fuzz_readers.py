"""Mutated recordings for every reader: none may hang, crash, eat memory or raise anything but a SourceError.

python -m benchmarks.fuzz_readers [--count 10000] [--seconds 3600] [--only bag,mcap] [--seed 0] [--save FILE] [--go-on]
Each input is read in a child process: 5 s and 1 GB of memory beyond its start at most. Inputs follow
from the seed alone. Exit code 1 where anything escaped; the line names the seed that shows it again. `--save` keeps the
rows of other readers that the file already has; with `--go-on` a reader's row goes on with the seed after its last.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import av
import cv2
import numpy as np
import psutil

from tests.capture.fuzz_cases import FORMS, examine, write_mutation

_START_S = 600.0
_END_S = 10.0
Read = Callable[[Path], str]
"""Reads an input to its end and says what came of it."""
HEAD = """# Mutated recordings

Each input is one small recording with one to four damages (cuts, flipped bits, extreme numbers, removed, inserted,
doubled and zeroed ranges), inspected and read to its end in a process that may take 5 s and 1 GB. `frames`: read as far
as the damage; `refused`: one sentence. An escape is anything else: a hang, a crash, too much memory, another exception.
An input follows from reader and seed alone (`tests/capture/fuzz_cases.py`); CI reads others of them. `MB`: the most
memory that one input took.

Made by `python -m benchmarks.fuzz_readers --count 10000 --seconds 7200 --save benchmarks/results/fuzz.md`, with
`--seed` and `--only` for rows that begin elsewhere;
"""
COLUMNS = """| reader | seeds | inputs | frames | refused | escaped | slowest, s | MB |
|---|---|--:|--:|--:|--:|--:|--:|
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one input may take."""

    processor_s: float = 5.0
    """Does not depend on what else runs."""
    wall_s: float = 60.0
    """An input without an answer for so long hangs."""
    memory_bytes: int = 2**30


@dataclass
class Tally:
    """What became of the inputs of one reader."""

    results: Counter[str] = field(default_factory=Counter)
    escapes: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    memory_mb: float = 0.0
    """Most memory that one input took."""

    @property
    def ran(self) -> int:
        return sum(self.results.values())

    def add(self, before: Tally) -> None:
        """Count what an earlier run of the same reader found too."""
        self.results.update(before.results)
        self.slowest_s = max(self.slowest_s, before.slowest_s)
        self.memory_mb = max(self.memory_mb, before.memory_mb)


def limit_memory(limits: Limits) -> None:
    """Well above what is allowed, so that a reader's own answer to a lack of memory does not hide its appetite."""
    try:
        import resource
    except ImportError:
        return
    most = psutil.Process().memory_info().vms + 3 * limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


class Peak:
    """Most memory that this process held since it was last asked; 0 where the system does not say."""

    def __init__(self) -> None:
        self._status, self._reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
        self._known = self._reset.exists()
        self._start_bytes = psutil.Process().memory_info().rss
        self.taken()

    def taken(self) -> int:
        """Bytes beyond the start; begins anew."""
        if not self._known:
            return 0
        line = next(one for one in self._status.read_text().splitlines() if one.startswith("VmHWM"))
        self._reset.write_text("5")
        return max(0, int(line.split()[1]) * 1024 - self._start_bytes)


def silence_libraries(into: Path) -> None:
    """Image libraries complain to the error output about every damaged image; keep the last complaints in a file."""
    with into.open("w") as file:
        os.dup2(file.fileno(), 2)


def serve(pipe: Connection, base: str, folder: str, read: Read, limits: Limits) -> None:
    """The child: one input per seed until the pipe closes."""
    silence_libraries(Path(folder).parent / "stderr.txt")
    read(Path(base))  # everything imported and warm before memory counts
    limit_memory(limits)
    peak = Peak()
    pipe.send(("ready", "", 0.0, 0.0))
    while True:
        try:
            seed = pipe.recv()
        except EOFError:
            return
        began_s = time.process_time()
        try:
            result, text = read(write_mutation(Path(base), Path(folder), seed)), ""
        except Exception as error:  # whatever escapes is what is looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = "; ".join(
                f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)[-4:]
            )
            result, text = "escaped", f"{type(error).__name__}: {str(error)[:200]} ({last.name}; {where})"
        took_s, taken = time.process_time() - began_s, peak.taken()
        if taken > limits.memory_bytes or took_s > limits.processor_s:
            result, text = "escaped", f"took {taken >> 20} MB and {took_s:.1f} s"
        pipe.send((result, text, took_s, taken / 2**20))


class Child:
    """A process that reads inputs, started anew after a hang or crash.

    Args:
        base: the recording that inputs are made of.
        folder: where they are written.
        read: what reads them; of the top level of a module.
        limits: of one input.
    """

    def __init__(self, base: Path, folder: Path, read: Read = examine, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._task = (str(base), str(folder), read, self._limits)
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def run(self, seed: int) -> tuple[str, str, float, float]:
        """(result, text, seconds of processor time, most MB of memory) of one input."""
        pipe, hang_s = self._pipe or self._start(), self._limits.wall_s
        pipe.send(seed)
        try:
            if not pipe.poll(hang_s):
                self.stop(0)
                return "escaped", f"no end within {hang_s:g} s", hang_s, 0.0
            answer: tuple[str, str, float, float] = pipe.recv()
        except (EOFError, ConnectionError):
            code = self._exit_code()
            self.stop()
            return "escaped", f"the process died (exit code {code})", 0.0, 0.0
        return answer

    def stop(self, wait_s: float = _END_S) -> None:
        """End the process: by itself within `wait_s`, else killed."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.join(wait_s)
            self._process.kill()
            self._process.join()
        self._pipe = self._process = None

    def _exit_code(self) -> int | None:
        assert self._process is not None
        self._process.join(_END_S)
        return self._process.exitcode

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        pipe, far = context.Pipe()
        self._process = context.Process(target=serve, args=(far, *self._task), daemon=True)
        self._process.start()
        far.close()
        if not pipe.poll(_START_S) or pipe.recv()[0] != "ready":
            raise RuntimeError("the child did not start")
        self._pipe = pipe
        return pipe


def fuzz(form: str, folder: Path, seeds: range, until_s: float) -> Tally:
    """Inputs of one form until the seeds or the time are used up."""
    (folder / form / "base").mkdir(parents=True)
    (folder / form / "input").mkdir()
    child = Child(FORMS[form](folder / form / "base"), folder / form / "input")
    tally = Tally()
    try:
        for seed in seeds:
            if time.monotonic() > until_s:
                break
            result, text, took_s, memory_mb = child.run(seed)
            tally.results[result] += 1
            tally.memory_mb = max(tally.memory_mb, memory_mb)
            tally.slowest_s = max(tally.slowest_s, took_s)
            if result == "escaped":
                tally.escapes.append(f"{form}, seed {seed}: {text}")
    finally:
        child.stop()
    return tally


def row(form: str, tally: Tally, seeds: range) -> str:
    """One line of the table."""
    return (
        f"| {form} | {seeds.start}-{seeds.start + tally.ran - 1} | {tally.ran} | {tally.results['frames']} "
        f"| {tally.results['refused']} | {tally.results['escaped']} | {tally.slowest_s:.2f} | {tally.memory_mb:.0f} |"
    )


def rows_of(path: Path) -> dict[str, str]:
    """Lines of a saved table by reader."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {
        line.split("|")[1].strip(): line
        for line in lines
        if line.startswith("|") and line.split("|")[3].strip().isdigit()
    }


def counted(line: str) -> tuple[int, Tally]:
    """First seed and counts of a saved line."""
    _, _, seeds, _, frames, refused, escaped, slowest, memory, _ = (cell.strip() for cell in line.split("|"))
    results = Counter(frames=int(frames), refused=int(refused), escaped=int(escaped))
    return int(seeds.partition("-")[0]), Tally(results, [], float(slowest), float(memory))


def save(path: Path, new: dict[str, str]) -> None:
    """Write the table; rows of readers that did not run now stay as they are."""
    rows = rows_of(path) | new
    versions = f"NumPy {np.__version__}, OpenCV {cv2.__version__}, PyAV {av.__version__}"
    head = f"{HEAD}\n{versions}; {datetime.date.today().isoformat()}.\n\n{COLUMNS}"
    path.write_text(head + "\n".join(rows[form] for form in FORMS if form in rows) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="inputs per reader")
    parser.add_argument("--seconds", type=float, default=600.0, help="time for all of them")
    parser.add_argument("--only", default=",".join(FORMS), help="forms, with commas")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--save", type=Path, help="write the table here too")
    parser.add_argument("--go-on", action="store_true", help="add to the rows of that table up to --count each")
    asked = parser.parse_args()
    saved = rows_of(asked.save) if asked.save and asked.go_on else {}
    forms = asked.only.split(",")
    end_s = time.monotonic() + asked.seconds
    escaped = 0
    with tempfile.TemporaryDirectory() as scratch:
        for place, form in enumerate(forms):
            share_s = (end_s - time.monotonic()) / (len(forms) - place)
            first, before = counted(saved[form]) if form in saved else (asked.seed, Tally())
            seeds = range(first, first + asked.count)
            tally = fuzz(form, Path(scratch), seeds[before.ran :], time.monotonic() + share_s)
            tally.add(before)
            escaped += len(tally.escapes)
            report = {"reader": form, "ran": tally.ran, **tally.results, "slowest_s": round(tally.slowest_s, 3)}
            print(json.dumps({**report, "memory_mb": round(tally.memory_mb)}), flush=True)
            if asked.save:
                save(asked.save, {form: row(form, tally, seeds)})
            for text in tally.escapes[:20]:
                print(f"  {text}", flush=True)
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
