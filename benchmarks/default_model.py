"""Measures the default model on synthetic sequences that neither training nor tuning has seen.

Every sequence is rendered as the demo camera gives it (640x480 color, 848x480 depth beside it) and runs through the
live pipeline: analysis, onnxruntime, live spotter. Run `python -m benchmarks.default_model [--model DIR]`;
the table is Markdown, as in `training/RESULTS.md`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from sfam.app.config import Config
from sfam.app.pipeline import Pipeline
from sfam.capture.face_sequence import FaceSequence, TruthEvent
from sfam.capture.sensor_noise import Noise
from sfam.capture.sequence_plan import Light, SequencePlan, draw_plan
from sfam.engine.events import Event, Score
from sfam.training.courses import annotated_durations
from sfam.training.metrics import Counts, match, spotting_counts
from sfam.training.reliability import largest_miss, moving_labels, reliability_bins

ATTEMPTS = 20
CURVES = ("30 s sessions", "doubled noise", "60 fps sessions")
"""Sets whose reliability is shown."""
NEW_HEADS = 1000
"""First head number of the tests; training and tuning use numbers far below."""


@dataclass(frozen=True, slots=True)
class TestSet:
    """Sequences of one kind."""

    __test__ = False

    name: str
    count: int
    seconds: float
    plan: Callable[[int, float], SequencePlan]
    noise: Noise = Noise()  # noqa: RUF009
    fps: float = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """What one sequence held and what was confirmed in it."""

    truth: tuple[tuple[str, int, int, float, str], ...]
    events: tuple[tuple[str, int, int, str], ...]
    seconds: float
    scores: tuple[float, ...] = ()
    """Of every window."""
    moving: tuple[int, ...] = ()
    """1 = an expression moves in the window, 0 = none, -1 = too little to say."""

    def spans(self, kind: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Found and true spans of one kind."""
        return (
            [(onset, offset) for k, onset, offset, _ in self.events if k == kind],
            [(onset, offset) for k, onset, offset, _, _ in self.truth if k == kind],
        )

    def counts(self, kind: str) -> Counts:
        """Strict counts at IoU 0.5."""
        return spotting_counts(*self.spans(kind))


def _durations() -> tuple[tuple[int, int], ...]:
    return tuple((int(rise), int(total)) for rise, total in annotated_durations())


def recording(seed: int, seconds: float) -> SequencePlan:
    """Like the reference recording: two micros, a macro, a blink; the plain portrait or its mirror image.

    Where what a seed draws does not fit into the time, the next of its own numbers is taken.
    """
    for attempt in range(ATTEMPTS):
        with suppress(ValueError):
            return draw_plan(
                seed + 1_000_000 * attempt,
                seconds,
                micro=2,
                macro=1,
                blinks=1,
                identity=seed % 2,
                micro_px=(0.5, 1.0, 2.0),
                durations=_durations(),
            )
    raise ValueError(f"no plan of seed {seed} fits into {seconds:g} s after {ATTEMPTS} draws")


def session(seed: int, seconds: float) -> SequencePlan:
    """5 micros, 2 macros and 7 blinks per 30 s on a head of its own."""
    return draw_plan(seed, seconds, identity=NEW_HEADS + seed % 1000, durations=_durations())


def restless(seed: int, seconds: float) -> SequencePlan:
    """The same with 2.5 times the head motion."""
    return draw_plan(seed, seconds, identity=NEW_HEADS + seed % 1000, durations=_durations(), sway=2.5)


def quiet(seed: int, seconds: float) -> SequencePlan:
    """Head motion and blinks only."""
    return draw_plan(seed, seconds, micro=0, macro=0, identity=NEW_HEADS + seed % 1000)


def glancing(seed: int, seconds: float) -> SequencePlan:
    """Head motion, blinks and shifts of gaze only."""
    return draw_plan(seed, seconds, micro=0, macro=0, gaze=8, identity=NEW_HEADS + seed % 1000)


def talking(seed: int, seconds: float) -> SequencePlan:
    """Head motion, blinks and speech only."""
    return draw_plan(seed, seconds, micro=0, macro=0, speech=6, identity=NEW_HEADS + seed % 1000)


def spectacled(seed: int, seconds: float) -> SequencePlan:
    """As a session, on heads that all wear glasses."""
    return draw_plan(seed, seconds, identity=4 * (NEW_HEADS + seed % 1000) + 3, durations=_durations())


def flickering(seed: int, seconds: float) -> SequencePlan:
    """As a session, under lamps that flicker by 2 % and light that drifts by 4 %."""
    light = Light(drift=0.04, flicker=0.02)
    return draw_plan(seed, seconds, identity=NEW_HEADS + seed % 1000, durations=_durations(), light=light)


def lively(seed: int, seconds: float) -> SequencePlan:
    """As a session, with speech and shifts of gaze between the expressions."""
    for attempt in range(ATTEMPTS):
        with suppress(ValueError):
            head = NEW_HEADS + seed % 1000
            return draw_plan(
                seed + 1_000_000 * attempt, seconds, speech=2, gaze=5, identity=head, durations=_durations()
            )
    raise ValueError(f"no plan of seed {seed} fits into {seconds:g} s after {ATTEMPTS} draws")


DOUBLED = Noise(rgb_sigma=4.0, depth_sigma_mm=2.0, holes=0.06)
TEST_SETS = (
    TestSet("6 s recordings", 16, 6.0, recording),
    TestSet("30 s sessions", 10, 30.0, session),
    TestSet("head and blinks only", 6, 30.0, quiet),
    TestSet("doubled noise", 6, 30.0, session, DOUBLED),
    TestSet("sway x 2.5", 6, 30.0, restless),
    TestSet("correlated depth noise", 6, 30.0, session, Noise(depth_model="correlated")),
    TestSet("gaze shifts only", 3, 30.0, glancing),
    TestSet("speech only", 3, 30.0, talking),
    TestSet("with speech and gaze", 4, 30.0, lively),
    TestSet("glasses", 4, 30.0, spectacled),
    TestSet("light flickers and drifts", 4, 30.0, flickering),
    TestSet("quantised depth noise", 4, 30.0, session, Noise(depth_model="quantised")),
    TestSet("60 fps sessions", 10, 30.0, session, fps=60.0),
    TestSet("60 fps recordings", 6, 6.0, recording, fps=60.0),
    TestSet("60 fps, head and blinks only", 6, 30.0, quiet, fps=60.0),
    TestSet("60 fps, doubled noise", 6, 30.0, session, DOUBLED, 60.0),
    TestSet("60 fps, sway x 2.5", 6, 30.0, restless, fps=60.0),
)


def run_sequence(model: str, plan: SequencePlan, noise: Noise, fps: float = 30.0) -> Found:
    """Play one sequence through the live pipeline."""
    sequence = FaceSequence(plan, noise, fps)
    pipeline = Pipeline(Config.model_validate({"engine": {"model": model}}))
    events: list[Event] = []
    scores: list[Score] = []
    for index in range(round(plan.seconds * fps)):
        result = pipeline.process(sequence.frame(index))
        events += result.events
        scores += result.scores
    events += pipeline.flush()
    pipeline.close()
    last = {event.id: event for event in events}
    confirmed = tuple(
        (event.kind, event.onset.frame, event.offset.frame, event.emotion)
        for event in last.values()
        if event.state == "confirmed"
    )
    spans = [(score.from_frame, score.frame) for score in scores]
    moving = moving_labels(plan.events, sequence.model, spans, fps)
    return Found(
        tuple(_row(event) for event in sequence.events()),
        confirmed,
        plan.seconds,
        tuple(round(score.spot, 4) for score in scores),
        tuple(int(label) for label in moving),
    )


def _row(event: TruthEvent) -> tuple[str, int, int, float, str]:
    return event.kind, event.onset, event.offset, event.peak_px, event.emotion


def _job(job: tuple[str, int, int]) -> Found:
    model, row, seed = job
    chosen = TEST_SETS[row]
    return run_sequence(model, chosen.plan(seed, chosen.seconds), chosen.noise, chosen.fps)


def seeds(row: int, first: int) -> list[int]:
    """Seeds of one test set; no two sets share one."""
    return [first + 100 * row + index for index in range(TEST_SETS[row].count)]


def total(found: Sequence[Found], kind: str) -> Counts:
    """Counts over sequences."""
    counts = [each.counts(kind) for each in found]
    return Counts(sum(c.tp for c in counts), sum(c.fp for c in counts), sum(c.fn for c in counts))


def by_peak(found: Sequence[Found]) -> dict[str, tuple[int, int]]:
    """Micros found and shown, by the nearest nominal peak in crop pixels."""
    shown: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for each in found:
        spans, truth = each.spans("micro")
        hits = {target for _, target in match(spans, truth)}
        micros = [row for row in each.truth if row[0] == "micro"]
        for index, (_, _, _, peak_px, _) in enumerate(micros):
            name = f"{min((0.2, 0.5, 1.0, 2.0), key=lambda nominal: abs(nominal - peak_px)):g} px"
            shown[name] += 1
            hit[name] += index in hits
    return {name: (hit[name], shown[name]) for name in sorted(shown)}


def families(found: Sequence[Found]) -> tuple[int, int]:
    """Found micros named right, and found micros."""
    right = hits = 0
    for each in found:
        spans, truth = each.spans("micro")
        named = [row[3] for row in each.events if row[0] == "micro"]
        real = [row[4] for row in each.truth if row[0] == "micro"]
        for mine, theirs in match(spans, truth):
            hits += 1
            right += named[mine] == real[theirs]
    return right, hits


def table_row(chosen: TestSet, found: Sequence[Found]) -> str:
    """One line of the table."""
    micro, macro = total(found, "micro"), total(found, "macro")
    minutes = sum(each.seconds for each in found) / 60
    clean = sum(each.counts("micro").fn == 0 and each.counts("micro").fp <= 1 for each in found)
    right, hits = families(found)
    peaks = ", ".join(f"{name} {hit}/{shown}" for name, (hit, shown) in by_peak(found).items())
    return (
        f"| {chosen.name} | {len(found)} x {chosen.seconds:g} s | {micro.tp}/{micro.tp + micro.fn} "
        f"| {micro.fp} ({micro.fp / minutes:.2f}) | {micro.f1:.3f} | {macro.f1:.2f} | {clean}/{len(found)} "
        f"| {right}/{hits} | {peaks} |"
    )


HEADER = (
    "| set | sequences | micros found | false (per min) | micro F1 | macro F1 | all found, <= 1 false | family right "
    "| found by peak |\n|---|---|---|---|---|---|---|---|---|"
)


def reliability(found: Sequence[Found]) -> str:
    """How often windows move, by tenth of their score."""
    scores = np.concatenate([each.scores for each in found])
    bins = reliability_bins(scores, np.concatenate([each.moving for each in found]))
    rows = [f"| {score:.2f} | {share:.2f} | {count} |" for score, share, count in bins if count]
    head = "| mean score | share that moves | windows |\n|---|---|---|"
    return "\n".join([head, *rows, f"largest distance from the diagonal: {largest_miss(bins):.3f}"])


def main() -> None:
    """Run all sets and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="synthetic-4")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=700_000)
    parser.add_argument("--at-most", type=int, default=100, help="sequences of each set, for a quick look")
    parser.add_argument("--only", help="run the sets whose name contains this")
    parser.add_argument("--json", type=Path, help="also write every sequence's events here")
    options = parser.parse_args()
    rows = [row for row, chosen in enumerate(TEST_SETS) if not options.only or options.only in chosen.name]
    print(HEADER)
    results = {}
    judged: dict[str, list[Found]] = {}
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        pending = {
            row: [
                pool.submit(_job, (options.model, row, seed))
                for seed in seeds(row, options.first_seed)[: options.at_most]
            ]
            for row in rows
        }
        for row, jobs in pending.items():
            found = [job.result() for job in jobs]
            judged[TEST_SETS[row].name] = found
            results[TEST_SETS[row].name] = [asdict(each) for each in found]
            print(table_row(TEST_SETS[row], found), flush=True)
    for name, each in judged.items():
        if name in CURVES:
            print(f"\nReliability, {name}\n{reliability(each)}")
    if options.json:
        options.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
