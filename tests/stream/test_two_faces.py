"""Two rendered heads through the whole chain: side by side, crossing, one leaving."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from tests.stream.two_heads import Head, Way, both, head

TWO = StreamConfig(max_faces=2, detect_every_s=1.0)
LEFT = head(0, lambda _: (-90.0, 0.0, 0.0))
RIGHT = head(3, lambda _: (112.0, 10.0, 60.0))
BEFORE = head(0, lambda t_s: (-130.0 + 110.0 * t_s, 0.0, 0.0))
BEHIND = head(3, lambda t_s: (130.0 - 60.0 * t_s, -10.0, 260.0))


@dataclass
class Seen:
    """What the analysis told, frame by frame, by track id."""

    places: list[dict[int, tuple[float, float]]]
    flags: list[dict[int, tuple[str, ...]]]
    causes: list[dict[int, str]]
    strongest: list[dict[int, float]]
    """Root mean square of u and v over each window without much head motion, px."""


def follow(first: Head, second: Head, count: int, *, depth: bool = True, dark: range = range(0)) -> Seen:
    analysis = Analysis(TWO)
    seen = Seen([], [], [], [])
    for index in range(count):
        frame = both(first, second, index, depth=depth)
        windows = analysis.push(replace(frame, color=np.zeros_like(frame.color)) if index in dark else frame)
        alive = [track for track in analysis.tracks if track.state != "lost"]
        assert len({track.track_id for track in analysis.tracks}) == len(analysis.tracks)
        middles = {track.track_id: track.landmarks_px.mean(axis=0) for track in alive}
        seen.places.append({track_id: (float(x), float(y)) for track_id, (x, y) in middles.items()})
        seen.flags.append({track.track_id: track.flags for track in analysis.tracks})
        seen.causes.append(dict(analysis.causes))
        calm = [window for window in windows if "head_motion" not in window.flags]
        seen.strongest.append({w.track_id: float(np.sqrt(np.square(w.maps[:2]).mean())) for w in calm})
    analysis.close()
    return seen


def test_two_faces_side_by_side_each_have_an_id_and_a_window_per_frame() -> None:
    seen = follow(LEFT, RIGHT, 20)
    assert next(flags for flags in seen.flags if flags) == {0: ("birth",), 1: ("birth",)}
    assert all(set(places) == {0, 1} for places in seen.places[3:])
    assert all(set(windows) == {0, 1} for windows in seen.strongest[9:])
    ends = seen.places[3], seen.places[-1]
    assert all(np.hypot(*np.subtract(ends[0][i], ends[1][i])) < 1.0 for i in (0, 1))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [True, False])
def test_two_faces_that_cross_keep_their_ids_and_show_no_motion_made_up(depth: bool) -> None:
    """Ninety frames with two rendered heads each take more than five seconds."""
    seen = follow(BEFORE, BEHIND, 90, depth=depth)
    front, back = (
        min(seen.places[5], key=lambda i: seen.places[5][i]),
        max(seen.places[5], key=lambda i: seen.places[5][i]),
    )
    assert seen.places[-1][front][0] - seen.places[-1][back][0] > 30.0, "they have changed sides under their ids"
    assert seen.places[5][back][0] - seen.places[5][front][0] > 100.0
    assert set(seen.places[-1]) == {front, back}
    ends = [index for index, flags in enumerate(seen.flags) if flags.get(back) == ("death",)]
    births = [index for index, flags in enumerate(seen.flags) if "birth" in flags.get(back, ())]
    assert len(ends) == 1
    assert births[-1] > ends[0]
    assert all(front in places for places in seen.places[3:])
    assert "covered" in {causes.get(back) for causes in seen.causes}
    assert seen.causes[-1][back] == ""
    assert max(windows.get(back, 0.0) for windows in seen.strongest) < 0.2


@pytest.mark.slow
def test_no_window_reaches_from_the_only_face_followed_to_somebody_who_passes_before_it() -> None:
    """Sixty frames with two rendered heads each take more than five seconds."""
    passer, sitting = head(5, lambda t_s: (-260.0 + 150.0 * t_s, 0.0, -150.0)), head(0, lambda _: (0.0, 0.0, 0.0))
    analysis = Analysis(StreamConfig(detect_every_s=0.2))
    births, places = [], []
    for index in range(60):
        windows = analysis.push(both(passer, sitting, index))
        births += [index for track in analysis.tracks if "birth" in track.flags]
        places += [float(t.landmarks_px[:, 0].mean()) for t in analysis.tracks if t.state != "lost"][:1]
        if len(births) > 1:
            assert all(window.from_frame >= births[-1] for window in windows)
        else:
            assert not places or np.ptp(places) < 8.0, "the track has gone along with the passer"
    analysis.close()
    assert len(births) == 2


def test_twins_who_changed_places_in_the_dark_are_told_to_be_perhaps_exchanged() -> None:
    """Without depth nothing tells twins apart who come back half way towards each other's place."""
    dark = range(12, 20)

    def way(place_mm: float) -> Way:
        return lambda t_s: (place_mm + (80.0 if t_s > dark[-1] / 30.0 else 0.0), 0.0, 0.0)

    twins = head(0, way(-120.0)), head(0, way(40.0))
    seen = follow(*twins, 28, depth=False, dark=dark)
    assert set(seen.flags[-1]) == {0, 1}
    told = [at_frame for at_frame in seen.flags[dark[-1] :] if any(at_frame.values())]
    assert told == [{0: ("birth", "swap"), 1: ("birth", "swap")}]
    assert not any("swap" in flags for at_frame in seen.flags[: dark[0]] for flags in at_frame.values())
