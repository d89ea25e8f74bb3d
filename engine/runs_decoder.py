"""The `runs` decoding live: runs of one face become provisional events, and confirmed ones once the face is at rest."""

from __future__ import annotations

from collections import deque

from sfam.stream.flow_window import FlowWindow

from .decoding import RunsSpec
from .event_book import (
    GAP,
    EventBook,
    Sighting,
    class_name,
    majority_class,
    mean_probabilities,
    mean_spread,
    moment_of,
    united_flags,
)
from .events import Event, EventKind, Score
from .recent import Recent
from .return_check import follow
from .spotting_runs import (
    SECOND_NS,
    Expression,
    Run,
    RunFinder,
    Sample,
    box_mean,
    expression_of,
    nearest,
    place,
    rise_of,
    sample_of,
)

UNHELD = 1 << 40
"""Samples are forgotten by need, not by number."""


class RunsDecoder:
    """One gap-free stretch of one face."""

    def __init__(self, spec: RunsSpec, book: EventBook) -> None:
        self._spec = spec
        self._book = book
        self._half_ns = round(spec.box_s * SECOND_NS / 2)
        self._samples: Recent[Sample] = Recent(UNHELD)
        self._smoothed = 0
        self._begin_ns = 0
        self._finder = RunFinder(spec)
        self._runs: deque[Run] = deque()
        self._checked = 0
        """Runs of the first expression that were found not to bring the face back to rest."""
        self._event: Event | None = None

    def push(self, score: Score, window: FlowWindow | None) -> list[Event]:
        """Add a score and the window it was read from."""
        if not len(self._samples):
            self._begin_ns = score.t_capture_ns
        self._samples.append(sample_of(score, window))
        due_ns = score.t_capture_ns - self._half_ns
        while self._smoothed < len(self._samples) and self._samples[self._smoothed].score.t_capture_ns <= due_ns:
            self._smooth()
        events = self._judge(score, ended=False)
        self._forget()
        return events

    def flush(self, last: Score) -> list[Event]:
        """The stretch has ended: everything still open is decided."""
        while self._smoothed < len(self._samples):
            self._smooth()
        self._runs += self._finder.flush()
        return self._judge(last, ended=True)

    def _smooth(self) -> None:
        x = box_mean(self._samples, self._smoothed, self._half_ns)
        self._runs += self._finder.push(self._samples[self._smoothed].score.t_capture_ns, x)
        self._smoothed += 1

    def _judge(self, now: Score, ended: bool) -> list[Event]:
        """Decide on the first run as often as possible; announce what then comes first."""
        events = self._announce(now)
        while self._runs:
            pieces, expression = self._next_rest(ended)
            if pieces == 0:
                break
            sighting = None if expression is None else self._sight(expression)
            if self._event is not None:
                events.append(self._book.decide(self._event, sighting, now))
            self._event, self._checked = None, 0
            for _ in range(pieces):
                self._runs.popleft()
            events += self._announce(now)
        return events

    def _next_rest(self, ended: bool) -> tuple[int, Expression | None]:
        """How many runs are decided (0 = wait), and the expression they make, None for none."""
        gap_ns = round(self._spec.piece_gap_s * SECOND_NS)
        first = self._runs[0]
        while self._checked < self._spec.pieces:
            before = self._runs[self._checked - 1] if self._checked else first
            if self._checked == len(self._runs):
                over = ended or self._finder.quiet_until_ns - before.end_ns > gap_ns
                return (1, None) if over else (0, None)
            last = self._runs[self._checked]
            expression = expression_of(first, last, self._spec)
            if last.begin_ns - before.end_ns > gap_ns or expression.end_ns - expression.begin_ns > self._longest_ns:
                break
            self._checked += 1
            if self._at_rest(expression):
                counts = place(self._samples, expression, self._spec, self._begin_ns).kind
                return self._checked, expression if counts else None
        return 1, None

    @property
    def _longest_ns(self) -> int:
        return round(self._spec.longest_s * SECOND_NS)

    def _at_rest(self, expression: Expression) -> bool:
        """Whether the face is back where it was; without motion to tell, the duration alone decides."""
        path = follow(self._samples, expression)
        return path is None or path.is_back(self._spec.return_rho, self._spec.return_px)

    def _announce(self, now: Score) -> list[Event]:
        """A provisional event for the run that is now the first, if it has none yet."""
        begin_ns = self._runs[0].begin_ns if self._runs else self._finder.running
        if self._event is not None or begin_ns is None:
            return []
        onset_ns = begin_ns - round(self._spec.onset_shift_s * SECOND_NS)
        expression = Expression(onset_ns, now.t_capture_ns, begin_ns, now.t_capture_ns)
        self._event = self._book.open(self._sight(expression, is_over=False), now)
        return [self._event]

    def _sight(self, expression: Expression, is_over: bool = True) -> Sighting:
        samples, spec = self._samples, self._spec
        found = place(samples, expression, spec, self._begin_ns, is_over)
        onset, offset = found.onset, found.offset
        whole = [sample.score for sample in samples.window(onset, nearest(samples, expression.end_ns) + 1)]
        rise = rise_of(samples, expression, spec)
        path = follow(samples, expression)
        strongest = max(range(len(whole)), key=lambda i: whole[i].spot)
        apex = path.apex if path is not None else min(onset + strongest, offset)
        kind: EventKind = "macro" if found.kind == "macro" else "micro"
        return Sighting(
            kind=kind,
            onset=moment_of(samples[onset].score),
            apex=moment_of(samples[apex].score),
            offset=moment_of(samples[offset].score),
            emotion=class_name(spec.classes, majority_class(rise)),
            probabilities=mean_probabilities(rise),
            score=whole[strongest].spot,
            flags=tuple(sorted({*united_flags(whole), GAP})) if found.cut else united_flags(whole),
            spread=mean_spread(rise),
        )

    def _forget(self) -> None:
        """Let go of samples that no decision can need any more."""
        begin_ns = self._runs[0].begin_ns if self._runs else self._finder.quiet_until_ns
        needed_ns = begin_ns - round(self._spec.onset_shift_s * SECOND_NS) - SECOND_NS
        self._samples.forget(min(nearest(self._samples, needed_ns), self._smoothed - 1))
