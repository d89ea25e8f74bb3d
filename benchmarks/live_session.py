"""A live session in processes of its own, watched from outside: their memory, and what they leave behind."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from sfam.app.session_accounts import LOST_CAUSES

SHARED_MEMORY = Path("/dev/shm")
OWN_NAMES = "sfam-"
LEFT_WITHIN_S = 6.0
"""Children end within this time of their parent's death."""


def free_address() -> str:
    """A loopback address nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


class TooSlowError(TimeoutError):
    """The session lives, but what was waited for did not come: the machine may be too slow to judge by."""


class LiveSession:
    """`sfam-live` on the demo camera or one like it.

    Args:
        out: session folder.
        options: further options of `sfam-live`.
        camera: its name.
        variables: of its environment, beside those of this process.
        address: of its bus; None = a free one.
    """

    def __init__(
        self,
        out: Path,
        options: Sequence[str] = (),
        camera: str = "demo",
        variables: Mapping[str, str] | None = None,
        address: str | None = None,
    ) -> None:
        self.out = out
        self.address = address or free_address()
        command = [str(Path(sys.executable).parent / "sfam-live"), "--camera", camera, "--publish", self.address]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SFAM_")}
        self._log_path = out.with_name(f"{out.name}.log")
        self._log = self._log_path.open("w")
        self.process = subprocess.Popen(
            [*command, "--out", str(out), *options],
            stdout=self._log,
            stderr=self._log,
            env=kept | dict(variables or {}),
        )
        self._family: dict[int, psutil.Process] = {}

    @property
    def running(self) -> bool:
        """False once the supervising process has ended."""
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """What it printed."""
        return self._log_path.read_text(errors="replace")

    def roles(self) -> dict[str, psutil.Process]:
        """Its working processes by role; without Python's own resource tracker."""
        found = {}
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            self._family |= {child.pid: child for child in children}
            for child in children:
                if (role := _role_of(child)) is not None:
                    found[role] = child
        return found

    def role(self, name: str, timeout_s: float = 120.0) -> psutil.Process:
        """One of them, waited for: it may just be started again.

        Raises:
            TooSlowError: it does not come.
            TimeoutError: it cannot come: the session has ended.
        """
        deadline_s = time.monotonic() + timeout_s
        while (found := self.roles().get(name)) is None:
            self._require_going(deadline_s, f"no {name} process")
            time.sleep(0.02)
        return found

    def _require_going(self, deadline_s: float, what: str) -> None:
        if not self.running:
            raise TimeoutError(f"{what}, the session ended by itself:\n{self.log}")
        if time.monotonic() > deadline_s:
            raise TooSlowError(f"{what}:\n{self.log}")

    def watch(self, pid: int) -> None:
        """Count a process as one of the session's own, as `roles` does with those it finds."""
        self._family[pid] = psutil.Process(pid)

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory by process: 'supervisor', 'capture', 'analysis' ..."""
        sizes = {}
        with suppress(psutil.NoSuchProcess):
            sizes["supervisor"] = psutil.Process(self.process.pid).memory_info().rss
        for role, child in self.roles().items():
            with suppress(psutil.NoSuchProcess):
                sizes[role] = child.memory_info().rss
        return sizes

    def rows(self) -> int:
        """Whole lines of scores.csv so far."""
        scores = self.out / "scores.csv"
        return max(scores.read_bytes().count(b"\n") - 1, 0) if scores.exists() else 0

    def wait_rows(self, count: int, timeout_s: float = 240.0) -> None:
        """Wait until so many frames were judged.

        Raises:
            TooSlowError: they did not come.
            TimeoutError: they cannot come: the session has ended.
        """
        deadline_s = time.monotonic() + timeout_s
        while self.rows() < count:
            self.roles()
            self._require_going(deadline_s, f"{self.rows()} rows instead of {count}")
            time.sleep(0.05)

    def end(self, timeout_s: float = 180.0) -> int:
        """Wait for the end; returns the exit code.

        Raises:
            TimeoutError: it does not end.
        """
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"still running {timeout_s:g} s after it should have ended:\n{self.log}") from error
        finally:
            self._log.close()

    def left_behind(self) -> list[str]:
        """Processes, shared memory and a socket file that outlived it; waits a few seconds for them to go."""
        deadline_s = time.monotonic() + LEFT_WITHIN_S
        while (left := self._left()) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        return left

    def _left(self) -> list[str]:
        processes = [f"process {child.pid}" for child in self._family.values() if _alive(child)]
        sockets = [self.address] if Path(self.address.removeprefix("ipc://")).is_socket() else []
        rings = [f"shared memory {path.name}" for path in SHARED_MEMORY.glob(f"sfam_{self.process.pid}_*")]
        return processes + rings + sockets

    def kill(self) -> None:
        """Leave nothing running, whatever happened."""
        self.process.kill()
        for child in self._family.values():
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.wait()
        self._log.close()


def _role_of(child: psutil.Process) -> str | None:
    """What a process does, by the name it has given itself; None for one that is no worker, or just starting."""
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        name = child.name()
        works = name.startswith(OWN_NAMES) and "spawn_main" in " ".join(child.cmdline()) and _alive(child)
        return name.removeprefix(OWN_NAMES) if works else None
    return None


def _alive(child: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(child.is_running() and child.status() != psutil.STATUS_ZOMBIE)
    return False


def wrong_in(out: Path, finished: bool) -> list[str]:
    """Everything about a session folder that should not be.

    Args:
        out: the folder.
        finished: it came to a proper end, so that its totals count too; else its files end somewhere, on a whole line.
    """
    wrong: list[str] = []
    try:
        summary = json.loads((out / "session.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [f"session.json: {error}"]
    frames = []
    for row in _table(out / "scores.csv", wrong):
        frames.append(int(row["frame"]))
        if not (row["spot"] or row["cause"]):
            wrong.append(f"frame {row['frame']} has neither score nor cause")
    lost = int(summary["rows_lost"])
    if frames != list(range(len(frames))) and not lost:
        wrong.append(f"scores.csv does not hold every frame once: {frames[:3]} ... {frames[-3:]}, {len(frames)} rows")
    _table(out / "events.csv", wrong)
    for number, line in enumerate(_whole_lines(out / "events.jsonl"), 1):
        try:
            json.loads(line)
        except ValueError as error:
            wrong.append(f"events.jsonl line {number}: {error}")
    if finished:
        wrong += _unaccounted(summary, len(frames) + lost)
    return wrong


def _unaccounted(summary: dict[str, Any], rows: int) -> list[str]:
    counters, wrong = summary["counters"], []
    numbered = sum(counters["dropped"].get(cause, 0) for cause in LOST_CAUSES)
    if counters["offered"] != counters["analysed"] + numbered:
        wrong.append(
            f"{counters['offered']} frames offered, {counters['analysed']} analysed, lost {counters['dropped']}"
        )
    if counters["offered"] != rows:
        wrong.append(f"{counters['offered']} frames offered, {rows} rows written or counted as lost")
    if summary["state"] not in ("ended", "failed"):
        wrong.append(f"the session ended in state {summary['state']}")
    return wrong


def _whole_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def _table(path: Path, wrong: list[str]) -> list[dict[str, str]]:
    lines = list(csv.reader(_whole_lines(path)))
    bad = [number for number, line in enumerate(lines, 1) if len(line) != len(lines[0])]
    if bad:
        wrong.append(f"{path.name}: lines {bad[:5]} do not have {len(lines[0])} fields")
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:] if len(line) == len(lines[0])]
