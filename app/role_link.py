"""The child's end of a supervised process: commands come in, small messages go out, nothing blocks the work."""

from __future__ import annotations

import multiprocessing
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from sfam.stream.ring_segment import sweep

from .exit_codes import class_names
from .message_queue import MESSAGES_LOST, MessageQueue
from .own_process import ignore_terminal, keep_to, take_name

BEAT_S = 0.5
"""A child gives a sign of life this often."""
ORPHAN_GRACE_S = 3.0
"""A child whose parent is gone ends itself within this time, whatever its work does."""
STATUS_EVERY_S = 0.1
"""A role that reports a status does so this often."""
Tell = Callable[[str, Any], None]
"""Kind and message, to be shown by the parent: small, picklable, not replaced by the next one."""
_FAILED = 1


class RoleLink:
    """What a role sees of its supervisor.

    Commands other than 'stop' go to the handler registered with `on`, on the link's own thread. Reports go out by a
    second thread: the newest of each kind wins, so that a parent that does not listen costs no memory and no time.
    What was told is kept in order, and commands wait for their handler, up to `KEPT_MESSAGES` of each. What is given up
    beyond that is told as `MESSAGES_LOST`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parent = os.getppid()
        self._stop = threading.Event()
        self._orphaned = False
        self._handlers: dict[str, Callable[[Any], None]] = {}
        self._delivering = threading.RLock()
        """Held while commands are handed over: what waited for its handler comes before what arrives meanwhile."""
        self._unheard = MessageQueue()
        self._outbox: dict[str, object] = {}
        self._told = MessageQueue()
        self._wake = threading.Condition()
        self._closing = False
        self._listener = threading.Thread(target=self._listen, name="supervisor-commands", daemon=True)
        self._speaker = threading.Thread(target=self._speak, name="supervisor-reports", daemon=True)
        self._listener.start()
        self._speaker.start()

    def stopping(self) -> bool:
        """True once the supervisor asked to stop, or is gone."""
        return self._stop.is_set()

    def wait_stop(self, timeout_s: float) -> bool:
        """Sleep until a stop or the timeout; True where asked to stop."""
        return self._stop.wait(timeout_s)

    def receive(self, command: str) -> Any:
        """Wait for the first such command and give its value; None where a stop came first."""
        values: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.on(command, values.put)
        while not self.stopping():
            with suppress(queue.Empty):
                return values.get(timeout=0.02)
        return None

    @property
    def orphaned(self) -> bool:
        """True once the supervisor's process is gone."""
        return self._orphaned

    def on(self, command: str, handler: Callable[[Any], None]) -> None:
        """Call `handler(value)` for each such command, those that came before this call included."""
        with self._delivering:
            with self._wake:
                self._handlers[command] = handler
                waiting = [self._unheard.take() for _ in range(len(self._unheard))]
                lost = self._unheard.losses()
            for name, value in waiting:
                self._dispatch(name, value)
        if lost:
            self.tell(MESSAGES_LOST, lost)

    def report(self, kind: str, message: object) -> None:
        """Send a small picklable message; replaces one of the same kind that has not gone out yet."""
        with self._wake:
            self._outbox[kind] = message
            self._wake.notify()

    def tell(self, kind: str, message: object) -> None:
        """Send a small picklable message that must not be replaced by the next one."""
        with self._wake:
            self._told.put(kind, message)
            self._wake.notify()

    def close(self, timeout_s: float = 1.0) -> None:
        """Send what is left, for at most `timeout_s`; an orphan removes the shared memory its parent left."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._speaker.join(timeout_s)
        if self._orphaned:
            sweep(dead_owner=self._parent)

    def _listen(self) -> None:
        while True:
            try:
                command, value = self._connection.recv()
            except (EOFError, OSError):
                break
            if command == "stop":
                self._stop.set()
            else:
                with self._delivering:
                    self._dispatch(command, value)
        self._orphaned = True
        self._stop.set()
        time.sleep(ORPHAN_GRACE_S)
        sweep(dead_owner=self._parent)
        os._exit(_FAILED)

    def _dispatch(self, command: str, value: object) -> None:
        with self._wake:
            handler = self._handlers.get(command)
            if handler is None:
                self._unheard.put(command, value)
        if handler is not None:
            handler(value)

    def _speak(self) -> None:
        going: list[tuple[str, object]] = []
        last = False
        while True:
            try:
                for message in going or [("beat", None)]:
                    self._connection.send(message)
            except OSError:
                return  # the parent is gone; the listener sees that too
            if last:
                return
            with self._wake:
                if not (self._outbox or self._told or self._closing):
                    self._wake.wait(BEAT_S)
                going = [self._told.take() for _ in range(len(self._told))]
                if lost := self._told.losses():
                    going.append((MESSAGES_LOST, lost))
                going += self._outbox.items()
                self._outbox.clear()
                last = self._closing


def run_role(
    run: Callable[[Any, RoleLink], Mapping[str, Any] | None],
    settings: Any,
    connection: Connection,
    cpus: Sequence[int] = (),
) -> None:
    """Main function of every child process: run the role, report its result or its error, exit."""
    ignore_terminal()
    keep_to(cpus)
    take_name(multiprocessing.current_process().name)
    link = RoleLink(connection)
    code = 0
    try:
        link.report("result", dict(run(settings, link) or {}))
    except Exception as error:
        code = _FAILED
        trace = "".join(traceback.format_exception(error))
        link.report("error", {"names": class_names(error), "message": str(error), "trace": trace})
    link.close()
    sys.exit(code)
