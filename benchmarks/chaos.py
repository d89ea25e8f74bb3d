"""Chaos: sessions that are stopped, stalled, starved and killed at random; whatever happens, the accounts stay right.

    python -m benchmarks.chaos --rounds 20 --seed 1

Each round runs one session on the demo camera, disturbs it twice, in some rounds also kills its overlay and pulls its
camera's plug for a while, and ends it once, by a plan drawn from the seed. After each round: every frame has one row or
a counted cause, all files parse, a subscriber heard every confirmed event, nothing is left running and no shared memory
remains.
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
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.chaos_camera import NAME, UNPLUGGED, install
from benchmarks.chaos_subscribers import Listener, StuckSubscriber
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
RECORDED_SHARE = 0.4
UNPLUGGED_SHARE, SHOWN_SHARE = 0.3, 0.25
LONGEST_OUTAGE_S = 3.0
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
    unplugged_s: float = 0.0
    """Then its camera is lost for so long; 0 = it is not."""
    shown: bool = False
    """It has a web overlay, which is killed as well."""


def draw(rounds: int, seed: int) -> list[Round]:
    """Plans by the seed; every way to end comes before any comes twice."""
    chance, more = random.Random(seed), random.Random(f"{seed}: camera and overlay")
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
        outage_s = round(more.uniform(0.1, LONGEST_OUTAGE_S), 2)
        unplugged_s = outage_s if more.random() < UNPLUGGED_SHARE else 0.0
        plans.append(Round(number, disturbed, endings.pop(), recorded, unplugged_s, more.random() < SHOWN_SHARE))
    return plans


def whole(plan: Round) -> bool:
    """Whether nothing but the ending decides the exit code; one whose recording met a full disk is no success."""
    return all(what != "starve recorder" for what, _ in plan.disturbances)


def play(plan: Round, folder: Path) -> list[str]:
    """Run one round; returns everything that was wrong afterwards.

    Raises:
        TooSlowError: the machine was too slow to judge it.
    """
    session = _begin(plan, folder)
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
        if plan.shown:
            _kill(session, "overlay")
        if plan.unplugged_s:
            _unplug(_plug(folder, plan), plan.unplugged_s)
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


def _begin(plan: Round, folder: Path) -> LiveSession:
    options = [*OPTIONS]
    if plan.recorded:
        options += ["--record", "all"]
    if plan.shown:
        options += ["--overlay", "web", "--set", "sinks.web_address=127.0.0.1:0"]
    out = folder / f"round_{plan.number}"
    if not plan.unplugged_s:
        return LiveSession(out, options)
    package = install(folder / f"camera_{plan.number}")
    path = os.pathsep.join([str(package), str(Path(__file__).parents[1])])
    return LiveSession(out, options, NAME, {"PYTHONPATH": path, UNPLUGGED: str(_plug(folder, plan))})


def _plug(folder: Path, plan: Round) -> Path:
    return folder / f"camera_{plan.number}" / "unplugged"


def _unplug(plug: Path, seconds: float) -> None:
    plug.touch()
    time.sleep(seconds)
    plug.unlink()


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
                shutil.rmtree(folder / f"camera_{plan.number}", ignore_errors=True)
        except TooSlowError as error:
            verdict = f"not judged: {error}"
            unjudged += 1
        disturbed = ", ".join(f"{what} {seconds:g} s" for what, seconds in plan.disturbances)
        how = ("recorded, " if plan.recorded else "") + ("with overlay, " if plan.shown else "")
        disturbed += f", unplugged {plan.unplugged_s:g} s" if plan.unplugged_s else ""
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
