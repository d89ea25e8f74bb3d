"""What an event takes from its scores."""

from __future__ import annotations

from sfam.engine.event_book import EventBook, Sighting, majority_class, united_flags
from sfam.engine.events import Moment, Score


def score(*flags: str) -> Score:
    return Score(frame=0, t_capture_ns=0, spot=0.5, flags=flags)


def test_an_event_is_below_noise_only_if_its_peak_is() -> None:
    assert united_flags([score("below_noise"), score("blink"), score("below_noise")]) == ("blink",)
    assert united_flags([score("below_noise"), score("below_noise", "gap")]) == ("below_noise", "gap")
    assert united_flags([]) == ()


def test_most_windows_name_the_class_and_neutral_never_does() -> None:
    def named(*rows: tuple[float, ...]) -> int:
        return majority_class([Score(i, i, 0.5, emotion=row) for i, row in enumerate(rows)])

    first, second, sure = (0.4, 0.3, 0.3), (0.2, 0.5, 0.3), (0.0, 0.9, 0.1)
    assert named(first, first, sure) == 0, "one window that is sure does not outvote two"
    assert named(first, sure) == 1, "of equally many votes the higher mean counts"
    assert named(first, first, second, second) == 1
    assert named((0.1, 0.2, 0.7), (0.1, 0.2, 0.7)) == 1, "neutral is likeliest, and no name"
    assert named((0.5, 0.5, 0.0)) == 0
    assert named() == named(()) == named((1.0,)) == -1


def test_ids_go_on_where_another_book_stopped() -> None:
    moment = Moment(1, 2)
    seen = Sighting("micro", moment, moment, moment, "surprise", (), 0.9)
    first = EventBook()
    assert [first.open(seen, score()).id for _ in range(2)] == [0, 1]
    assert EventBook(first.next_id).open(seen, score()).id == 2
