from __future__ import annotations

import pytest

from sfam.app.progress_bar import progress_bar

LINE = "fold 1 of 2: [a] :b: " + "c" * 200


def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes rich take any stream for a terminal
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("folds") as bar:
        bar.at(1, 2)
        bar.say(LINE)
    told = capsys.readouterr()
    assert told.out == ""
    assert "folds" in told.err
    assert "1/2" in told.err
    assert "c" * 200 in told.err


def test_elsewhere_the_lines_are_left_as_they_were_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with progress_bar("clips", 3) as bar:
        bar.advance()
        bar.say(LINE)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"{LINE}\n")
