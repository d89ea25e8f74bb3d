"""Starts the processes of a session in order, watches them, and ends them in order."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

from .child_process import ChildProcess
from .message_queue import MESSAGES_LOST
from .role import Retry, Role, RoleResult

_TICK_S = 0.05
_LONGEST_TICK_S = 0.5


class Supervisor:
    """Runs roles as spawned processes until all have ended.

    Order: started as listed. A stop, an essential role's failure or the first SIGINT or SIGTERM asks them to stop one
    after the other as listed, so that each still gets what the one before it left; one that does not end within
    `stop_timeout_s` is killed. A second SIGINT kills at once. Children end by themselves when this process dies.

    Args:
        roles: upstream first.
        on_message: called with role name, kind and message for each report of a child, in this thread.
        on_tick: called about every 50 ms, for keys and the status line.
        on_failure: asked when a role ended badly without having been told to stop; a `Retry` starts it again.
        on_hangup: called on SIGHUP, from `run`; None leaves that signal alone. Windows has none.
        stop_timeout_s: for each role.
        silence_timeout_s: a child that gives no sign of life for so long is killed and counts as failed.
        start_timeout_s: the same for one that has not yet said anything of its own: its libraries and models come from
            a disk that may be slow, on a machine that may be busy, and while one is loaded no sign is given.
        at_once: processes at a time; a role further down starts when one above has ended. None = all together.
    """

    def __init__(
        self,
        roles: Sequence[Role],
        *,
        on_message: Callable[[str, str, Any], None] | None = None,
        on_tick: Callable[[], None] | None = None,
        on_failure: Callable[[Role, RoleResult], Retry | None] | None = None,
        on_hangup: Callable[[], None] | None = None,
        stop_timeout_s: float = 10.0,
        silence_timeout_s: float = 30.0,
        start_timeout_s: float = 180.0,
        at_once: int | None = None,
    ) -> None:
        self._on_message = on_message
        self._on_tick = on_tick
        self._on_failure = on_failure
        self._on_hangup = on_hangup
        self._hung_up = False
        self._stop_timeout_s = stop_timeout_s
        self._silence_timeout_s = silence_timeout_s
        self._start_timeout_s = start_timeout_s
        self._listened_s = time.monotonic()
        self._waiting = list(roles)
        self._at_once = len(self._waiting) if at_once is None else at_once
        self._children: list[ChildProcess] = []
        self._stopping = False
        self._interrupts = 0
        self._handlers: dict[int, Any] = {}

    @property
    def stopping(self) -> bool:
        """True once the end has begun."""
        return self._stopping or self._interrupts > 0

    @property
    def interrupted(self) -> bool:
        """True where SIGINT or SIGTERM asked for the end."""
        return self._interrupts > 0

    def run(self) -> tuple[RoleResult, ...]:
        """Start all, wait for the end of all; results in the order of the roles, without those never started."""
        self._catch_signals()
        try:
            self._start_waiting()
            while self._running() or self._retrying():
                self._tick()
                self._start_again()
                self._start_waiting()
        finally:
            self._kill_rest()
            self._release_signals()
        return tuple(child.result for child in self._children if child.result is not None)

    def stop(self) -> None:
        """Ask for an orderly end; returns at once. May be called from `on_message` and `on_tick`."""
        self._stopping = True

    def send(self, role: str, command: str, value: object = None) -> None:
        """Send a command to a role's `link.on` handler; never waits.

        One that is to be started again gets it then; one that has ended for good is passed over.
        """
        for child in self._children:
            if child.role.name == role and (child.result is None or child.retry is not None):
                child.send(command, value)

    def pids(self) -> dict[str, int]:
        """Process ids of the roles that run now."""
        return {child.role.name: child.process.pid for child in self._running() if child.process.pid is not None}

    def kill(self, role: str, because: str) -> None:
        """Kill a role's process that hangs; it counts as failed, with the reason in its message."""
        for child in self._running():
            if child.role.name == role:
                child.kill(because)

    def _retrying(self) -> list[ChildProcess]:
        return [child for child in self._children if child.retry is not None]

    def _start_again(self) -> None:
        """Start what is due again; a stop ends the waiting, and the last failure is the result."""
        for place, child in enumerate(self._children):
            if child.retry is None:
                continue
            if self._stopping or self._interrupts:
                child.retry = None
            elif time.monotonic() >= child.retry_at_s:
                again = ChildProcess.start(replace(child.role, settings=child.retry.settings))
                again.outbox = child.outbox
                self._children[place] = again

    def _running(self) -> list[ChildProcess]:
        return [child for child in self._children if child.result is None]

    def _start_waiting(self) -> None:
        if self._stopping or self._interrupts:
            self._waiting.clear()
        while self._waiting and len(self._running()) < self._at_once:
            self._children.append(ChildProcess.start(self._waiting.pop(0)))

    def _tick(self) -> None:
        running = self._running()
        waited: list[Any] = [child.process.sentinel for child in running]
        waited += [child.connection for child in running if not child.connection.closed]
        wait(waited, timeout=_TICK_S)
        passed_s = self._passed_s()
        for child in running:
            child.silent_s += passed_s
            self._listen(child)
            self._pass_on(child)
            if not child.process.is_alive():
                self._ended(child)
            elif child.silent_s > (self._silence_timeout_s if child.speaks else self._start_timeout_s):
                self.kill(child.role.name, "gave no sign of life")
        if self._interrupts > 1:
            self._kill_rest()
        elif self._stopping or self._interrupts:
            self._stop_next()
        if self._hung_up and self._on_hangup is not None:
            self._hung_up = False
            self._on_hangup()
        if self._on_tick is not None:
            self._on_tick()

    def _passed_s(self) -> float:
        """Time since this was asked last; where this process was held up (a host that slept), its children were."""
        before_s, self._listened_s = self._listened_s, time.monotonic()
        return min(self._listened_s - before_s, _LONGEST_TICK_S)

    def _listen(self, child: ChildProcess) -> None:
        for kind, message in child.messages():
            if self._on_message is not None:
                self._on_message(child.role.name, kind, message)

    def _pass_on(self, child: ChildProcess) -> None:
        """Send what waits; once all has gone, say what had to be given up before."""
        child.pass_on()
        if not child.outbox and self._on_message is not None and (lost := child.outbox.losses()):
            self._on_message(child.role.name, MESSAGES_LOST, lost)

    def _ended(self, child: ChildProcess) -> None:
        child.process.join()
        self._listen(child)
        result = child.conclude()
        told_to_end = self._stopping or self._interrupts or child.stop_sent_s is not None
        if self._on_failure is not None and not result.ok and not told_to_end:
            retry = self._on_failure(child.role, result)
            if retry is not None:
                child.retire(retry)
                return
        if child.role.essential:
            left = any(other.role.essential for other in self._running() + self._retrying())
            self._stopping = self._stopping or not left or not result.ok

    def _stop_next(self) -> None:
        """Ask the first role still running to stop; end it by force once its time is up."""
        running = self._running()
        if not running:
            return
        child, now_s = running[0], time.monotonic()
        if child.stop_sent_s is None:
            child.stop_sent_s = now_s
            child.stop()
        elif now_s - child.stop_sent_s > self._stop_timeout_s and not child.terminated:
            child.terminated = True
            child.process.kill()  # SIGTERM it ignores

    def _kill_rest(self) -> None:
        for child in self._running():
            child.process.kill()
        for child in self._running():
            self._ended(child)

    def _catch_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._interrupt)
            if self._on_hangup is not None and hasattr(signal, "SIGHUP"):
                self._handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)

    def _release_signals(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT or not self._interrupts:  # `timeout` sends SIGTERM twice: here, and to the group
            self._interrupts += 1

    def _hang_up(self, number: int, _: FrameType | None) -> None:
        self._hung_up = True
