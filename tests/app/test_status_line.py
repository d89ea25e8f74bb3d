from __future__ import annotations

import io
from unittest import mock

from rich.console import Console

from sfam.app.status_line import StatusLine


def test_brackets_in_a_message_stay() -> None:
    stream = io.StringIO()
    with StatusLine(stream=stream) as line:
        line.say("run pip install '.[realsense]' in the checkout")
    assert stream.getvalue() == "run pip install '.[realsense]' in the checkout\n"


def shown_in_a_terminal(*status: dict[str, object]) -> str:
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=200, color_system=None)
    with mock.patch("sfam.app.status_line.Console", return_value=terminal), StatusLine() as line:
        for number, one in enumerate(status):
            line.show(one, float(number))
        line.say("micro #0: frames 14-23-33")
    return stream.getvalue()


def test_a_terminal_gets_one_line_that_changes_and_a_bar_for_a_file() -> None:
    status = {"fps": 29.94, "dropped": 2, "latency_ms": {"p50": 8.1, "p99": 14.0}, "face": "tracked", "spot": 0.021}
    text = shown_in_a_terminal({**status, "frame": 44, "total": 180}, {**status, "frame": 89, "total": 180})
    for part in ("frame 89", "29.9 fps", "drops 2", "latency 8.1/14.0 ms p50/p99", "face tracked", "score 0.02"):
        assert part in text
    assert "\u2501" in text, "a bar"
    assert "micro #0: frames 14-23-33" in text
    assert "\u2501" not in shown_in_a_terminal({**status, "frame": 44, "total": None})


def test_a_blind_and_a_paused_session_show_neither_score_nor_events() -> None:
    blind = shown_in_a_terminal({"frame": 1, "fps": 30.0, "face": "tracked", "spot": 0.9, "events": None})
    assert "blind" in blind
    assert "score" not in blind
    assert "PAUSED: nothing is stored or sent" in shown_in_a_terminal({"paused": True})
