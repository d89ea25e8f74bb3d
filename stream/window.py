"""Windows are defined in time: where a window that ends now has to begin, and why there is none.

Free of numpy and OpenCV: downstream rooms read this without loading the motion code.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Literal

Cause = Literal["", "warm_up", "gap"]

PERIODS_KEPT = 15
"""Frame periods whose median is the current one: a changed rate is followed within eight frames."""
BRIDGED_PERIODS = 1.5
"""Missing time (in frame periods) in one piece that a window may span: one lost frame is, two in a row are not."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a window begins, or why there is none."""

    begin: int
    """Index of its first frame in the history, -1 = no window."""
    cause: Cause = ""
    """'' = a window, 'warm_up' = the history is still too short, 'gap' = frames are missing."""
    missing_ns: int = 0
    """Time inside the span that was lost by dropped frames."""


class FramePeriod:
    """Running median of the time between frames."""

    def __init__(self, fps_hint: float | None = None) -> None:
        self._hint_ns = round(1e9 / fps_hint) if fps_hint else 0
        self._periods: deque[int] = deque(maxlen=PERIODS_KEPT)

    def push(self, interval_ns: int, lost: int = 0) -> None:
        """Add the time between two consecutive frames, `lost` frames known to be missing between them."""
        if interval_ns > 0:
            self._periods.append(interval_ns // (max(lost, 0) + 1))

    @property
    def ns(self) -> int:
        """The period in ns; the hint until a frame interval is known, 0 without either."""
        return median_low(self._periods) if self._periods else self._hint_ns


def find_span(times_ns: Sequence[int], window_ns: int, period_ns: int) -> Span:
    """Where the window that ends at the last of `times_ns` begins.

    It begins at the frame nearest to end - window, if that lies within half a frame period; else frames are missing
    there and there is no window ('gap'), or the history does not reach back so far ('warm_up'). A window spans lost
    frames (flow is direct from its first frame to its last) as long as no single stretch misses more than
    `BRIDGED_PERIODS` frame periods; past that it is withheld ('gap').

    Args:
        times_ns: strictly ascending capture times of the frames held, the last one being now.
        window_ns: length of the window.
        period_ns: current frame period.
    """
    if len(times_ns) < 2 or period_ns <= 0:
        return Span(-1, "warm_up")
    wanted = times_ns[-1] - window_ns
    if times_ns[0] > wanted + period_ns // 2:
        return Span(-1, "warm_up")
    begin = bisect_left(times_ns, wanted, 0, len(times_ns) - 2)
    if begin and wanted - times_ns[begin - 1] <= times_ns[begin] - wanted:
        begin -= 1
    if abs(times_ns[begin] - wanted) > period_ns / 2:
        return Span(-1, "gap")
    missing = 0
    for index in range(begin + 1, len(times_ns)):
        lost = times_ns[index] - times_ns[index - 1] - period_ns
        if lost > BRIDGED_PERIODS * period_ns:
            return Span(-1, "gap")
        if lost > period_ns / 2:
            missing += lost
    return Span(begin, "", missing)
