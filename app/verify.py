"""`sfam verify`: replays a recording, or the recording behind a session, in every way that must not matter."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sfam.capture.config import CaptureConfig
from sfam.capture.recorded_parts import RECORDING, own_recording
from sfam.capture.source import SourceError
from sfam.engine.backend import AUTO, check_all_backends
from sfam.engine.model import load_model
from sfam.sinks.session_folder import CONFIG, EVENTS, SCORES, SESSION

from .config import Config, ConfigError, load_config
from .replay import Replay, replay_config, run_replay
from .session_plan import ANALYSIS_RESTART, Change
from .table_difference import ACROSS_BACKENDS, Difference, first_difference

TABLES = (SCORES, EVENTS)
NOT_RECORDED = "not_recorded"
"""Cause of the rows that a replay writes for frames its recording does not hold."""
LOST_FRAMES = ("ring_overwritten", "decimated", ANALYSIS_RESTART)
"""Causes under which a session writes a row for a captured frame that it did not analyse."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is verified."""

    replay: Replay
    session: Path | None = None
    """Tables that must come out again; None = only replays are compared with each other."""
    finished: bool = True
    """False where the session was killed, so that its tables may end early."""
    notes: tuple[str, ...] = ()
    unlike: str = ""
    """What the session's recording holds other than what was analysed, by its settings; empty where nothing."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One pair of runs."""

    name: str
    frames: int
    difference: Difference | None = None
    skipped: str = ""
    """Why it could not be run; empty where it was."""
    note: str = ""
    """What explains a difference."""

    @property
    def ok(self) -> bool:
        """True where the tables agree, or nothing was compared."""
        return self.difference is None

    def __str__(self) -> str:
        """The verdict for the operator."""
        if self.skipped:
            return f"not compared: {self.skipped}"
        return "equal" if self.ok else f"DIFFERS, {self.difference}" + (f" ({self.note})" if self.note else "")

    def to_json(self) -> dict[str, Any]:
        """As in the report for programs."""
        shown = None if self.difference is None else str(self.difference)
        return {
            "name": self.name,
            "ok": self.ok,
            "frames": self.frames,
            "difference": shown,
            "skipped": self.skipped,
            "note": self.note,
        }


def subject(path: Path, config: Config, file: Path | None = None) -> Subject:
    """A recording with the given settings, or the recording behind a session folder with that session's.

    Args:
        path: recording or session folder.
        config: settings for a recording; a session brings its own.
        file: where a session's recording lies now, if it was moved.

    Raises:
        SourceError: the recording is not there.
        ConfigError: a session whose source cannot be replayed.
    """
    if (path / SESSION).is_file():
        return _of_session(path, file)
    if not path.exists():
        raise SourceError(f"{path} does not exist; give a recording or a session folder")
    capture = config.capture.model_copy(update={"camera": str(path)})
    return Subject(Replay(replay_config(config.model_copy(update={"capture": capture}))))


def _of_session(folder: Path, file: Path | None) -> Subject:
    try:
        summary = json.loads((folder / SESSION).read_text(encoding="utf-8"))
        rows = _rows(folder / SCORES)
    except (OSError, ValueError) as error:
        raise SourceError(f"session folder {folder} cannot be read: {error}") from error
    config = load_config(folder / CONFIG)
    recording = file or _recording(folder, summary)
    capture = config.capture.model_copy(update={"camera": str(recording)})
    unlike = ""
    if recording.name == RECORDING or (recording / RECORDING).exists():
        unlike = _unlike(capture)
        # The recording holds what the session saw, its own beginning and end included.
        capture = capture.model_copy(update={"from_s": 0.0, "to_s": None})
    names = {"subject": summary["subject"], "video": summary["video"]}
    config = replay_config(config.model_copy(update={"capture": capture}), **names)
    left_out = {int(row["frame"]): row["cause"] for row in rows if row["cause"] in LOST_FRAMES}
    last_frame = int(rows[-1]["frame"]) if rows else None
    finished = summary["state"] == "ended"
    changes = tuple(Change(**found) for found in summary["counters"].get("changes", ()))
    replay = Replay(config, left_out, last_frame, changes)
    return Subject(replay, folder, finished, tuple(_notes(summary, config, left_out)), unlike)


def _rows(path: Path) -> list[dict[str, str]]:
    text = path.read_text(encoding="utf-8")
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines(keepends=True)))


def _recording(folder: Path, summary: Mapping[str, Any]) -> Path:
    own = own_recording(folder)
    if own is not None:
        return own
    source = Path(str(summary["source"]))
    if summary["devices"].get("kind") != "recording":
        raise ConfigError(
            f"session {folder} came live from {source} and holds no {RECORDING}; only sessions run with --record, or "
            "from a file, can be replayed"
        )
    if not source.exists():
        raise SourceError(f"the recording {source} of session {folder} is not there; say where it lies with --file")
    return source


def _unlike(recorded: CaptureConfig) -> str:
    found = []
    if recorded.record_color == "jpeg":
        found.append("the recording holds JPEG color (capture.record_color), not the pixels that were analysed")
    if recorded.record == "events":
        found.append("only events were recorded (--record events)")
    return "; ".join(found)


def _notes(summary: Mapping[str, Any], config: Config, left_out: Mapping[int, str]) -> list[str]:
    notes = []
    if left_out:
        notes.append(f"{len(left_out)} frames that the session did not analyse are left out of the replays too")
    now = load_model(config.engine.model)
    if now.sha256 != summary["model_sha256"]:
        notes.append(
            f"the session's model was {summary['model_sha256'][:12]}, {config.engine.model!r} is now "
            f"{now.sha256[:12]}: differences are to be expected"
        )
    return notes


def verify(what: Subject, speed: float = 8.0, *, tell: Tell = lambda _: None) -> list[Comparison]:
    """Replay in every way and compare.

    The reference is a replay by several processes as fast as possible. Against it: the session's own tables where there
    are some, a paced replay, one process, and another backend (within `ACROSS_BACKENDS`).

    Args:
        what: from `subject`.
        speed: of the paced replay.
        tell: called with what is about to run.

    Raises:
        ReplayError, SourceError, ModelError, SinkError: a replay itself failed.
    """
    config = what.replay.config
    found = []
    with tempfile.TemporaryDirectory(prefix="sfam_verify_") as scratch:
        folders = Path(scratch)

        def run(name: str, changed: Config) -> Path:
            tell(f"replaying {name}")
            run_replay(replace(what.replay, config=changed), folders / name.replace(" ", "_"))
            return folders / name.replace(" ", "_")

        reference = run("as fast as possible", config)
        rows = _rows(reference / SCORES)
        frames = len(rows)
        if what.session is not None:
            difference = compare(what.session, reference, begins_only=not what.finished)
            note = "; ".join(why for why in (what.unlike, _lacking(rows, what.replay)) if why)
            found.append(Comparison("the session's own tables", frames, difference, note=note))
        for name, changed in (
            (f"at {speed:g} times real time", replay_config(config, speed=speed)),
            ("in one process", replay_config(config, single_process=True)),
        ):
            found.append(Comparison(name, frames, compare(reference, run(name, changed))))
        backend = other_backend(config)
        if backend is None:
            found.append(Comparison("another backend", 0, skipped="no second backend is installed, such as torch"))
        else:
            engine = config.engine.model_copy(update={"backend": backend})
            ran = run(f"by {backend}", replay_config(config.model_copy(update={"engine": engine}), single_process=True))
            difference = compare(reference, ran, ACROSS_BACKENDS)
            found.append(Comparison(f"by {backend}, within tolerance", frames, difference))
    return found


def _lacking(rows: list[dict[str, str]], replay: Replay) -> str:
    """Says where a recording itself lost frames that its session analysed."""
    lost = [int(row["frame"]) for row in rows if row["cause"] == NOT_RECORDED]
    lost = [frame for frame in lost if frame not in replay.left_out]
    return f"the recording lacks {len(lost)} frames, the first is {lost[0]}" if lost else ""


def compare(
    first: Path, second: Path, tolerances: Mapping[str, float] | None = None, *, begins_only: bool = False
) -> Difference | None:
    """First difference between the score and event tables of two session folders."""
    for table in TABLES:
        difference = first_difference(first / table, second / table, tolerances, begins_only=begins_only)
        if difference is not None:
            return difference
    return None


def other_backend(config: Config) -> str | None:
    """A backend that is installed and is not the configured one."""
    used = AUTO if config.engine.backend == "auto" else config.engine.backend
    reports = check_all_backends(load_model(config.engine.model))
    return next((name for name, report in reports.items() if report["present"] and name != used), None)
