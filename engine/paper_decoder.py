"""The published decoding live: scores of any rate thinned to 1/15 s, verdicts turned into events.

It waits by its nature: a micro peak is judged about 1.5 s after its apex, a macro peak 2.4 s after.
"""

from __future__ import annotations

from sfam.stream.flow_window import FlowWindow

from .decoding import PaperSpec
from .event_book import EventBook, Sighting, class_name, mean_probabilities, mean_spread, moment_of, united_flags
from .events import Event, Score
from .recent import Recent
from .spotting_paper import Detection, PaperTrace, PeakFinder, Verdict, majority

EARLY = 1 / 8
"""A score may come this share of a sample period early and still fill that sample."""


class PaperDecoder:
    """One gap-free stretch of one face."""

    def __init__(self, spec: PaperSpec, book: EventBook) -> None:
        self._spec = spec
        self._book = book
        self._trace = PaperTrace(spec)
        self._scores: Recent[Score] = Recent()
        self._open: dict[tuple[str, int], Event] = {}
        self._begin_ns = 0
        self.withheld = 0
        """Intervals that only the mean rule withdrew; the finished video's mean may judge otherwise."""
        self.confirmed = 0

    def push(self, score: Score, window: FlowWindow | None) -> list[Event]:
        """Add a score; a sample period without one repeats the next score, so that indices stay times."""
        if not len(self._scores):
            self._begin_ns = score.t_capture_ns
        events: list[Event] = []
        while self._due_ns() <= score.t_capture_ns:
            self._scores.append(score)
            for finder, peaks, verdicts in self._trace.push(score.spot):
                events += self._publish(finder, peaks, verdicts, score)
        return events

    def flush(self, last: Score) -> list[Event]:
        """The stretch has ended: everything still open is decided."""
        events: list[Event] = []
        for finder, peaks, verdicts in self._trace.flush():
            events += self._publish(finder, peaks, verdicts, last)
        return events

    @property
    def differs_offline(self) -> bool:
        """Whether the mean of the whole stretch would have decided otherwise than the running mean did."""
        dropped = self._trace.mean >= self._spec.video_mean
        return self.confirmed > 0 if dropped else self.withheld > 0

    def _due_ns(self) -> int:
        return self._begin_ns + round((self._trace.samples - EARLY) * 1e9 / self._spec.score_rate_hz)

    def _publish(self, finder: PeakFinder, peaks: list[int], verdicts: list[Verdict], now: Score) -> list[Event]:
        kind = finder.rule.kind
        events: list[Event] = []
        for peak in peaks:
            event = self._book.open(self._sight(finder, self._glimpse(finder, peak)), now)
            self._open[kind, peak] = event
            events.append(event)
        for peak, detection in verdicts:
            counts = detection is not None and self._trace.mean < self._spec.video_mean
            self.withheld += detection is not None and not counts
            self.confirmed += counts
            sighting = self._sight(finder, detection) if detection is not None and counts else None
            events.append(self._book.decide(self._open.pop((kind, peak)), sighting, now))
        return events

    def _glimpse(self, finder: PeakFinder, peak: int) -> Detection:
        """A peak that has just shown itself: from where the score went up until now."""
        onset = peak
        while onset > max(peak - finder.rule.before, 0) and finder.x[onset - 1] >= self._spec.height:
            onset -= 1
        return Detection(finder.rule.kind, onset, peak, len(finder.x) - 1)

    def _sight(self, finder: PeakFinder, found: Detection) -> Sighting:
        last = len(self._scores) - 1
        onset, apex, offset = (min(index, last) for index in (found.onset, found.apex, found.offset))
        rise = self._scores.window(onset, max(apex + finder.rule.apex_counts, onset + 1))
        votes = [max(range(len(s.emotion)), key=s.emotion.__getitem__) if s.emotion else -1 for s in rise]
        whole = self._scores.window(onset, offset + 1)
        return Sighting(
            kind="micro" if found.kind == "micro" else "macro",
            onset=moment_of(self._scores[onset]),
            apex=moment_of(self._scores[apex]),
            offset=moment_of(self._scores[offset]),
            emotion=class_name(self._spec.classes, majority(votes)),
            probabilities=mean_probabilities(rise),
            score=max(score.spot for score in whole),
            flags=united_flags(whole),
            spread=mean_spread(rise),
        )
