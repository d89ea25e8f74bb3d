from __future__ import annotations

from dataclasses import dataclass

import pytest

from sfam.app.clock_watch import ClockWatch, boot_ns
from sfam.capture.clock import SessionClock

SECOND_NS = 10**9


@dataclass
class Clocks:
    """A machine whose clock can be set and which can be put to sleep."""

    monotonic: int = 50 * SECOND_NS
    utc: int = 1_700_000_000 * SECOND_NS
    asleep: int = 0
    has_boot_clock: bool = True

    def run(self, seconds: float) -> None:
        self.monotonic += round(seconds * 1e9)
        self.utc += round(seconds * 1e9)

    def sleep(self, seconds: float) -> None:
        self.asleep += round(seconds * 1e9)
        self.utc += round(seconds * 1e9)

    def set(self, seconds: float) -> None:
        self.utc += round(seconds * 1e9)

    def watch(self) -> ClockWatch:
        return ClockWatch(
            SessionClock(self.monotonic, self.utc),
            lambda: self.utc,
            lambda: self.monotonic,
            lambda: self.monotonic + self.asleep if self.has_boot_clock else None,
        )


def test_a_clock_that_only_runs_or_is_slewed_is_no_news() -> None:
    clocks = Clocks(asleep=7 * SECOND_NS)
    watch = clocks.watch()
    for _ in range(100):
        clocks.run(1.0)
        clocks.set(0.0005)
        assert watch.look() == []


@pytest.mark.parametrize(("seconds", "said"), [(3600.0, "forward by 3600.000 s"), (-2.5, "back by 2.500 s")])
def test_a_step_is_noticed_once_with_its_size(seconds: float, said: str) -> None:
    clocks = Clocks()
    watch = clocks.watch()
    clocks.run(1.0)
    clocks.set(seconds)
    (step,) = watch.look()
    assert (step.kind, step.values) == ("clock_step", {"utc_step_s": seconds})
    assert said in step.text
    assert watch.off_ns == seconds * 1e9
    assert watch.look() == []


def test_a_sleep_is_told_from_a_step() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    clocks.sleep(120.0)
    (sleep,) = watch.look()
    assert sleep.kind == "suspend"
    assert sleep.values == {"slept_s": 120.0, "utc_step_s": 120.0}
    clocks.sleep(60.0)
    clocks.set(-1.0)
    assert [incident.kind for incident in watch.look()] == ["suspend", "clock_step"]


def test_where_no_clock_runs_on_during_sleep_it_looks_like_a_step() -> None:
    clocks = Clocks(has_boot_clock=False)
    watch = clocks.watch()
    clocks.sleep(120.0)
    assert [incident.kind for incident in watch.look()] == ["clock_step"]


def test_the_clocks_of_this_machine_give_no_false_alarm() -> None:
    watch = ClockWatch(SessionClock.start())
    assert [watch.look() for _ in range(200)] == [[]] * 200
    assert boot_ns() is None or boot_ns()
