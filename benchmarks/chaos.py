"""Chaos: sessions that are stopped, stalled, starved and killed at random; whatever happens, the accounts stay right.

    python -m benchmarks.chaos --rounds 20 --seed 1

Each round runs one session on the demo camera, disturbs it twice and ends it once, by a plan drawn from the seed. After
each round: every frame has one row or a counted cause, all files parse, a subscriber heard every confirmed event,
nothing is left running and no shared memory remains.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import zmq

from benchmarks.live_session import LiveSession, TooSlowError, wrong_in
from sfam.capture.inspection import inspect

DISTURBANCES = (
    *("stop capture", "stop analysis", "stop supervisor", "stuck subscriber"),
    *("kill capture", "kill analysis", "kill face", "reload"),
)
"""What a session must survive; 'stop' = SIGSTOP for a moment, then SIGCONT; 'reload' = SIGHUP."""
TO_RECORDER = ("stop recorder", "kill recorder", "starve recorder")
"""The same where the session is recorded; 'starve' = its disk is full."""
ENDINGS = ("interrupt", "disk full", "kill supervisor", "terminate", "force")
ORDERLY = ("interrupt", "terminate")
EXIT_CODES = {"interrupt": 0, "terminate": 0, "disk full": 5}
"""Where the documentation promises one."""
NOT_BACK = ("face",)
"""Roles that are not started again: another does their work."""
LONGEST_STOP_S = 1.0
LONGEST_DEATH_S = 10.0
QUIET_MS = 200
"""A subscriber that has heard nothing for so long after the end has heard everything."""
RECORDED_SHARE = 0.4
FIRST_ROWS = 20
OPTIONS = ("--privacy", "full", "--set", "sinks.high_water_mark=10")
"""Pictures go out, so that a subscriber that does not read is soon behind."""


@dataclass(frozen=True, slots=True)
class Round:
    """The plan of one session."""

    number: int
    disturbances: tuple[tuple[str, float], ...]
    """What, and for how long (s)."""
    ending: str
    recorded: bool = False


def draw(rounds: int, seed: int) -> list[Round]:
    """Plans by the seed; every way to end comes before any comes twice."""
    chance = random.Random(seed)
    endings: list[str] = []
    plans = []
    for number in range(rounds):
        endings = endings or chance.sample(ENDINGS, len(ENDINGS))
        recorded = chance.random() < RECORDED_SHARE
        pool = (
            chance.sample(DISTURBANCES, 2)
            if not recorded
            else [*chance.sample(DISTURBANCES, 1), chance.choice(TO_RECORDER)]
        )
        disturbed = tuple((what, round(chance.uniform(0.1, LONGEST_STOP_S), 2)) for what in pool)
        plans.append(Round(number, disturbed, endings.pop(), recorded))
    return plans


class Listener(threading.Thread):
    """A subscriber that reads everything; it must hear each confirmed event."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._over = threading.Event()
        self.confirmed: set[int] = set()

    def run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.linger = 0
            socket.connect(self._address)
            socket.subscribe(b"sfam/")
            while True:
                if not socket.poll(QUIET_MS):
                    if self._over.is_set():
                        return
                    continue
                topic, header, *_ = socket.recv_multipart()
                if topic.endswith(b"/event"):
                    event = json.loads(header)
                    if event["state"] == "confirmed":
                        self.confirmed.add(event["id"])

    def stop(self) -> None:
        """End once nothing more comes, for the session has ended and its last words may still be on their way."""
        self._over.set()
        self.join()


class StuckSubscriber:
    """Subscribes to everything and never reads."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = 1
        self._socket.connect(address)
        self._socket.subscribe(b"")

    def close(self) -> None:
        """Go away."""
        self._context.destroy(linger=0)


def whole(plan: Round) -> bool:
    """Whether nothing but the ending decides the exit code; one whose recording met a full disk is no success."""
    return all(what != "starve recorder" for what, _ in plan.disturbances)


def play(plan: Round, folder: Path) -> list[str]:
    """Run one round; returns everything that was wrong afterwards.

    Raises:
        TooSlowError: the machine was too slow to judge it.
    """
    options = (*OPTIONS, "--record", "all") if plan.recorded else OPTIONS
    session = LiveSession(folder / f"round_{plan.number}", options)
    listener, stuck = Listener(session.address), []
    listener.start()
    try:
        session.wait_rows(FIRST_ROWS)
        for what, seconds in plan.disturbances:
            if what == "stuck subscriber":
                stuck.append(StuckSubscriber(session.address))
                time.sleep(seconds)
            elif what.startswith("kill "):
                _kill(session, what.partition(" ")[2])
            elif what == "reload":
                os.kill(session.process.pid, signal.SIGHUP)
            elif what == "starve recorder":
                _fill_disk(session, "recorder", (".mcap",))
            else:
                _pause(session, what.partition(" ")[2], seconds)
        session.wait_rows(session.rows() + FIRST_ROWS)
        _end(session, plan.ending)
        code = session.end()
        wrong = [f"left behind: {what}" for what in session.left_behind()]
        if (code != EXIT_CODES.get(plan.ending, code)) if whole(plan) else (code == 0):
            wrong.append(f"exit code {code}:\n{session.log}")
        listener.stop()
        wrong += wrong_in(session.out, plan.ending in ORDERLY)
        if plan.recorded:
            for part in sorted(session.out.glob("recording*.mcap")):
                report = inspect(part)
                wrong += [f"{part.name}: {report.error}"] if report.error else []
        return wrong + _unheard(session.out, listener, plan.ending)
    except TooSlowError:
        raise
    except TimeoutError as error:
        return [str(error)]
    finally:
        session.kill()  # the listener goes on as long as something comes
        listener.stop()
        for subscriber in stuck:
            subscriber.close()


def _process(session: LiveSession, name: str) -> psutil.Process:
    return psutil.Process(session.process.pid) if name == "supervisor" else session.role(name)


def _kill(session: LiveSession, name: str) -> None:
    """Ends when the role is back: a session that is ended before says so by its exit code."""
    killed = _process(session, name)
    killed.kill()
    try:
        killed.wait(LONGEST_DEATH_S)
    except psutil.TimeoutExpired as error:
        raise TooSlowError(f"the killed {name} process is still there after {LONGEST_DEATH_S:g} s") from error
    if name not in NOT_BACK:
        session.role(name)


def _pause(session: LiveSession, name: str, seconds: float) -> None:
    process = _process(session, name)
    process.suspend()
    time.sleep(seconds)
    process.resume()


def _fill_disk(session: LiveSession, name: str, suffixes: tuple[str, ...]) -> None:
    """From now on the files that a process writes may grow by next to nothing."""
    limit = max(path.stat().st_size for path in session.out.iterdir() if path.suffix in suffixes) + 2000
    _process(session, name).rlimit(psutil.RLIMIT_FSIZE, (limit, limit))


def _end(session: LiveSession, how: str) -> None:
    what, _, name = how.partition(" ")
    if what == "kill":
        _process(session, name).kill()
    elif how == "disk full":
        _fill_disk(session, "analysis", (".csv", ".json", ".jsonl"))
    else:
        os.kill(session.process.pid, signal.SIGTERM if how == "terminate" else signal.SIGINT)
    if how == "force":
        time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.kill(session.process.pid, signal.SIGINT)


def _unheard(out: Path, listener: Listener, ending: str) -> list[str]:
    if ending == "force":
        return []  # what was written and not yet sent goes with a kill
    with (out / "events.jsonl").open(encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines if line.endswith("\n")]
    missing = {event["id"] for event in events if event["state"] == "confirmed"} - listener.confirmed
    return [f"confirmed events {sorted(missing)} were never heard"] if missing else []


def run(rounds: int, seed: int, folder: Path, first: int = 0) -> tuple[int, int]:
    """Play all rounds, print a line each; returns how many went wrong, and how many could not be judged.

    Args:
        rounds, seed: as for `draw`.
        folder: for their sessions; of those with right accounts nothing is kept, as pictures fill disks.
        first: of these rounds; those before it were played another time.
    """
    failed = unjudged = 0
    for plan in draw(rounds, seed)[first:]:
        began_s = time.monotonic()
        try:
            wrong = play(plan, folder)
            verdict = "; ".join(wrong) or "accounts right"
            failed += bool(wrong)
            if not wrong:
                shutil.rmtree(folder / f"round_{plan.number}")
        except TooSlowError as error:
            verdict = f"not judged: {error}"
            unjudged += 1
        disturbed = ", ".join(f"{what} {seconds:g} s" for what, seconds in plan.disturbances)
        how = "recorded, " if plan.recorded else ""
        took_s = time.monotonic() - began_s
        print(f"round {plan.number}: {how}{disturbed}, then {plan.ending}: {verdict} ({took_s:.1f} s)", flush=True)
    return failed, unjudged


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=len(ENDINGS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="go on with this round of those that the seed gives")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="sfam_chaos_"))
    failed, unjudged = run(options.rounds, options.seed, folder, options.first)
    played = f"rounds {options.first} to {options.rounds - 1}, seed {options.seed}"
    print(f"{played}: {failed} went wrong, {unjudged} could not be judged")
    if failed or unjudged:
        print(f"their sessions: {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
