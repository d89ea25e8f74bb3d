from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sfam.engine.decoding import PaperSpec, RunsSpec
from sfam.engine.events import Event, Interval, Score
from sfam.engine.spotting import LiveSpotter, interval_of, runs_offline, spot_offline
from sfam.engine.spotting_runs import CUT_NS
from sfam.stream.flow_window import FlowWindow
from tests.shared_data import shared

CLASSES = ("negative", "positive", "surprise", "others", "neutral")
SECOND = 1_000_000_000
PAPER = PaperSpec(classes=CLASSES)
RUNS = RunsSpec(classes=CLASSES)


def golden_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(shared("golden/spotting.json").read_text())["cases"]
    return cases


def one_hot(index: int) -> tuple[float, ...]:
    return tuple(float(i == index) for i in range(len(CLASSES)))


def score_at(frame: int, t_ns: int, spot: float, emotion: int = 4, track: int = 0) -> Score:
    return Score(frame=frame, t_capture_ns=t_ns, spot=spot, emotion=one_hot(emotion), track_id=track)


def confirmed(events: Sequence[Event]) -> list[Interval]:
    found = [interval_of(event) for event in events if event.state == "confirmed"]
    return sorted(found, key=lambda i: (i.onset, i.offset, i.kind))


def run_live(spotter: LiveSpotter, stream: Sequence[tuple[Score, FlowWindow | None]]) -> list[Event]:
    """Score by score; every score's events are there before the next one is known."""
    events = [event for score, window in stream for event in spotter.push(score, window)]
    return events + spotter.flush()


def assert_lives_are_whole(events: Sequence[Event]) -> None:
    states: dict[int, list[str]] = {}
    for event in events:
        states.setdefault(event.id, []).append(event.state)
        assert event.onset.t_capture_ns <= event.apex.t_capture_ns <= event.offset.t_capture_ns or (
            event.state != "confirmed"
        )
    assert sorted(states) == list(range(len(states)))
    assert all(s in (["provisional", "confirmed"], ["provisional", "withdrawn"]) for s in states.values())


def assert_none_is_too_short(events: Sequence[Event], spec: RunsSpec) -> None:
    """Confirmed events last as long as any expression, up to the distance to the nearest sample at both ends."""
    for event in events:
        seen_ns = event.offset.t_capture_ns - event.onset.t_capture_ns
        assert event.state != "confirmed" or seen_ns >= spec.shortest_s * SECOND - 2 * CUT_NS


def test_offline_paper_rule_reproduces_every_golden_case() -> None:
    cases = golden_cases()
    assert len(cases) == 60
    for case in cases:
        found = spot_offline(case["score"], case["emotion"])
        for kind in ("micro", "macro"):
            assert [[i.onset, i.offset, i.emotion] for i in found if i.kind == kind] == case[kind]
        assert [i.onset for i in found] == sorted(i.onset for i in found)


def test_live_paper_rule_confirms_the_golden_intervals() -> None:
    spec = replace(PAPER, video_mean=2.0)
    for case in golden_cases():
        stream = [
            (score_at(2 * i, round(i * SECOND / 15), s, int(e)), None)
            for i, (s, e) in enumerate(zip(case["score"], case["emotion"], strict=True))
        ]
        events = run_live(LiveSpotter(spec), stream)
        offline = spot_offline(case["score"], case["emotion"], spec=spec)
        assert confirmed(events) == [replace(i, emotion=CLASSES[int(i.emotion)]) for i in offline]
        assert_lives_are_whole(events)


def test_paper_rule_live_says_when_the_mean_of_the_whole_decides_otherwise() -> None:
    case = golden_cases()[1]
    calm = [*case["score"], *([0.99] * 400)]
    stream = [(score_at(2 * i, round(i * SECOND / 15), s), None) for i, s in enumerate(calm)]
    spotter = LiveSpotter(PAPER)
    assert confirmed(run_live(spotter, stream))
    assert not spot_offline(calm, [0] * len(calm))
    assert spotter.differs_offline == 1


def test_paper_rule_gives_the_same_times_at_30_60_and_90_fps() -> None:
    case = golden_cases()[9]
    times = np.arange(len(case["score"])) / 15

    def found_at(fps: int) -> list[tuple[str, int, int]]:
        t = np.arange(int(times[-1] * fps) + 1) / fps
        spots = np.interp(t, times, case["score"])
        stream = [(score_at(i, round(i * SECOND / fps), float(s)), None) for i, s in enumerate(spots)]
        intervals = confirmed(run_live(LiveSpotter(PAPER), stream))
        return [(i.kind, i.onset * 15 // fps, i.offset * 15 // fps) for i in intervals]

    assert len(found_at(15)) == 4
    assert found_at(15) == found_at(30) == found_at(60) == found_at(90)


@pytest.mark.parametrize("bad", [([0.1, 0.2], [1]), ([[0.1]], [[1]]), ([float("nan")], [0])])
def test_offline_refuses_what_is_no_row_of_numbers(bad: tuple[list[float], list[int]]) -> None:
    with pytest.raises(ValueError):
        spot_offline(*bad)


def test_offline_of_nothing_is_nothing() -> None:
    assert spot_offline([], []) == []
    assert runs_offline([], [], RUNS) == []


# --- the runs decoding ------------------------------------------------------------------------------------------


def bump(t: NDArray[np.float64], begin: float, top: float, bottom: float, end: float) -> NDArray[np.float64]:
    """A displacement that rises from begin to top, holds until bottom and is back at end, 0..1."""
    rise = np.clip((t - begin) / (top - begin), 0, 1)
    fall = np.clip((t - bottom) / (end - bottom), 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * rise) - (0.5 - 0.5 * np.cos(np.pi * fall)))


def moving_stream(
    times: NDArray[np.float64], displacement: NDArray[np.float64], window_s: float = 0.2, noise: float = 0.0
) -> list[tuple[Score, FlowWindow | None]]:
    """Scores that say how fast a field moves, with the windows that measured it."""
    rng = np.random.default_rng(1)
    field = np.zeros((3, 42, 42), np.float32)
    field[1, 25:] = 1.0
    stream: list[tuple[Score, FlowWindow | None]] = []
    for i, t in enumerate(times):
        begin = int(np.argmin(np.abs(times - (t - window_s))))
        change = float(displacement[i] - displacement[begin])
        maps = (field * np.float32(change) + rng.normal(0, noise, field.shape)).astype(np.float32)
        spot = float(1 / (1 + np.exp(-(abs(change) - 0.15) / 0.03)))
        t_ns, from_ns = round(t * SECOND), round(times[begin] * SECOND)
        emotion = one_hot(2 if change > 0 else 4)
        score = Score(i, t_ns, spot, emotion, from_frame=begin, t_from_ns=from_ns)
        stream.append((score, FlowWindow(0, begin, i, from_ns, t_ns, maps)))
    return stream


def even_times(seconds: float, fps: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * fps)) / fps


def clocks() -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    jittered = even_times(6, 30) + rng.uniform(-0.004, 0.004, 180)
    changing = np.concatenate([even_times(2, 30), 2 + even_times(2, 15), 4 + even_times(2, 30)])
    rates = np.concatenate([even_times(2, 30), 2 + even_times(2, 60), 4 + even_times(2, 90)])
    return {
        "30": even_times(6, 30),
        "60": even_times(6, 60),
        "90": even_times(6, 90),
        "jitter": jittered - jittered[0],
        "30-15-30": changing,
        "30-60-90": rates,
    }


@pytest.mark.parametrize("clock", ["30", "60", "90", "jitter", "30-15-30", "30-60-90"])
def test_runs_finds_micro_and_macro_at_any_frame_rate(clock: str) -> None:
    times = clocks()[clock]
    displacement = bump(times, 1.0, 1.25, 1.35, 1.65) + 3 * bump(times, 2.6, 3.1, 4.0, 4.6)
    stream = moving_stream(times, displacement)
    events = run_live(LiveSpotter(RUNS), stream)
    found = [event for event in events if event.state == "confirmed"]
    assert [event.kind for event in found] == ["micro", "macro"]
    for event, (begin, top, end) in zip(found, ((1.0, 1.25, 1.65), (2.6, 3.1, 4.6)), strict=True):
        assert abs(event.onset.t_capture_ns / SECOND - begin) < 0.11
        assert abs(event.offset.t_capture_ns / SECOND - end) < 0.11
        assert top - 0.1 < event.apex.t_capture_ns / SECOND < 4.1
        assert event.emotion == "surprise"
    assert found[0].decision_delay_ms < 600
    assert not any(event.flags for event in events)
    assert_lives_are_whole(events)
    assert confirmed(events) == runs_offline([s for s, _ in stream], [w for _, w in stream], RUNS)


def test_runs_names_an_event_by_most_windows_of_its_rise() -> None:
    times = even_times(3, 30)
    stream = moving_stream(times, bump(times, 1.0, 1.25, 1.35, 1.65))
    weak, sure, quiet = (0.4, 0.3, 0.1, 0.1, 0.1), (0.0, 0.0, 1.0, 0.0, 0.0), (0.1, 0.1, 0.1, 0.2, 0.5)

    def probabilities(t_s: float) -> tuple[float, ...]:
        """Before the rise and on the way back another class than on the way; two windows are sure of a third."""
        return quiet if not 1.05 < t_s < 1.4 else sure if 1.15 < t_s < 1.21 else weak

    named = [(replace(s, emotion=probabilities(s.t_capture_ns / SECOND)), w) for s, w in stream]
    for windowless in (False, True):
        given = [(score, None if windowless else window) for score, window in named]
        (event,) = [one for one in run_live(LiveSpotter(RUNS), given) if one.state == "confirmed"]
        assert event.emotion == "negative"
        assert max(event.probabilities) == event.probabilities[2], "the mean would name another"
        assert sum(event.probabilities) == pytest.approx(1)
        assert confirmed([event]) == runs_offline([s for s, _ in given], [w for _, w in given], RUNS)


def test_runs_withdraws_a_motion_from_which_the_face_does_not_return() -> None:
    times = even_times(5, 30)
    stream = moving_stream(times, bump(times, 1.0, 1.3, 9.0, 9.5))
    events = run_live(LiveSpotter(RUNS), stream)
    assert [event.state for event in events] == ["provisional", "withdrawn"]


def with_blink(
    stream: Sequence[tuple[Score, FlowWindow | None]], begin: float, end: float
) -> list[tuple[Score, FlowWindow | None]]:
    """The same with lids that close and open; flow around them moves as well, as a smoothing flow has it."""
    result: list[tuple[Score, FlowWindow | None]] = []
    for score, window in stream:
        assert window is not None
        middle = (begin + end) / 2
        now, before = bump(np.array([score.t_capture_ns, score.t_from_ns]) / SECOND, begin, middle, middle, end)
        if abs(now - before) > 0.05:
            maps = window.maps.copy()
            maps[1, 6:21] += np.float32(4 * (now - before))
            score, window = replace(score, flags=("blink",)), replace(window, maps=maps)
        result.append((score, window))
    return result


def test_a_blink_in_the_rise_of_a_macro_does_not_end_it() -> None:
    times = even_times(6, 30)
    stream = with_blink(moving_stream(times, 3 * bump(times, 1.0, 1.8, 3.0, 3.8)), 1.3, 1.55)
    events = run_live(LiveSpotter(RUNS), stream)
    assert [event.kind for event in events if event.state == "confirmed"] == ["macro"]
    assert confirmed(events) == runs_offline([s for s, _ in stream], [w for _, w in stream], RUNS)


def test_a_blink_is_all_there_is_to_go_by_where_it_covers_everything() -> None:
    times = even_times(4, 30)
    stream = with_blink(moving_stream(times, bump(times, 1.0, 1.2, 1.2, 1.4)), 0.9, 1.5)
    flagged = [(replace(score, flags=("blink",)), window) for score, window in stream]
    (event,) = [event for event in run_live(LiveSpotter(RUNS), flagged) if event.state == "confirmed"]
    assert event.kind == "micro"


def test_a_gap_ends_a_run_and_nothing_is_joined_across() -> None:
    times = even_times(3, 30)
    stream = moving_stream(times, bump(times, 1.0, 1.25, 1.35, 1.65))
    cut = [item for item in stream if not 1.2 < item[0].t_capture_ns / SECOND < 1.5]
    events = run_live(LiveSpotter(RUNS), cut)
    assert not confirmed(events)
    assert all("gap" in event.flags for event in events if event.state == "withdrawn" and event.id == 0)


@pytest.mark.parametrize("missing", [(0.4, 1.33), (1.2, 1.4), (1.5, 2.2)])
def test_what_a_gap_left_of_an_expression_is_flagged_and_no_micro_if_too_short(missing: tuple[float, float]) -> None:
    times = even_times(3, 30)
    stream = moving_stream(times, bump(times, 1.0, 1.25, 1.35, 1.65))
    # Windows reach back across frames that are there, so scores stay high right up to the gap.
    cut = [item for item in stream if not missing[0] < item[0].t_capture_ns / SECOND < missing[1]]
    for windowless in (False, True):
        given = [(score, None if windowless else window) for score, window in cut]
        events = run_live(LiveSpotter(RUNS), given)
        decided = [event for event in events if event.state == "confirmed"]
        for event in decided:
            assert "gap" in event.flags
            length = (event.offset.t_capture_ns - event.onset.t_capture_ns) / SECOND
            assert length >= RUNS.shortest_s
        assert confirmed(events) == runs_offline([s for s, _ in given], [w for _, w in given], RUNS)


def found_in(spots: Sequence[float]) -> list[Interval]:
    """What scores alone give at 30 fps; live as offline."""
    stream = [score_at(i, round(i * SECOND / 30), spot, 2) for i, spot in enumerate(spots)]
    events = run_live(LiveSpotter(RUNS), [(score, None) for score in stream])
    assert confirmed(events) == runs_offline(stream, [None] * len(stream), RUNS)
    return confirmed(events)


def test_a_weak_fall_soon_after_a_strong_rise_belongs_to_it() -> None:
    rest, rise, fall = [0.0] * 30, [0.9] * 12, [0.3] * 8
    assert max(fall) < RUNS.hi
    (alone,) = found_in([*rest, *rise, *rest])
    (whole,) = found_in([*rest, *rise, *[0.0] * 4, *fall, *rest])
    assert whole.onset == alone.onset
    assert abs(whole.offset - alone.offset - 4 - len(fall)) <= 1
    assert found_in([*rest, *rise, *[0.0] * 15, *fall, *rest]) == [alone], "too late"
    (begun,) = found_in([*rest, *fall, *[0.0] * 4, *rise, *rest])
    assert begun.onset == alone.onset + len(fall) + 4, "what is weak begins nothing"
    assert not found_in([*rest, *fall, *rest])


def test_two_frames_between_gaps_are_no_expression() -> None:
    spots = {411: 0.9, 412: 0.95, 414: 0.9}
    for hole in (3, 4):
        frames = [*range(380, 411 - hole), *spots, *range(414 + hole, 450)]
        stream = [(score_at(f, round(f * SECOND / 30), spots.get(f, 0.0), 2), None) for f in frames]
        events = run_live(LiveSpotter(RUNS), stream)
        assert not confirmed(events)
        assert confirmed(events) == runs_offline([s for s, _ in stream], [None] * len(stream), RUNS)


def test_an_expression_already_under_way_at_the_first_frame_is_flagged() -> None:
    times = even_times(3, 30)
    stream = [(score_at(i, round(t * SECOND), float(t < 0.6), 2), None) for i, t in enumerate(times)]
    (event,) = [event for event in run_live(LiveSpotter(RUNS), stream) if event.state == "confirmed"]
    assert event.onset.frame == 0
    assert "gap" in event.flags


def test_a_face_that_leaves_does_not_keep_its_events_open() -> None:
    times = even_times(3, 30)
    gone = [item for item in moving_stream(times, bump(times, 1.0, 1.25, 1.35, 1.65)) if item[0].frame < 40]
    other = [score_at(i, round(t * SECOND), 0.0, track=1) for i, t in enumerate(times)]
    spotter = LiveSpotter(RUNS)
    events = [event for score, window in gone for event in spotter.push(score, window)]
    assert [event.state for event in events] == ["provisional"]
    events += [event for score in other if score.frame >= 40 for event in spotter.push(score, None)]
    assert [event.state for event in events] == ["provisional", "withdrawn"]
    assert spotter.flush() == []


def test_two_faces_are_decoded_apart() -> None:
    times = even_times(4, 30)
    first = moving_stream(times, bump(times, 1.0, 1.25, 1.35, 1.65))
    second = [
        (replace(s, track_id=7), None if w is None else replace(w, track_id=7))
        for s, w in moving_stream(times, bump(times, 1.3, 1.55, 1.65, 1.95))
    ]
    both = [item for pair in zip(first, second, strict=True) for item in pair]
    events = run_live(LiveSpotter(RUNS), both)
    found = [event for event in events if event.state == "confirmed"]
    assert sorted(event.track_id for event in found) == [0, 7]
    assert confirmed(events) == runs_offline([s for s, _ in both], [w for _, w in both], RUNS)


def test_threshold_override_keeps_the_proportion_of_the_lower_level() -> None:
    spec = RUNS.with_threshold(0.8)
    assert spec.hi == 0.8
    assert spec.lo == pytest.approx(0.4)
    assert PAPER.with_threshold(0.7).height == 0.7


def test_memory_of_a_long_stream_stays_bounded() -> None:
    spotter = LiveSpotter(RUNS)
    maps = np.zeros((3, 42, 42), np.float32)
    for i in range(6000):
        t = round(i * SECOND / 30)
        score = score_at(i, t, 0.5 if i % 1000 < 900 else 0.0)
        spotter.push(score, FlowWindow(0, i - 6, i, t - SECOND // 5, t, maps))
    decoder = spotter._faces[0].decoder
    assert len(decoder._samples.window(0, 1 << 60)) < 1200  # type: ignore[union-attr]


# --- live equals offline, whatever the trace ----------------------------------------------------------------------

TRACES = int(os.environ.get("SFAM_TRACES", "300"))
"""Random traces of each decoding; by hand 2000: `SFAM_TRACES=2000 pytest tests/engine/test_spotting.py -m slow`."""

levels = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.2, 0.4, 0.576, 0.7, 1.0]))


@st.composite
def traces(draw: st.DrawFn) -> list[float]:
    """Plateaus, ramps and noise, long enough for intervals."""
    pieces = draw(st.lists(st.tuples(levels, levels, st.integers(1, 45)), min_size=1, max_size=12))
    noise = draw(st.sampled_from([0.0, 0.0, 0.02, 0.2]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    trace = np.concatenate([np.linspace(a, b, n) for a, b, n in pieces])
    return [float(v) for v in np.clip(trace + rng.normal(0, noise, trace.shape) if noise else trace, 0, 1)]


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[Score, FlowWindow | None]]:
    """Scores at any pace that may change, with gaps, segments and now and then two faces; motion of any size."""
    spots = draw(traces())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rates = draw(st.sampled_from([[15], [30], [60], [90], [30, 15, 30], [30, 60, 90]]))
    fps = rates[0]
    pace = np.array(rates)[np.arange(len(spots)) * len(rates) // len(spots)]
    steps = 1 / pace * (1 + rng.uniform(-0.3, 0.3, len(spots)) * draw(st.booleans()))
    gaps = draw(st.lists(st.integers(0, len(spots) - 1), max_size=3))
    steps[gaps] += 0.4
    times = np.cumsum(steps)
    amount = draw(st.sampled_from([0.0, 0.3, 1.0]))
    segments = np.cumsum(rng.random(len(spots)) < 0.01 * draw(st.booleans()))
    tracks = (rng.random(len(spots)) < 0.5) if draw(st.booleans()) else np.zeros(len(spots), bool)
    windowless = draw(st.booleans())
    stream: list[tuple[Score, FlowWindow | None]] = []
    for i, spot in enumerate(spots):
        t, back = round(times[i] * SECOND), max(0, i - fps // 5)
        emotion = tuple(float(v) for v in rng.dirichlet(np.ones(5)))
        score = Score(i, t, spot, emotion, int(tracks[i]), back, round(times[back] * SECOND))
        maps = np.full((3, 42, 42), amount * rng.normal(), np.float32)
        window = FlowWindow(score.track_id, back, i, score.t_from_ns, t, maps, segment=int(segments[i]))
        stream.append((score, None if windowless else window))
    return stream


@pytest.mark.slow  # many random traces
@settings(max_examples=TRACES, deadline=None)
@given(streams(), st.sampled_from([1.0, 0.1, 2.0]), st.sampled_from([0.3, 1.0, 8.0]))
def test_runs_live_equals_offline(
    stream: list[tuple[Score, FlowWindow | None]], piece_gap_s: float, longest_s: float
) -> None:
    spec = replace(RUNS, piece_gap_s=piece_gap_s, longest_s=longest_s)
    events = run_live(LiveSpotter(spec), stream)
    assert confirmed(events) == runs_offline([s for s, _ in stream], [w for _, w in stream], spec)
    assert_lives_are_whole(events)
    assert_none_is_too_short(events, spec)


@pytest.mark.slow  # many random traces
@settings(max_examples=TRACES, deadline=None)
@given(traces(), st.integers(0, 2**32 - 1))
def test_paper_live_equals_offline(spots: list[float], seed: int) -> None:
    spec = replace(PAPER, video_mean=2.0)
    emotions = np.random.default_rng(seed).integers(0, 5, len(spots))
    stream = [
        (score_at(2 * i, round(i * SECOND / 15), s, int(e)), None)
        for i, (s, e) in enumerate(zip(spots, emotions, strict=True))
    ]
    events = run_live(LiveSpotter(spec), stream)
    offline = spot_offline(spots, emotions, spec=spec)
    assert confirmed(events) == [replace(i, emotion=CLASSES[int(i.emotion)]) for i in offline]
    assert_lives_are_whole(events)
