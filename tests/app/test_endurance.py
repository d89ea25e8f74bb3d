"""Short forms of `make soak` and `make chaos`, and proof that both see what is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos import DISTURBANCES, ENDINGS, TO_RECORDER, Round, draw, play
from benchmarks.live_session import LiveSession, wrong_in
from benchmarks.soak import Listener, Series, all_sinks, judge, plot, run
from sfam.app.config import load_config
from sfam.app.replay import Replay, replay_config, run_replay

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="SIGSTOP, prlimit and /dev/shm")
PLANS = draw(8, seed=10)
"""In so few rounds everything happens that can."""
MIB = 2**20


@LINUX
@pytest.mark.alone
@pytest.mark.slow  # a whole session, disturbed twice; the long form is make chaos
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.ending)
def test_the_accounts_are_right_after_whatever_ends_a_session(plan: Round, tmp_path: Path) -> None:
    assert play(plan, tmp_path) == []


def test_everything_that_can_happen_does() -> None:
    happens = {what for plan in PLANS for what, _ in plan.disturbances}
    assert happens == {*DISTURBANCES, *TO_RECORDER}
    assert {plan.ending for plan in PLANS} == set(ENDINGS)
    assert any(plan.unplugged_s for plan in PLANS)
    assert any(plan.shown for plan in PLANS)


@LINUX
@pytest.mark.alone
@pytest.mark.slow  # memory is only flat over some time; the long form is make soak
def test_memory_stays_flat_and_no_frame_is_lost_unexplained(tmp_path: Path) -> None:
    verdict, memory = run(60.0, tmp_path, all_sinks(tmp_path), latency=False)
    assert verdict.wrong == ()
    assert verdict.frames > 300
    assert set(memory) == {"supervisor", "capture", "analysis", "face", "overlay", "metrics", "lsl", "mcap", "rerun"}


def test_the_seed_decides_the_rounds_and_all_endings_come() -> None:
    assert draw(9, 7) == draw(9, 7)
    assert draw(9, 7) != draw(9, 8)
    assert {plan.ending for plan in draw(len(ENDINGS), 7)} == set(ENDINGS)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of the demo, finished; a frame of it was not analysed."""
    folder = tmp_path_factory.mktemp("endurance") / "session"
    config = load_config(flags={"capture.camera": "demo", "app.duration_s": 1.0})
    run_replay(Replay(replay_config(config, single_process=True), {12: "ring_overwritten"}), folder)
    return folder


def test_a_good_session_is_not_complained_about(session: Path) -> None:
    assert wrong_in(session, finished=True) == []


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        ("scores.csv", "\n17,", "\n18,", "does not hold every frame once"),
        ("scores.csv", "ring_overwritten", "", "frame 12 has neither score nor cause"),
        ("scores.csv", "\n20,", "\n20,,", "lines [22] do not have"),
        ("session.json", '"analysed": 29', '"analysed": 28', "frames offered, 28 analysed"),
        ("session.json", '"offered": 30', '"offered": 31', "30 rows written or counted"),
        ("session.json", '"state": "ended"', '"state": "running"', "in state running"),
        ("session.json", "{", "", "session.json: "),
    ],
)
def test_a_wrong_account_is_found(session: Path, tmp_path: Path, file: str, before: str, after: str, said: str) -> None:
    broken = shutil.copytree(session, tmp_path / "broken")
    text = (broken / file).read_text()
    assert before in text
    (broken / file).write_text(text.replace(before, after, 1))
    wrong = wrong_in(broken, finished=True)
    assert any(said in complaint for complaint in wrong), wrong


def test_a_broken_line_of_events_is_found_and_one_that_was_cut_off_is_not(session: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(session, tmp_path / "broken")
    (broken / "events.jsonl").write_text('{"id": 0}\n{"id": 1')
    assert wrong_in(broken, finished=True) == []
    (broken / "events.jsonl").write_text('{"id": 0}\n{"id": \n')
    assert "events.jsonl line 2" in wrong_in(broken, finished=True)[0]


@LINUX
def test_what_a_session_leaves_behind_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.live_session.LEFT_WITHIN_S", 0.2)
    import fcntl

    session = LiveSession(tmp_path / "session", ["--dry-run"])
    segment = Path(f"/dev/shm/sfam_{session.process.pid}_0")
    orphan = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert session.end() == 0
        assert session.left_behind() == []
        session.watch(orphan.pid)
        with segment.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # else any session that starts meanwhile removes it
            assert session.left_behind() == [f"process {orphan.pid}", f"shared memory {segment.name}"]
    finally:
        segment.unlink(missing_ok=True)
        session.kill()
        orphan.communicate()


def heard(latencies: list[tuple[float, float]], gaps: int = 0) -> Listener:
    return Listener("", latencies, gaps)


def test_growth_lost_messages_and_rising_latency_are_found() -> None:
    steady: Series = [(float(second), 100 * MIB) for second in range(100)]
    leaky: Series = [(float(second), 100 * MIB + second * MIB // 10) for second in range(100)]
    late = [(second, 5.0 if second < 50 else 7.0) for second in map(float, range(100))]
    good = judge({"role 1": steady}, heard([(float(s), 5.0) for s in range(100)]), [], latency=True)
    assert good.wrong == ()
    bad = judge({"role 1": steady, "role 2": leaky}, heard(late, gaps=3), ["ended by itself"], latency=True)
    assert bad.wrong[0] == "ended by itself"
    assert bad.wrong[1].startswith("role 2 grew from")
    assert "1.40 times" in bad.wrong[2]
    assert bad.wrong[3].startswith("3 score messages")
    assert "no score came" in judge({"role 1": steady}, heard([]), [], latency=False).wrong


def test_the_plot_has_a_line_for_each_process() -> None:
    picture = plot({"supervisor": [(0.0, MIB), (9.0, 2 * MIB)], "role 1": [(0.0, 3 * MIB)]})
    assert picture.count("<polyline") == 2
    assert "supervisor" in picture
    assert json.dumps(picture).isascii()
