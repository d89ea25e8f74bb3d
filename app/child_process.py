"""One process of a supervisor, seen from its parent: started, heard, told, and how it ended."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from .message_queue import MessageQueue
from .role import Retry, Role, RoleResult
from .role_link import run_role

YIELDING_NICE = 10


@dataclass(slots=True)
class ChildProcess:
    """A role's process.

    Raises:
        OSError: as the system does, in `start`.
    """

    role: Role
    process: SpawnProcess
    connection: Connection
    silent_s: float = 0.0
    """For how long it gave no sign of life, while the parent could hear it."""
    begun: bool = False
    """It has given a sign of life: code of its own may run."""
    dismissed: bool = False
    """Ended before it had begun, as nobody needed it any more."""
    speaks: bool = False
    """It has said something of its own: all is loaded, and only a hang makes it silent."""
    stop_sent_s: float | None = None
    terminated: bool = False
    killed_because: str = ""
    retry: Retry | None = None
    retry_at_s: float = 0.0
    result: RoleResult | None = None
    """How it ended; None while it runs."""
    outbox: MessageQueue = field(default_factory=MessageQueue)
    """Commands that it has not taken yet."""
    _report: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def start(cls, role: Role) -> ChildProcess:
        """Spawn the role's process."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=run_role,
            args=(role.run, role.settings, theirs, role.cpus),
            name=f"sfam-{role.name}",
        )
        with ignoring_interrupts():
            process.start()
        if role.yields:
            _put_behind(process.pid)
        theirs.close()
        return cls(role, process, ours)

    def messages(self) -> Iterator[tuple[str, Any]]:
        """What it has said since; its signs of life and its last word are kept, not given out."""
        while (received := self._receive()) is not None:
            kind, message = received
            self.silent_s = 0.0
            self.begun = True
            self.speaks = self.speaks or kind != "beat"
            if kind in ("result", "error"):
                self._report[kind] = message
            elif kind != "beat":
                yield kind, message

    def send(self, command: str, value: object = None) -> None:
        """Send it a command, at once or, while it does not listen, later; one that has ended meanwhile gets none."""
        self.outbox.put(command, value)
        self.pass_on()

    def pass_on(self) -> None:
        """Send what waits, as far as it can without waiting: one that hangs must not hold up whoever watches it."""
        with suppress(OSError):  # ended meanwhile: its sentinel says so
            while self.outbox and not self.connection.closed and _has_room(self.connection):
                self.connection.send(self.outbox.take())

    def retire(self, retry: Retry) -> None:
        """It has ended, and another one takes its place: what it is sent from now on is for that one."""
        self.retry = retry
        self.retry_at_s = time.monotonic() + retry.after_s
        self.outbox = MessageQueue()
        for command, value in retry.commands:
            self.outbox.put(command, value)

    def stop(self) -> None:
        """Ask it to stop; one that still loads its libraries has nothing to end in order, and goes at once."""
        if self.begun:
            self.send("stop")
        else:
            self.dismissed = True
            self.process.kill()

    def kill(self, because: str) -> None:
        """Kill it, with the reason for its result."""
        self.killed_because = because
        self.process.kill()

    def conclude(self) -> RoleResult:
        """Its result, once it has ended and all it said was taken; its process and pipe are let go."""
        self.connection.close()
        code = self.process.exitcode
        self.result = self._outcome(1 if code is None else code)
        self.process.close()
        return self.result

    def _receive(self) -> tuple[str, Any] | None:
        try:
            if not self.connection.closed and self.connection.poll():
                kind, message = self.connection.recv()
                return str(kind), message
        except (EOFError, OSError):
            self.connection.close()  # it has ended, or is about to; its sentinel says so
        return None

    def _outcome(self, code: int) -> RoleResult:
        error = self._report.get("error")
        if error is not None:
            return RoleResult(self.role.name, code, {}, tuple(error["names"]), error["message"], error["trace"])
        value = self._report.get("result", {})
        if code == 0 or (self.dismissed and not self.begun):
            return RoleResult(self.role.name, 0, value)
        if self.killed_because:
            how = f"{self.killed_because} and was killed"
        elif code < 0:
            how = f"was killed by {_signal_name(-code)}"
        else:
            how = f"ended with code {code} and no word"
        message = f"the {self.role.name} process {how}"
        return RoleResult(self.role.name, code, value, message=message, terminated=self.terminated)


def _has_room(connection: Connection) -> bool:
    """Whether a command can be sent at once; the system says so while most of the room is free. Windows cannot say."""
    if sys.platform == "win32":
        return True
    room = select.poll()
    room.register(connection, select.POLLOUT)
    return bool(room.poll(0))


def _put_behind(pid: int | None) -> None:
    """Let other processes go first, from its first import on. Windows has no such rank."""
    if sys.platform != "win32" and pid is not None:
        with suppress(ProcessLookupError):  # its sentinel says so
            os.setpriority(os.PRIO_PROCESS, pid, min(os.getpriority(os.PRIO_PROCESS, 0) + YIELDING_NICE, 19))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """A child inherits it: no Ctrl-C or SIGTERM hits it before its own code runs; one for us is not lost meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
    elif sys.platform == "win32":
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
    else:
        resource_tracker.ensure_running()  # where it was not, the first start would let the signals through
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
