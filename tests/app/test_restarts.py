from __future__ import annotations

import mmap
import os
import signal
import sys
import time
from dataclasses import dataclass

import pytest

from sfam.app.affinity import require_cpus
from sfam.app.child_process import YIELDING_NICE
from sfam.app.config import ConfigError
from sfam.app.own_process import keep_to
from sfam.app.process_memory import resident_bytes
from sfam.app.restarts import MOST_RESTARTS, STABLE_S, Restarts
from sfam.app.role import Retry, Role, RoleResult
from sfam.app.supervisor import Supervisor
from tests.app import supervised_roles as roles

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="threads' processors are read from /proc")
KILLED = RoleResult("overlay", -9, message="was killed")


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_pauses_double_and_a_role_that_dies_again_and_again_stays_away() -> None:
    restarts = Restarts(Clock())
    assert [restarts.pause_s(KILLED) for _ in range(MOST_RESTARTS + 2)] == [0.25, 0.5, 1.0, 2.0, 4.0, None, None]
    assert restarts.pause_s(RoleResult("metrics", -9)) == 0.25, "each role has its own count"
    assert restarts.count == MOST_RESTARTS + 1


def test_a_role_that_lived_for_a_while_begins_with_the_short_pause_again() -> None:
    clock = Clock()
    restarts = Restarts(clock)
    assert [restarts.pause_s(KILLED) for _ in range(3)] == [0.25, 0.5, 1.0]
    clock.now += STABLE_S + 2
    assert restarts.pause_s(KILLED) == 0.25


def test_a_role_that_says_what_is_wrong_is_not_started_again() -> None:
    taken = RoleResult("overlay", 1, {}, ("SinkError", "RuntimeError"), "port taken")
    assert Restarts(Clock()).pause_s(taken) is None
    broken = RoleResult("overlay", 1, {}, ("ZeroDivisionError",), "division by zero")
    assert Restarts(Clock()).pause_s(broken) == 0.25


@POSIX
def test_a_role_in_the_place_of_a_dead_one_is_told_what_that_one_was_told() -> None:
    asked: list[str] = []

    def again(role: Role, result: RoleResult) -> Retry:
        asked.append(result.message)
        return Retry("second", 0.01, (("offer", 1), ("more", 2)))

    (result,) = Supervisor([Role("sink", roles.die_then_obey, "first")], on_failure=again).run()
    assert asked == ["the sink process was killed by SIGKILL"]
    assert result.value["heard"] == [1, 2]
    assert result.value["settings"] == "second"


@POSIX
def test_what_a_role_is_sent_while_none_runs_waits_for_the_next_one() -> None:
    """A resume, a marker or a new threshold that came in the back-off of an analysis was lost."""
    retried_s: list[float] = []

    def again(role: Role, result: RoleResult) -> Retry:
        retried_s.append(time.monotonic())
        return Retry("second", 0.5, (("offer", 1),))

    def send_once() -> None:
        if len(retried_s) == 1:
            retried_s.append(0.0)
            assert supervisor.pids() == {}
            supervisor.send("sink", "more", 2)
        elif retried_s and time.monotonic() - retried_s[0] > 60:
            supervisor.stop()

    supervisor = Supervisor([Role("sink", roles.die_then_obey, "first")], on_failure=again, on_tick=send_once)
    (result,) = supervisor.run()
    assert result.value["heard"] == [1, 2]


@LINUX
def test_a_role_and_all_its_threads_keep_to_their_processors() -> None:
    cpu = max(os.sched_getaffinity(0))

    def answer(role: str, kind: str, message: object) -> None:
        supervisor.send(role, "offer")
        supervisor.send(role, "more")

    supervisor = Supervisor([Role("one", roles.die_then_obey, "", cpus=(cpu,))], on_message=answer)
    (result,) = supervisor.run()
    assert result.value["cpus"] == [cpu]


@POSIX
@pytest.mark.parametrize(("yields", "behind"), [(False, 0), (True, YIELDING_NICE)])
def test_what_only_shows_results_lets_others_go_first(yields: bool, behind: int) -> None:
    def answer(role: str, kind: str, message: object) -> None:
        supervisor.send(role, "offer")
        supervisor.send(role, "more")

    supervisor = Supervisor([Role("one", roles.die_then_obey, "", yields=yields)], on_message=answer)
    (result,) = supervisor.run()
    assert result.value["nice"] == min(roles.rank() + behind, 19)


def test_processors_that_are_not_there_are_refused_by_name() -> None:
    require_cpus((), "app.cpus_sinks")
    keep_to(())
    with pytest.raises(ConfigError, match=r"app.cpus_capture"):
        require_cpus((9999,), "app.cpus_capture")


@POSIX
def test_a_hang_up_is_reported_and_neither_ends_the_parent_nor_its_children() -> None:
    heard: list[str] = []

    def hung_up() -> None:
        heard.append("hang-up")
        supervisor.stop()

    def ready(role: str, kind: str, message: object) -> None:
        if kind == "pid" and not heard:
            os.kill(int(str(message)), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGHUP)

    before = signal.getsignal(signal.SIGHUP)
    supervisor = Supervisor([Role("one", roles.work, 1)], on_message=ready, on_hangup=hung_up)
    (result,) = supervisor.run()
    assert heard == ["hang-up"]
    assert result.ok, result.message
    assert signal.getsignal(signal.SIGHUP) == before


def test_the_memory_of_a_process_is_known_and_that_of_no_process_is_not() -> None:
    before = resident_bytes(os.getpid())
    ballast = mmap.mmap(-1, 64 << 20)  # fresh pages: the heap may have 64 MB to spare
    ballast.write(b"\1" * len(ballast))
    after = resident_bytes(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before > len(ballast) // 2
    assert resident_bytes(2**22 + 1) is None
