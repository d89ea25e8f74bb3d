"""Roles for the supervisor's tests, and a parent process that runs them."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfam.app.role import Role
from sfam.app.role_link import RoleLink
from sfam.app.supervisor import Supervisor
from sfam.capture.source import SourceError
from sfam.stream.ring import Ring


def finish(settings: Any, link: RoleLink) -> Mapping[str, Any]:
    link.tell("hello", settings)
    return {"settings": settings}


def break_off(settings: Any, link: RoleLink) -> None:
    raise SourceError(f"camera {settings} unplugged")


def break_off_when_told(settings: Any, link: RoleLink) -> None:
    link.receive("go")
    break_off(settings, link)


def work(settings: Any, link: RoleLink) -> Mapping[str, Any]:
    """Until asked to stop."""
    link.report("pid", os.getpid())
    while not link.wait_stop(0.02):
        pass
    link.tell("stopped", settings)
    return {"stopped_ns": time.monotonic_ns()}


def ignore_stop(settings: Any, link: RoleLink) -> None:
    """Never ends by itself."""
    link.report("pid", os.getpid())
    while True:
        time.sleep(1)


def kill_itself(settings: Any, link: RoleLink) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class SlowToLoad:
    """Settings that take a child so long to load, before any of its own code runs."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __reduce__(self) -> tuple[Any, ...]:
        return load_slowly, (self.seconds,)


def load_slowly(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def freeze(settings: Any, link: RoleLink) -> None:
    """Stop dead; with settings 'late' after a word of its own."""
    if settings == "late":
        link.tell("hello", None)
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


def die_then_obey(settings: Any, link: RoleLink) -> Mapping[str, Any] | None:
    """With settings 'first' die without a word; else say what was commanded and which processors may be used."""
    if settings == "first":
        os.kill(os.getpid(), signal.SIGKILL)
    link.tell("pid", os.getpid())
    return {
        "heard": [link.receive("offer"), link.receive("more")],
        "settings": settings,
        "cpus": usable_cpus(),
        "nice": rank(),
    }


def rank() -> int:
    """Higher = others go first."""
    return 0 if sys.platform == "win32" else os.getpriority(os.PRIO_PROCESS, 0)


def usable_cpus() -> list[int]:
    """Processors of every thread of this process."""
    if sys.platform != "linux":
        return []
    threads = (int(thread.name) for thread in Path("/proc/self/task").iterdir())
    return sorted({cpu for thread in threads for cpu in os.sched_getaffinity(thread)})


def chatter(settings: Any, link: RoleLink) -> Mapping[str, Any]:
    """Report far more than anybody reads."""
    began_s = time.monotonic()
    for number in range(settings):
        link.report("status", {"number": number, "ballast": "x" * 1000})
    return {"seconds": time.monotonic() - began_s}


def obey(settings: Any, link: RoleLink) -> Mapping[str, Any]:
    """Collect commands until the third."""
    early = link.receive("first")
    taken: list[Any] = []
    link.on("more", taken.append)
    while len(taken) < 2 and not link.stopping():
        time.sleep(0.01)
    return {"taken": [early, *taken]}


def obey_late(settings: Any, link: RoleLink) -> Mapping[str, Any]:
    """Look at what was commanded only once 'last' has come: what a role does whose model takes long to load."""
    link.tell("pid", os.getpid())
    link.receive("last")
    first, more = list[Any](), list[Any]()
    link.on("first", first.append)
    link.on("more", more.append)
    return {"first": first, "more": more}


def obey_and_say(settings: Any, link: RoleLink) -> Mapping[str, Any]:
    """As `obey`, telling its process id first and its end last."""
    link.tell("pid", os.getpid())
    taken = obey(settings, link)
    link.tell("ending", None)
    return taken


def main() -> None:
    """Run two roles with a ring at hand, print their pids and the ring's name, then how it ended."""
    second = {"clean": work, "stubborn": ignore_stop}[sys.argv[1]]
    pids: dict[str, int] = {}
    with Ring((4, 4), (4, 4), policy="latest") as ring:

        def hear(role: str, kind: str, message: Any) -> None:
            if kind == "pid":
                pids[role] = message
                if len(pids) == 2:
                    print(json.dumps({"pids": list(pids.values()), "ring": ring.name}), flush=True)

        supervisor = Supervisor([Role("one", work, 1), Role("two", second, 2)], on_message=hear)
        results = supervisor.run()
    print(json.dumps({"interrupted": supervisor.interrupted, "codes": [result.exit_code for result in results]}))


if __name__ == "__main__":
    main()
