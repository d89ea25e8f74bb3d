"""How long a session takes to its first score, and to its end after Ctrl-C.

python -m benchmarks.start_stop [--turns 5] [--overlay none|web]
"""

from __future__ import annotations

import argparse
import csv
import signal
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.live_session import LiveSession

BOUND_S = 60.0
ROWS = 120
"""The session goes on for so many frames before it is asked to end."""


def one_turn(folder: Path, options: tuple[str, ...]) -> tuple[float, float]:
    """Seconds from the command to the first score, and from the interrupt to the exit.

    Raises:
        TimeoutError: the session does not end.
    """
    began_s = time.monotonic()
    session = LiveSession(folder / "out", ("-q", *options))
    try:
        while session.rows() < ROWS:  # `wait_rows` also looks for processes, which costs the starting session time
            if not session.running or time.monotonic() - began_s > BOUND_S:
                raise TimeoutError(f"{session.rows()} frames were judged:\n{session.log}")
            time.sleep(0.1)
        asked_s = time.monotonic()
        session.process.send_signal(signal.SIGINT)
        session.end(BOUND_S)
        return first_score_s(session.out / "scores.csv") - began_s, time.monotonic() - asked_s
    finally:
        session.kill()


def first_score_s(scores: Path) -> float:
    """Capture time of the first frame with a score on the host's monotonic clock; the score is there 10 ms later.

    Raises:
        StopIteration: none has one.
    """
    with scores.open(newline="") as file:
        return next(int(row["t_capture_ns"]) / 1e9 for row in csv.DictReader(file) if row["spot"])


def main() -> None:
    """Print medians and the longest of all turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--overlay", choices=("none", "web"), default="none")
    asked = parser.parse_args()
    web = ("--set", "sinks.web_address=127.0.0.1:0") if asked.overlay == "web" else ()
    with tempfile.TemporaryDirectory() as folder:
        turns = []
        for turn in range(asked.turns):
            place = Path(folder) / str(turn)
            place.mkdir()
            turns.append(one_turn(place, ("--overlay", asked.overlay, *web)))
    for name, spans in zip(("command to first score", "interrupt to exit"), zip(*turns, strict=True), strict=True):
        print(f"{name}: median {median(spans):.2f} s, longest {max(spans):.2f} s ({asked.turns} turns)")


if __name__ == "__main__":
    main()
