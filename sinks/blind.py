"""Blind mode: what may be shown while a session runs whose experimenter must not see results.

Quality stays: faces, confidence, head motion, noise, drops. Scores, emotions, flags that depend on the model, events
and their counts stay in the session's files alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .frame_result import FrameResult

BLIND = "blind"
"""Cause of a `score` message without score."""
RESULT_COUNTERS = ("events",)
RESULT_KINDS = ("event", "flow")
"""Kinds of message that are results, or show them: enlarged motion is the result as a picture."""


def without_result(result: FrameResult) -> FrameResult:
    """The same row without what the model made of it."""
    return result if result.score is None else replace(result, score=None, cause=BLIND)


def without_result_counters(counters: Mapping[str, object]) -> dict[str, object]:
    """The same totals without counts of events."""
    return {name: count for name, count in counters.items() if name not in RESULT_COUNTERS}
