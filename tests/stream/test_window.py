from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sfam.stream.window import BRIDGED_PERIODS, FramePeriod, find_span

MS = 1_000_000
WINDOW_NS = 200 * MS


def regular(count: int, fps: float) -> list[int]:
    return [round(index * 1e9 / fps) for index in range(count)]


def test_a_window_at_30_fps_spans_six_frames() -> None:
    span = find_span(regular(10, 30), WINDOW_NS, round(1e9 / 30))
    assert (span.begin, span.cause, span.missing_ns) == (3, "", 0)


@given(st.floats(15, 90), st.integers(0, 20))
def test_every_rate_has_windows_of_the_wanted_length(fps: float, extra: int) -> None:
    times = regular(int(0.2 * fps) + 3 + extra, fps)
    period = round(1e9 / fps)
    span = find_span(times, WINDOW_NS, period)
    assert span.cause == ""
    assert abs(times[-1] - times[span.begin] - WINDOW_NS) <= period / 2 + 1


def test_a_short_history_is_a_warm_up() -> None:
    assert find_span(regular(5, 30), WINDOW_NS, round(1e9 / 30)).cause == "warm_up"
    assert find_span([0], WINDOW_NS, round(1e9 / 30)).cause == "warm_up"
    assert find_span(regular(10, 30), WINDOW_NS, 0).cause == "warm_up"


def test_one_lost_frame_inside_is_bridged_and_counted() -> None:
    times = regular(10, 30)
    del times[6]
    span = find_span(times, WINDOW_NS, round(1e9 / 30))
    assert (span.begin, span.cause) == (3, "")
    assert abs(span.missing_ns - 1e9 / 30) < 10


def test_two_lost_frames_in_a_row_withhold_the_window() -> None:
    times = regular(10, 30)
    del times[5:7]
    assert find_span(times, WINDOW_NS, round(1e9 / 30)).cause == "gap"


def test_a_lost_first_frame_is_a_gap() -> None:
    times = regular(10, 30)
    del times[3]
    assert find_span(times, WINDOW_NS, round(1e9 / 30)).cause == "gap"


def test_a_long_pause_is_a_gap_and_not_a_long_window() -> None:
    times = regular(10, 30)
    times.append(times[-1] + 5_000 * MS)
    assert find_span(times, WINDOW_NS, round(1e9 / 30)).cause == "gap"


@given(
    st.lists(st.integers(1, 400 * MS), min_size=1, max_size=40),
    st.integers(0, 100 * MS),
    st.integers(20 * MS, 1000 * MS),
)
def test_whatever_the_stamps_a_window_keeps_its_promises(steps: list[int], period: int, window: int) -> None:
    times = [0]
    for step in steps:
        times.append(times[-1] + step)
    span = find_span(times, window, period)
    if span.cause:
        assert span.begin == -1
        return
    assert 0 <= span.begin < len(times) - 1
    assert abs(times[-1] - times[span.begin] - window) <= period / 2
    inside = [b - a - period for a, b in zip(times[span.begin :], times[span.begin + 1 :], strict=False)]
    assert max(inside) <= BRIDGED_PERIODS * period
    assert 0 <= span.missing_ns <= times[-1] - times[span.begin]


def test_the_period_is_the_hint_until_frames_tell() -> None:
    period = FramePeriod(60)
    assert period.ns == round(1e9 / 60)
    period.push(33 * MS)
    assert period.ns == 33 * MS
    assert FramePeriod().ns == 0


def test_the_period_follows_a_changed_rate_within_eight_frames() -> None:
    period = FramePeriod()
    for _ in range(30):
        period.push(66 * MS)
    for _ in range(8):
        period.push(11 * MS)
    assert period.ns == 11 * MS


def test_lost_frames_and_odd_stamps_do_not_bend_the_period() -> None:
    period = FramePeriod()
    for interval, lost in ((33, 0), (99, 2), (33, 0), (66, 1), (0, 0), (-5, 0), (500, 0)):
        period.push(interval * MS, lost)
    assert period.ns == 33 * MS
