"""What the operator sees while a session runs: one updating line in a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PLAIN_EVERY_S = 5.0


class StatusLine:
    """Shows status messages of the analysis: fps, drops, latency, face, score, and progress on files.

    Args:
        quiet: show nothing but events and errors.
        stream: where to write; a terminal gets one updating line, anything else a plain line every 5 s.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._quiet = quiet
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._live: Live | None = None
        self._plain_at_s = 0.0

    def __enter__(self) -> StatusLine:
        """Take the terminal's last line."""
        if self._console.is_terminal and not self._quiet:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the line back."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """A line that stays, such as a confirmed event; the updating line goes on below it."""
        self._console.print(text, soft_wrap=True, markup=False)

    def show(self, status: Mapping[str, Any], elapsed_s: float) -> None:
        """Show the newest status; `elapsed_s` is wall time since the start."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(_row(status), refresh=True)
        elif elapsed_s - self._plain_at_s >= PLAIN_EVERY_S:
            self._plain_at_s = elapsed_s
            self._console.print(_text(status), soft_wrap=True)


def _text(status: Mapping[str, Any]) -> str:
    if "text" in status:
        return str(status["text"])
    if status.get("paused"):
        return "PAUSED: nothing is stored or sent; sfam resume, or x, goes on"
    latency = status.get("latency_ms") or {}
    parts = [
        f"frame {status.get('frame', 0)}",
        f"{status.get('fps', 0.0):.1f} fps",
        f"drops {status.get('dropped', 0)}",
        f"latency {latency.get('p50', 0.0):.1f}/{latency.get('p99', 0.0):.1f} ms p50/p99",
        f"face {status.get('face', 'none')}",
        *_results(status),
    ]
    return "  ".join(parts)


def _results(status: Mapping[str, Any]) -> list[str]:
    """Score and events; in a blind session, where events are None, neither."""
    score, events = status.get("spot"), status.get("events", 0)
    if events is None:
        return ["blind"]
    return ["score -" if score is None else f"score {score:.2f}", f"events {events}"]


def _row(status: Mapping[str, Any]) -> Table | Text:
    text = Text(_text(status), no_wrap=True, overflow="ellipsis")
    total = status.get("total")
    if not total:
        return text
    row = Table.grid(padding=(0, 1))
    row.add_row(ProgressBar(total=float(total), completed=float(status.get("frame", 0) + 1), width=20), text)
    return row
