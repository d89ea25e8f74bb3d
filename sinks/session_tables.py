"""The tables of a session: columns, order and number format of scores.csv, events.csv and events.jsonl.

Tables are byte-identical for identical results: fields are separated by commas, lines end with a line feed, fractions
have six decimals, what is not known is empty, several flags are joined by `;`. No value comes from a wall clock.
Further columns may be added at the end of later versions; the leading ones stay.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from sfam.engine.events import Event

from .frame_result import FrameResult
from .wire import compact_json
from .wire_fields import event_fields

AXES = ("x", "y", "z")
SCORE_BEGIN = ("frame", "face_id", "timestamp", "confidence", "success", "t_capture_ns", "t_device_ns", "spot")
SCORE_END = (
    "flags",
    "cause",
    "from_frame",
    "t_from_ns",
    *(f"box_{side}" for side in ("x", "y", "width", "height")),
    *(f"head_r{axis}_rad" for axis in AXES),
    *(f"head_t{axis}_mm" for axis in AXES),
    "noise_u_px",
    "noise_v_px",
    "noise_w_mm",
    "residual_grey",
    "depth_valid_share",
    "missing_ms",
    "spread",
)
EVENT_BEGIN = ("subject", "video", "onset", "offset", "emotion", "kind", "apex", "score", "state")
EVENT_END = (
    "t_onset_ns",
    "t_apex_ns",
    "t_offset_ns",
    "decision_delay_ms",
    "track_id",
    "id",
    "flags",
    "model_id",
)
EVENT_LAST = (
    "spread",
    "false_alarms_per_hour",
    "false_alarms_per_hour_upper",
    "t_onset_device_ns",
    "t_onset_global_ns",
    "trial",
    "condition",
)
"""Behind the classes, as they came later. Clocks that only run live stand in events.jsonl: a replay must write the same
table.
"""
FLAG_SEPARATOR = ";"
LANDMARK_COUNT = 68


def _line(values: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _fraction(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{round(value, 6) + 0.0:.6f}"  # no sign on a zero: the bus does not carry it


def _whole(value: int | None) -> str:
    return "" if value is None else str(int(value))


class ScoreTable:
    """Lines of scores.csv: one per captured frame and face, in the order of frames.

    Args:
        classes: of the model.
        first_ns: capture time of the first line, where it was written by another process.
    """

    def __init__(self, classes: Sequence[str], first_ns: int | None = None) -> None:
        self._classes = tuple(classes)
        self._first_ns = first_ns

    def header(self) -> str:
        """The column names."""
        return _line((*SCORE_BEGIN, *(f"p_{name}" for name in self._classes), *SCORE_END))

    def row(self, result: FrameResult) -> str:
        """One line; `timestamp` is in seconds since the first line's capture time."""
        if self._first_ns is None:
            self._first_ns = result.t_capture_ns
        since_first = None
        if result.t_capture_ns is not None and self._first_ns is not None:
            since_first = (result.t_capture_ns - self._first_ns) / 1e9
        score = result.score
        probabilities = (None,) * len(self._classes) if score is None or not score.emotion else score.emotion
        motion = result.head_motion
        unknown = (math.nan,) * 3
        return _line(
            (
                str(result.frame),
                str(result.face_id),
                _fraction(since_first),
                _fraction(result.confidence),
                "1" if result.success else "0",
                _whole(result.t_capture_ns),
                _whole(result.t_device_ns),
                _fraction(None if score is None else score.spot),
                *(_fraction(value) for value in probabilities),
                FLAG_SEPARATOR.join(() if score is None else score.flags),
                result.cause,
                _whole(None if score is None else score.from_frame),
                _whole(None if score is None else score.t_from_ns),
                *(_fraction(value) for value in (result.box or (math.nan,) * 4)),
                *(_fraction(value) for value in (unknown if motion is None else motion.rotation_rad)),
                *(_fraction(value) for value in (unknown if motion is None else motion.translation_mm)),
                _fraction(result.noise.u_px),
                _fraction(result.noise.v_px),
                _fraction(result.noise.w_mm),
                _fraction(result.residual_grey),
                _fraction(result.depth_valid_share),
                _fraction(result.missing_ns / 1e6),
                _fraction(None if score is None else score.spread),
            )
        )


def landmark_header() -> str:
    """The column names of landmarks.csv."""
    places = range(LANDMARK_COUNT)
    return _line(("frame", "face_id", *(f"x_{place}" for place in places), *(f"y_{place}" for place in places)))


def landmark_row(result: FrameResult) -> str:
    """A line of landmarks.csv, color pixels with two decimals; nothing for a frame without face."""
    if result.landmarks_px is None:
        return ""
    values = (f"{value:.2f}" for value in result.landmarks_px.T.ravel().tolist())
    return _line((str(result.frame), str(result.face_id), *values))


class EventTable:
    """Lines of events.csv: one per event that was not withdrawn.

    A line is written once, when its event is confirmed, so lines stand in the order of confirmation. What is still
    provisional at the end of the session follows then, by id.
    """

    def __init__(self, classes: Sequence[str], subject: str, video: str) -> None:
        self._classes = tuple(classes)
        self._name = (subject, video)
        self._open: dict[int, Event] = {}

    def header(self) -> str:
        """The column names."""
        return _line((*EVENT_BEGIN, *EVENT_END, *(f"p_{name}" for name in self._classes), *EVENT_LAST))

    def lines(self, event: Event) -> str:
        """What a new state of an event adds to the table: one line or nothing."""
        if event.state == "provisional":
            self._open[event.id] = event
            return ""
        self._open.pop(event.id, None)
        return self._row(event) if event.state == "confirmed" else ""

    def last_lines(self) -> str:
        """What the end of the session adds: the events that were never decided."""
        undecided = [self._open[number] for number in sorted(self._open)]
        self._open.clear()
        return "".join(self._row(event) for event in undecided)

    def _row(self, event: Event) -> str:
        return _line(
            (
                *self._name,
                str(event.onset.frame),
                str(event.offset.frame),
                event.emotion,
                event.kind,
                str(event.apex.frame),
                _fraction(event.score),
                event.state,
                str(event.onset.t_capture_ns),
                str(event.apex.t_capture_ns),
                str(event.offset.t_capture_ns),
                _fraction(event.decision_delay_ms),
                str(event.track_id),
                str(event.id),
                FLAG_SEPARATOR.join(event.flags),
                event.model_id,
                *(_fraction(value) for value in (event.probabilities or (None,) * len(self._classes))),
                _fraction(event.spread),
                _fraction(event.false_alarms_per_hour),
                _fraction(event.false_alarms_per_hour_upper),
                _whole(event.onset.t_device_ns),
                _whole(event.onset.t_global_ns),
                event.trial,
                event.condition,
            )
        )


def event_line(event: Event, classes: Sequence[str]) -> str:
    """A line of events.jsonl: one for every state of every event."""
    return compact_json(event_fields(event, classes)) + "\n"
