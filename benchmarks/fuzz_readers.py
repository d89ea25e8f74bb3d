"""Mutated recordings for every reader: none may hang, crash, eat memory or raise anything but a SourceError.

python benchmarks/fuzz_readers.py [--count 10000] [--seconds 600] [--only bag,mcap] [--seed 1]
Each input is read in a child process with at most 1 GB of memory more than it starts with; 5 s at most. Inputs follow
from the seed alone. Exit code 1 where anything escaped; the line names the seed that shows it again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from tests.capture.fuzz_cases import FORMS, examine, write_mutation

LIMIT_S = 5.0
MEMORY_BYTES = 2**30
_START_S = 60.0


@dataclass
class Tally:
    """What became of the inputs of one reader."""

    results: Counter[str] = field(default_factory=Counter)
    escapes: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    @property
    def ran(self) -> int:
        return sum(self.results.values())


def limit_memory() -> None:
    """No more address space than now and 1 GB; only where the system can."""
    try:
        import resource
    except ImportError:
        return
    most = psutil.Process().memory_info().vms + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def serve(pipe: Connection, base: str, folder: str) -> None:
    """The child: one input per seed until the pipe closes."""
    examine(Path(base))  # everything imported and warm before memory counts
    limit_memory()
    pipe.send(("ready", "", 0.0))
    while True:
        try:
            seed = pipe.recv()
        except EOFError:
            return
        began = time.monotonic()
        try:
            result, text = examine(write_mutation(Path(base), Path(folder), seed)), ""
        except Exception as error:  # whatever escapes is what is looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = "; ".join(
                f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)[-4:]
            )
            result, text = "escaped", f"{type(error).__name__}: {str(error)[:200]} ({last.name}; {where})"
        pipe.send((result, text, time.monotonic() - began))


class Child:
    """A process that reads inputs, started anew after a hang or crash."""

    def __init__(self, base: Path, folder: Path) -> None:
        self._base, self._folder = base, folder
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def run(self, seed: int) -> tuple[str, str, float]:
        """(result, text, seconds) of one input."""
        pipe = self._pipe or self._start()
        pipe.send(seed)
        try:
            if not pipe.poll(LIMIT_S):
                self.stop()
                return "escaped", f"no end within {LIMIT_S:g} s", LIMIT_S
            answer: tuple[str, str, float] = pipe.recv()
        except EOFError:
            code = self._process.exitcode if self._process else None
            self.stop()
            return "escaped", f"the process died (exit code {code})", 0.0
        return answer

    def stop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._pipe = self._process = None

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        pipe, far = context.Pipe()
        self._process = context.Process(target=serve, args=(far, str(self._base), str(self._folder)), daemon=True)
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
            result, text, took_s = child.run(seed)
            tally.results[result] += 1
            tally.slowest_s = max(tally.slowest_s, took_s)
            if result == "escaped":
                tally.escapes.append(f"{form}, seed {seed}: {text}")
    finally:
        child.stop()
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="inputs per reader")
    parser.add_argument("--seconds", type=float, default=600.0, help="time for all of them")
    parser.add_argument("--only", default=",".join(FORMS), help="forms, with commas")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    asked = parser.parse_args()
    forms = asked.only.split(",")
    end_s = time.monotonic() + asked.seconds
    escaped = 0
    with tempfile.TemporaryDirectory() as scratch:
        for place, form in enumerate(forms):
            share_s = (end_s - time.monotonic()) / (len(forms) - place)
            seeds = range(asked.seed, asked.seed + asked.count)
            tally = fuzz(form, Path(scratch), seeds, time.monotonic() + share_s)
            escaped += len(tally.escapes)
            report = {"reader": form, "ran": tally.ran, **tally.results, "slowest_s": round(tally.slowest_s, 3)}
            print(json.dumps(report), flush=True)
            for text in tally.escapes[:20]:
                print(f"  {text}", flush=True)
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
