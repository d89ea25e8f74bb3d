"""The `runs` decoding on the same scores: how much may be left of a motion, how an event is named, when it is decided.

python -m benchmarks.decoding_choices [--sequences 24] [--keep FOLDER] [--model synthetic-4] [--workers 1]

Sessions are drawn as those that tune a model's decoding, under other numbers; the model judges each once. What a return
check lets pass is chosen on one half of the sessions and counted on the other, both ways. Tables are Markdown.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import cv2

from sfam.app.config import Config
from sfam.app.pipeline import open_scorer
from sfam.engine.decoding import RunsSpec
from sfam.engine.event_book import mean_probabilities
from sfam.engine.events import Event, Score
from sfam.engine.model import load_model
from sfam.engine.spotting import LiveSpotter
from sfam.stream.analysis import Analysis
from sfam.stream.flow_window import FlowWindow
from sfam.training.decoding import Tally, Truth, tally
from sfam.training.metrics import Counts, match
from sfam.training.recipe import PRESETS
from sfam.training.sequences import FPS, Scene, frames, sequence_of
from sfam.training.train import tune_scenes
from sfam.training.tuning import truth_of

FIRST_NUMBER = 90_000
"""Of the sessions; presets and tests use others."""
PRESET = PRESETS["synthetic-4"]
NOTHING_ASKED = 1e9
LEVELS = (0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 2.0)
"""What share of the motion may be left."""
Namer = Callable[[Event, Sequence[Score], RunsSpec], int]


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """One judged session and what it should give."""

    scores: tuple[Score, ...]
    windows: tuple[FlowWindow, ...]
    truth: Truth
    families: tuple[str, ...]
    """Which family of movement each of the micros belongs to."""


@dataclass(frozen=True, slots=True)
class Task:
    """One session to judge; picklable."""

    model: str
    index: int
    keep: Path | None


def judge(task: Task) -> Session:
    """Render, measure and score one session, or take what an earlier run kept."""
    kept = None if task.keep is None else task.keep / f"session_{task.index:03d}.pickle"
    if kept is not None and kept.exists():
        session: Session = pickle.loads(kept.read_bytes())
        return session
    cv2.setNumThreads(1)
    preset = replace(PRESET, tune_sequences=task.index + 1)
    scene = tune_scenes(preset, FIRST_NUMBER)[task.index]
    scores, windows = measured(task.model, scene)
    families = tuple(event.emotion for event in sequence_of(scene).events() if event.kind == "micro")
    session = Session(tuple(scores), tuple(windows), truth_of(scene), families)
    if kept is not None:
        kept.write_bytes(pickle.dumps(session))
    return session


def measured(model: str, scene: Scene) -> tuple[list[Score], list[FlowWindow]]:
    """Scores and windows of a scene."""
    config = Config.model_validate({"engine": {"model": model}})
    scorer, analysis = open_scorer(config, load_model(model)), Analysis(config.stream, FPS)
    scores: list[Score] = []
    windows: list[FlowWindow] = []
    try:
        for frame in frames(scene):
            new = analysis.push(frame)[:1]
            windows += new
            scores += scorer.score_batch(new)
    finally:
        analysis.close()
        scorer.backend.close()
    return scores, windows


def runs_spec(model: str) -> RunsSpec:
    """The model's decoding; ends the program where it is the published one."""
    spec = load_model(model).spotting_spec(None)
    if not isinstance(spec, RunsSpec):
        raise SystemExit(f"{model} decodes by the published rule, which checks no return")
    return spec


def events_of(session: Session, spec: RunsSpec) -> list[Event]:
    """What the live spotter confirms."""
    spotter = LiveSpotter(spec)
    seen = zip(session.scores, session.windows, strict=True)
    events = [event for score, window in seen for event in spotter.push(score, window)]
    last = {event.id: event for event in (*events, *spotter.flush())}
    return [event for event in last.values() if event.state == "confirmed"]


def compare_levels(sessions: Sequence[Session], spec: RunsSpec) -> None:
    """Print what is found at the model's level, at the level that serves best, and without any check."""
    print("| motion left, at most | micro F1 | micros found | false a minute | macro F1 |")
    print("|---|---|---|---|---|")
    shipped = spec.return_rho
    found = {level: _tallies(sessions, spec, level) for level in sorted({shipped, *LEVELS})}
    print(row(f"{shipped:g}, the model's", found[shipped]))
    halves = slice(0, None, 2), slice(1, None, 2)
    best = [_best(found, half) for half in halves]
    crossed = [*found[best[1]][halves[0]], *found[best[0]][halves[1]]]
    print(row(f"{best[1]:g} and {best[0]:g}, each best on the other half", crossed), flush=True)
    print(row("no check", _tallies(sessions, spec, NOTHING_ASKED)), flush=True)


def _best(found: Mapping[float, Sequence[Tally]], half: slice) -> float:
    return max(found, key=lambda level: together(found[level][half]).goodness)


def _tallies(sessions: Sequence[Session], spec: RunsSpec, level: float) -> list[Tally]:
    """Counts of each session at one level."""
    tallies = []
    for each in sessions:
        events = events_of(each, replace(spec, return_rho=level))
        found = [(event.kind, event.onset.frame, event.offset.frame) for event in events]
        tallies.append(tally([found], [each.truth]))
    return tallies


def together(tallies: Sequence[Tally]) -> Tally:
    """Counts added up."""
    micro, macro = (
        Counts(*(sum(getattr(getattr(one, kind), field) for one in tallies) for field in ("tp", "fp", "fn")))
        for kind in ("micro", "macro")
    )
    return Tally(micro, macro, sum(one.minutes for one in tallies))


def row(level: str, tallies: Sequence[Tally]) -> str:
    """One line of the table."""
    total = together(tallies)
    micro, macro = total.micro, total.macro
    return (
        f"| {level} | {micro.f1:.3f} | {micro.tp}/{micro.tp + micro.fn} | {total.false_per_min:.2f} | {macro.f1:.3f} |"
    )


def _majority(scores: Sequence[Score]) -> int:
    rows = [score.emotion[:-1] for score in scores]
    votes = [row.index(max(row)) for row in rows]
    mean = mean_probabilities(scores)
    return max(range(len(mean) - 1), key=lambda k: (votes.count(k), mean[k]))


def _mean(scores: Sequence[Score]) -> int:
    mean = mean_probabilities(scores)
    return max(range(len(mean) - 1), key=mean.__getitem__)


def _between(scores: Sequence[Score], first_ns: float, last_ns: float) -> list[Score]:
    return [score for score in scores if first_ns <= score.t_capture_ns <= last_ns]


def _onset_to_apex(event: Event, scores: Sequence[Score], spec: RunsSpec) -> list[Score]:
    return _between(scores, event.onset.t_capture_ns, event.apex.t_capture_ns)


def _rise(event: Event, scores: Sequence[Score], spec: RunsSpec) -> list[Score]:
    begin_ns = event.onset.t_capture_ns + spec.onset_shift_s * 1e9
    return _between(scores, begin_ns, begin_ns + spec.rise_s * 1e9)


def _run_to_apex(event: Event, scores: Sequence[Score], spec: RunsSpec) -> list[Score]:
    begin_ns = event.onset.t_capture_ns + spec.onset_shift_s * 1e9
    return _between(scores, begin_ns, max(event.apex.t_capture_ns, begin_ns + 5e7))


def _rise_to_apex(event: Event, scores: Sequence[Score], spec: RunsSpec) -> list[Score]:
    rise = _rise(event, scores, spec)
    return [score for score in rise if score.t_capture_ns <= event.apex.t_capture_ns] or rise[:1]


def _last_before_apex(event: Event, scores: Sequence[Score], spec: RunsSpec) -> list[Score]:
    last_ns = event.apex.t_capture_ns
    return _between(scores, max(event.onset.t_capture_ns, last_ns - spec.rise_s * 1e9), last_ns)


STRETCHES = {
    "onset to apex": _onset_to_apex,
    "first crossing to apex": _run_to_apex,
    "rise_s from first crossing": _rise,
    "the same, at most to the apex": _rise_to_apex,
    "rise_s up to the apex": _last_before_apex,
}
RULES = {"majority": _majority, "highest mean probability": _mean}


def compare_names(sessions: Sequence[Session], spec: RunsSpec) -> None:
    """Print how often each rule names a found micro by its family."""
    found = [[one for one in events_of(each, spec) if one.kind == "micro"] for each in sessions]
    print("| windows | rule | family right |\n|---|---|---|")
    for stretch, take in STRETCHES.items():
        for rule, name in RULES.items():
            right = hits = 0
            for each, micros in zip(sessions, found, strict=True):
                spans = [(event.onset.frame, event.offset.frame) for event in micros]
                for mine, theirs in match(spans, each.truth.micro):
                    hits += 1
                    held = take(micros[mine], each.scores, spec)
                    right += spec.classes[name(held)] == each.families[theirs]
            print(f"| {stretch} | {rule} | {right}/{hits} |", flush=True)


def show_delays(sessions: Sequence[Session], spec: RunsSpec) -> None:
    """Print how long after its true offset a found micro was confirmed."""
    delays_s = []
    for each in sessions:
        micros = [event for event in events_of(each, spec) if event.kind == "micro"]
        spans = [(event.onset.frame, event.offset.frame) for event in micros]
        for mine, theirs in match(spans, each.truth.micro):
            decided_s = micros[mine].offset.t_capture_ns / 1e9 + micros[mine].decision_delay_ms / 1e3
            delays_s.append(decided_s - each.truth.micro[theirs][1] / FPS)
    print("| found micros | decided after the true offset: median | longest |\n|---|---|---|")
    print(f"| {len(delays_s)} | {median(delays_s):.2f} s | {max(delays_s):.2f} s |", flush=True)


def main() -> None:
    """Judge the sessions and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sequences", type=int, default=24)
    parser.add_argument("--keep", type=Path, help="folder for judged sessions, to go on from")
    parser.add_argument("--model", default="synthetic-4")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    if asked.keep is not None:
        asked.keep.mkdir(parents=True, exist_ok=True)
    spec = runs_spec(asked.model)
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        tasks = [Task(asked.model, index, asked.keep) for index in range(asked.sequences)]
        sessions = list(pool.map(judge, tasks))
    compare_names(sessions, spec)
    compare_levels(sessions, spec)
    show_delays(sessions, spec)


if __name__ == "__main__":
    main()
