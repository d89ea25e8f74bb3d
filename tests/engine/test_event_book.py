"""What an event takes from its scores."""

from __future__ import annotations

from sfam.engine.event_book import EventBook, Sighting, united_flags
from sfam.engine.events import Moment, Score


def score(*flags: str) -> Score:
    return Score(frame=0, t_capture_ns=0, spot=0.5, flags=flags)


def test_an_event_is_below_noise_only_if_its_peak_is() -> None:
    assert united_flags([score("below_noise"), score("blink"), score("below_noise")]) == ("blink",)
    assert united_flags([score("below_noise"), score("below_noise", "gap")]) == ("below_noise", "gap")
    assert united_flags([]) == ()


def test_ids_go_on_where_another_book_stopped() -> None:
    moment = Moment(1, 2)
    seen = Sighting("micro", moment, moment, moment, "surprise", (), 0.9)
    first = EventBook()
    assert [first.open(seen, score()).id for _ in range(2)] == [0, 1]
    assert EventBook(first.next_id).open(seen, score()).id == 2
