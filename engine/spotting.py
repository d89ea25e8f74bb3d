"""Scores become events, live and offline, by the decoding that a model names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from sfam.stream.flow_window import FlowWindow

from .decoding import PaperSpec, RunsSpec, SpottingSpec
from .event_book import GAP, EventBook, RateOf
from .events import Event, Interval, Score
from .paper_decoder import PaperDecoder
from .runs_decoder import RunsDecoder
from .runs_offline import Stretch, intervals_of
from .spotting_paper import RULES, detections, majority


def spot_offline(
    scores: ArrayLike, emotions: ArrayLike, frame_skip: int = 2, spec: PaperSpec | None = None
) -> list[Interval]:
    """The published decoding of a whole video (Liong et al. 2024), exact to its index quirks.

    Args:
        scores: (T,) spotting scores, one every `frame_skip` frames.
        emotions: (T,) class per scored frame.
        frame_skip: frames from one score to the next.
        spec: other levels than the published ones.

    Returns:
        Micro and macro intervals by ascending onset, in frames (index times frame_skip), both ends inclusive. The
        published rule may give the same motion as both kinds.

    Raises:
        ValueError: lengths differ, or a score is no finite number.
    """
    trace, classes = np.asarray(scores, np.float64), np.asarray(emotions)
    if trace.ndim != 1 or trace.shape != classes.shape:
        raise ValueError(f"scores {trace.shape} and emotions {classes.shape} must be rows of the same length")
    if not np.isfinite(trace).all():
        raise ValueError("scores hold values that are no finite numbers")
    votes = [int(value) for value in classes]
    apex_counts = {rule.kind: rule.apex_counts for rule in RULES}
    found = detections([float(value) for value in trace], spec or PaperSpec())
    return [
        Interval(
            kind=d.kind,
            onset=d.onset * frame_skip,
            offset=min(d.offset, len(votes) - 1) * frame_skip,
            emotion=majority(votes[d.onset : d.apex + apex_counts[d.kind]]),
        )
        for d in found
    ]


def runs_offline(scores: Sequence[Score], windows: Sequence[FlowWindow | None], spec: RunsSpec) -> list[Interval]:
    """The `runs` decoding of a finished stream.

    Args:
        scores: of one or several faces, in the order of time.
        windows: the window each score was read from; None where there is none, then duration alone decides.
        spec: the model's parameters.

    Returns:
        Confirmed intervals by ascending onset; frames as the scores carry them, both ends inclusive.
    """
    found = [
        interval for stretch in _stretches(scores, windows, spec.gap_s) for interval in intervals_of(stretch, spec)
    ]
    return sorted(found, key=lambda interval: (interval.onset, interval.offset, interval.kind))


def interval_of(event: Event) -> Interval:
    """A confirmed event as an offline interval."""
    return Interval(event.kind, event.onset.frame, event.offset.frame, event.emotion)


@dataclass(slots=True)
class _Face:
    """State of one face: its present gap-free stretch."""

    decoder: PaperDecoder | RunsDecoder
    last: Score
    segment: int | None


class LiveSpotter:
    """Fed score by score, it says what it sees and, once enough has followed, what it was.

    At the end of a stream the confirmed events are those of the offline rule; of the published one up to its mean over
    the whole video, which live is the mean so far (`differs_offline` says when that mattered).

    Args:
        spec: the model's decoding and its parameters.
        first_id: of the first event, where others came before in the same session.
        rate_of: the false-alarm rate that each event carries, from a calibration.
    """

    def __init__(
        self,
        spec: SpottingSpec,
        first_id: int = 0,
        rate_of: RateOf | None = None,
    ) -> None:
        self.spec = spec
        self.differs_offline = 0
        """Stretches in which the published rule's mean over the whole would have decided otherwise."""
        self._book = EventBook(first_id, rate_of)
        self._faces: dict[int, _Face] = {}

    @property
    def next_id(self) -> int:
        """Id of the event that is seen next."""
        return self._book.next_id

    def push(self, score: Score, window: FlowWindow | None) -> list[Event]:
        """Take the next score of a face; scores of each face come in the order of time.

        Args:
            score: with frame and capture time.
            window: what it was read from, for the return check.

        Returns:
            New and decided events; the same id comes first as provisional, then as confirmed or withdrawn.
        """
        if not np.isfinite(score.spot):
            score = replace(score, spot=0.0)
        events = self._end_idle(score)
        face = self._faces.get(score.track_id)
        if face is not None and _broken(face.last, face.segment, score, window, self.spec.gap_s):
            events += self._end(face, gap=True)
            face = None
        segment = None if window is None else window.segment
        if face is None:
            face = self._faces[score.track_id] = _Face(self._decoder(), score, segment)
        events += face.decoder.push(score, window)
        face.last, face.segment = score, segment
        return events

    def flush(self) -> list[Event]:
        """The stream has ended: decide what is open. The spotter can then be fed a new stream."""
        events = [event for face in self._faces.values() for event in self._end(face, gap=False)]
        self._faces.clear()
        return events

    def _decoder(self) -> PaperDecoder | RunsDecoder:
        if isinstance(self.spec, PaperSpec):
            return PaperDecoder(self.spec, self._book)
        return RunsDecoder(self.spec, self._book)

    def _end_idle(self, score: Score) -> list[Event]:
        """End the stretches of faces that have gone; what they left open must not wait for their return."""
        limit_ns = score.t_capture_ns - round(self.spec.gap_s * 1e9)
        gone = [
            track
            for track, face in self._faces.items()
            if track != score.track_id and face.last.t_capture_ns < limit_ns
        ]
        return [event for track in gone for event in self._end(self._faces.pop(track), gap=True)]

    def _end(self, face: _Face, gap: bool) -> list[Event]:
        events = face.decoder.flush(face.last)
        if isinstance(face.decoder, PaperDecoder):
            self.differs_offline += face.decoder.differs_offline
        if not gap:
            return events
        return [replace(event, flags=tuple(sorted({*event.flags, GAP}))) for event in events]


def _broken(last: Score, segment: int | None, score: Score, window: FlowWindow | None, gap_s: float) -> bool:
    """Whether nothing may be joined across from the last score to this one."""
    since_s = (score.t_capture_ns - last.t_capture_ns) / 1e9
    if since_s > gap_s or since_s <= 0:
        return True
    return window is not None and segment is not None and window.segment != segment


def _stretches(scores: Sequence[Score], windows: Sequence[FlowWindow | None], gap_s: float) -> Iterator[Stretch]:
    """Split a stream into gap-free stretches of one face each."""
    open_stretches: dict[int, Stretch] = {}
    for score, window in zip(scores, windows, strict=True):
        if not np.isfinite(score.spot):
            score = replace(score, spot=0.0)
        stretch = open_stretches.get(score.track_id)
        if stretch is not None:
            last, before = stretch[-1]
            if _broken(last, None if before is None else before.segment, score, window, gap_s):
                yield open_stretches.pop(score.track_id)
                stretch = None
        if stretch is None:
            stretch = open_stretches[score.track_id] = []
        stretch.append((score, window))
    yield from open_stretches.values()
