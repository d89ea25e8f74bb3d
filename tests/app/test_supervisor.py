from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfam.app.message_queue import KEPT_MESSAGES, MESSAGES_LOST
from sfam.app.role import Role, RoleResult
from sfam.app.supervisor import Supervisor
from sfam.stream.ring import Ring
from sfam.stream.ring_segment import process_alive
from tests.app import supervised_roles as roles

ROOT = Path(__file__).resolve().parents[2]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


def supervise(*them: Role, **options: Any) -> tuple[RoleResult, ...]:
    return Supervisor(them, **options).run()


def test_results_and_messages_arrive(capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[tuple[str, str, Any]] = []
    first, second = supervise(
        Role("one", roles.finish, {"a": 1}),
        Role("two", roles.finish, "b"),
        on_message=lambda *message: heard.append(message),
    )
    assert first == RoleResult("one", 0, {"settings": {"a": 1}})
    assert second.value == {"settings": "b"}
    assert sorted(heard, key=str) == [("one", "hello", {"a": 1}), ("two", "hello", "b")]
    assert capfd.readouterr().err == ""


def test_an_error_comes_up_as_data_and_ends_the_others_in_order(capfd: pytest.CaptureFixture[str]) -> None:
    begun: set[str] = set()

    def hear(role: str, kind: str, message: Any) -> None:
        begun.add(role)
        if begun == {"one", "three"}:  # a role that has not begun would be dismissed without a result
            supervisor.send("capture", "go", None)

    them = (
        Role("one", roles.work, None),
        Role("capture", roles.break_off_when_told, "A7"),
        Role("three", roles.work, None),
    )
    supervisor = Supervisor(them, on_message=hear)
    first, broken, last = supervisor.run()
    assert broken.exit_code == 1
    assert broken.error_names[:2] == ("SourceError", "ConnectionError")
    assert broken.message == "camera A7 unplugged"
    assert "in break_off" in broken.trace
    assert first.ok
    assert last.ok
    assert first.value["stopped_ns"] < last.value["stopped_ns"]
    assert capfd.readouterr().err == ""


def test_a_failed_sink_does_not_end_the_session() -> None:
    alone: list[float] = []

    def after_a_while() -> None:
        if set(supervisor.pids()) == {"work"}:
            alone.append(time.monotonic())
        if alone and alone[-1] - alone[0] > 0.5:
            supervisor.stop()

    supervisor = Supervisor(
        [Role("sink", roles.break_off, 1, essential=False), Role("work", roles.work, None)], on_tick=after_a_while
    )
    sink, work = supervisor.run()
    assert not sink.ok
    assert work.ok
    assert alone[-1] - alone[0] > 0.5


def test_sinks_are_stopped_once_the_work_is_done() -> None:
    done, sink = supervise(Role("one", roles.finish, 1), Role("sink", roles.work, None, essential=False))
    assert done.ok
    assert sink.ok


@POSIX
def test_a_killed_child_is_named_with_its_signal(capfd: pytest.CaptureFixture[str]) -> None:
    killed, other = supervise(Role("analysis", roles.kill_itself, None), Role("two", roles.work, None))
    assert killed.exit_code == -signal.SIGKILL
    assert killed.message == "the analysis process was killed by SIGKILL"
    assert other.ok
    assert capfd.readouterr().err == ""


@POSIX
@pytest.mark.parametrize(
    ("when", "bounds"),
    [
        ("late", {"silence_timeout_s": 1.5, "start_timeout_s": 600.0}),
        ("early", {"silence_timeout_s": 0.0, "start_timeout_s": 6.0}),
    ],
)
def test_a_frozen_child_is_killed_after_its_silence(when: str, bounds: dict[str, float]) -> None:
    (frozen,) = supervise(Role("one", roles.freeze, when), **bounds)
    assert "no sign of life" in frozen.message
    assert frozen.exit_code == -signal.SIGKILL


def test_a_child_whose_libraries_come_slowly_is_not_taken_for_one_that_hangs() -> None:
    """Imports run before anything of a child's own; one on a slow disk was killed after its silence."""
    (slow,) = supervise(Role("one", roles.finish, roles.SlowToLoad(3.0)), silence_timeout_s=1.0)
    assert slow.ok, slow.message
    assert slow.value == {"settings": 3.0}


def test_a_child_that_still_loads_is_not_waited_for_when_nobody_needs_it() -> None:
    """A recording that does not exist was reported only once the analysis had loaded all its libraries."""
    began_s = time.monotonic()
    broken, loading = supervise(
        Role("one", roles.break_off, "A1"), Role("two", roles.finish, roles.SlowToLoad(120.0)), stop_timeout_s=300.0
    )
    assert time.monotonic() - began_s < 100.0
    assert broken.message == "camera A1 unplugged"
    assert loading == RoleResult("two", 0)


@POSIX
def test_a_time_in_which_the_supervisor_itself_stood_still_is_no_silence() -> None:
    """A host that slept: parent and children stood still alike, and a child had no chance to speak in between."""
    naps: list[int] = []

    def sleep_with_the_child() -> None:
        pid = supervisor.pids().get("one")
        if pid is not None and said and not naps:
            naps.append(pid)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(4.0)
            os.kill(pid, signal.SIGCONT)
            supervisor.stop()

    said: list[str] = []
    supervisor = Supervisor(
        [Role("one", roles.work, 1)],
        on_message=lambda role, kind, message: said.append(kind),
        on_tick=sleep_with_the_child,
        silence_timeout_s=3.0,
    )
    (woken,) = supervisor.run()
    assert naps
    assert woken.ok, woken.message


@POSIX
def test_a_child_that_ignores_the_stop_is_ended_all_the_same() -> None:
    supervisor = Supervisor(
        [Role("one", roles.ignore_stop, None)],
        on_message=lambda role, kind, message: supervisor.stop(),
        stop_timeout_s=0.3,
    )
    (stubborn,) = supervisor.run()
    assert stubborn.exit_code == -signal.SIGKILL


def test_a_child_is_never_held_up_by_its_reports() -> None:
    heard: list[int] = []

    def dawdle(role: str, kind: str, message: Any) -> None:
        heard.append(message["number"])
        time.sleep(0.05)

    (result,) = supervise(Role("one", roles.chatter, 20_000), on_message=dawdle)
    assert result.value["seconds"] < 2
    assert heard == sorted(heard)
    assert heard[-1] == 19_999
    assert len(heard) < 2000


def test_commands_reach_their_role_in_order_even_before_it_listens() -> None:
    sent = False

    def send_once() -> None:
        nonlocal sent
        if not sent:
            sent = True
            for command, value in (("more", 2), ("first", 1), ("more", 3)):
                supervisor.send("one", command, value)

    supervisor = Supervisor([Role("one", roles.obey, None)], on_tick=send_once)
    (result,) = supervisor.run()
    assert result.value == {"taken": [1, 2, 3]}


def test_a_flood_of_commands_never_pushes_out_the_one_that_all_wait_for() -> None:
    """A restarted analysis waited for ever for its source: analyzers' results had come meanwhile."""
    heard: list[tuple[str, Any]] = []

    def flood(role: str, kind: str, message: Any) -> None:
        heard.append((kind, message))
        if kind == "pid":
            for command in ("first", *["more"] * KEPT_MESSAGES, "last"):
                supervisor.send("one", command, 7)

    supervisor = Supervisor([Role("one", roles.obey_late, None)], on_message=flood)
    (result,) = supervisor.run()
    assert result.value["first"] == [7]
    missing = KEPT_MESSAGES - len(result.value["more"])
    assert 0 < missing < 3, "'last' waits too where it comes before the role asks for it"
    assert heard[1:] == [(MESSAGES_LOST, f"{missing} more")]


class Bounded:
    """A supervisor that may be held up for ever, run beside the test."""

    def __init__(self, role: Role, on_pid: Callable[[int], None], **options: Any) -> None:
        self._pid = 0
        self._on_pid = on_pid
        self._results: tuple[RoleResult, ...] = ()
        self.supervisor = Supervisor([role], on_message=self._hear, **options)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def result(self) -> RoleResult:
        """Of the one role."""
        self._thread.start()
        self._thread.join(120)
        held_up = self._thread.is_alive()
        if held_up:
            os.kill(self._pid, signal.SIGKILL)
        assert not held_up, "a child that takes no commands holds up its supervisor"
        return self._results[0]

    def _run(self) -> None:
        self._results = self.supervisor.run()

    def _hear(self, role: str, kind: str, message: Any) -> None:
        if kind == "pid":
            self._pid = message
            self._on_pid(message)


@POSIX
def test_a_child_that_takes_no_commands_does_not_hold_up_who_watches_it() -> None:
    """A frozen analysis filled its pipe within seconds: the watch that would have killed it never ran again."""

    def freeze(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        for number in range(3000):
            bounded.supervisor.send("one", "more", number)

    bounded = Bounded(Role("one", roles.work, 1), freeze, silence_timeout_s=1.5)
    assert bounded.result().message == "the one process gave no sign of life and was killed"


@POSIX
def test_a_child_that_wakes_up_gets_all_it_was_sent_in_order() -> None:
    def nap(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        for number in range(3000):
            bounded.supervisor.send("one", "more", number)
        bounded.supervisor.send("one", "last")
        os.kill(pid, signal.SIGCONT)

    bounded = Bounded(Role("one", roles.obey_late, None), nap)
    assert bounded.result().value["more"] == list(range(3000))


def start_parent(scenario: str) -> tuple[subprocess.Popen[str], list[int], str]:
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.app.supervised_roles", scenario],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    said = parent.stdout.readline()
    assert said, parent.communicate(timeout=60)[1]
    facts = json.loads(said)
    return parent, facts["pids"], facts["ring"]


def assert_nothing_is_left(pids: list[int], ring: str, within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    while any(process_alive(pid) for pid in pids) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not any(process_alive(pid) for pid in pids)
    assert not (Path("/dev/shm") / ring).exists()


@POSIX
def test_ctrl_c_in_the_terminal_ends_everything_cleanly() -> None:
    parent, pids, ring = start_parent("clean")
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=60)
    assert json.loads(out) == {"interrupted": True, "codes": [0, 0]}
    assert (err, parent.returncode) == ("", 0)
    assert_nothing_is_left(pids, ring, within_s=0)


@POSIX
def test_a_second_ctrl_c_forces_the_end() -> None:
    parent, pids, ring = start_parent("stubborn")
    os.killpg(parent.pid, signal.SIGINT)
    time.sleep(0.5)
    assert parent.poll() is None
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=60)
    assert json.loads(out)["codes"] == [0, -signal.SIGKILL]
    assert err == ""
    assert_nothing_is_left(pids, ring, within_s=0)


@POSIX
def test_a_second_sigterm_forces_nothing() -> None:
    """`timeout` sends one to its child and one to the group."""
    parent, pids, ring = start_parent("stubborn")
    for _ in range(2):
        os.killpg(parent.pid, signal.SIGTERM)
        time.sleep(0.5)
    assert parent.poll() is None
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=60)
    assert json.loads(out)["codes"] == [0, -signal.SIGKILL]
    assert err == ""
    assert_nothing_is_left(pids, ring, within_s=0)


@POSIX
def test_sigterm_to_the_whole_group_ends_everything_cleanly() -> None:
    """As `kill %1` and `timeout` send it."""
    parent, pids, ring = start_parent("clean")
    os.killpg(parent.pid, signal.SIGTERM)
    out, err = parent.communicate(timeout=60)
    assert json.loads(out) == {"interrupted": True, "codes": [0, 0]}
    assert (err, parent.returncode) == ("", 0)
    assert_nothing_is_left(pids, ring, within_s=0)


@POSIX
@pytest.mark.parametrize("scenario", ["clean", "stubborn"])
def test_a_killed_parent_leaves_no_process_and_no_memory_behind(scenario: str) -> None:
    parent, pids, ring = start_parent(scenario)
    parent.kill()
    assert parent.communicate(timeout=60)[1] == ""
    assert_nothing_is_left(pids, ring, within_s=60)


def test_a_signal_handler_and_the_ring_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Ring((4, 4), (4, 4), policy="latest") as ring:
        supervise(Role("one", roles.finish, 1))
        name = ring.name
    assert signal.getsignal(signal.SIGINT) is before
    assert not (Path("/dev/shm") / name).exists()


def test_no_more_than_the_asked_number_run_at_once() -> None:
    running: set[str] = set()
    most = 0

    def hear(role: str, kind: str, message: Any) -> None:
        nonlocal most
        if kind == "pid":
            running.add(role)
            most = max(most, len(running))
            for waiting in running if len(running) == 2 else ():
                for command in ("first", "more", "more"):
                    supervisor.send(waiting, command, 0)
        elif kind == "ending":
            running.discard(role)

    them = [Role(str(number), roles.obey_and_say, None, essential=False) for number in range(4)]
    supervisor = Supervisor(them, on_message=hear, at_once=2)
    results = supervisor.run()
    assert [result.role for result in results] == ["0", "1", "2", "3"]
    assert all(result.ok for result in results)
    assert most == 2


def test_roles_that_still_wait_are_not_started_after_a_stop() -> None:
    supervisor = Supervisor(
        [Role(str(number), roles.work, None, essential=False) for number in range(3)],
        on_message=lambda role, kind, message: supervisor.stop(),
        at_once=1,
    )
    (only,) = supervisor.run()
    assert only.role == "0"


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_child_is_being_started_is_neither_lost_nor_felt_by_the_child(number: int) -> None:
    supervisor = Supervisor([Role("one", roles.work, None)])
    context = multiprocessing.get_context("spawn")
    start = context.Process.start

    def interrupted_start(process: Any) -> None:
        os.kill(os.getpid(), number)
        start(process)
        os.kill(process.pid, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context.Process, "start", interrupted_start)
        (only,) = supervisor.run()
    assert supervisor.interrupted
    assert only.ok


def test_a_child_that_had_to_be_ended_by_force_is_told_from_one_that_failed() -> None:
    stubborn = Role("stubborn", roles.ignore_stop, None)
    broken = Role("broken", roles.break_off_when_told, None)
    supervisor = Supervisor(
        [broken, stubborn], on_message=lambda role, kind, message: supervisor.send("broken", "go"), stop_timeout_s=0.5
    )
    results = supervisor.run()
    assert [result.terminated for result in results] == [False, True]
