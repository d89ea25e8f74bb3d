"""`sfam batch`: many recordings, a session folder each; what is finished is not done again."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sfam.capture.recording import FOLDERS, HEAD_BYTES, READERS, VIDEO
from sfam.capture.source import SourceError
from sfam.engine.model import load_model
from sfam.sinks.session_folder import SESSION
from sfam.sinks.session_reader import read_session

from .config import Config
from .exit_codes import OK, exit_code
from .replay import Replay, replay_config, run_replay
from .role import Role, RoleResult
from .role_link import RoleLink
from .supervisor import Supervisor

RECORD = "batch.json"
"""In each session folder, written last: without it the recording is done again."""
SUFFIXES = (".bag", ".db3", ".mcap", ".mkv")
"""Files that are tried even if their first bytes are damaged."""
INTERRUPTED = 130
PROGRESS_EVERY_S = 5.0
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One recording in the summary."""

    recording: str
    status: str
    """done, resumed (finished by an earlier run), failed or not_run."""
    session: str = ""
    frames: int = 0
    analysed: int = 0
    dropped: int = 0
    face_share: float = 0.0
    """Share of the analysed frames with a face."""
    capture_s: float = 0.0
    micro: int = 0
    macro: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One recording to run; picklable."""

    recording: Path
    name: str
    folder: Path
    config: Config
    settings_hash: str


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a batch came to."""

    rows: tuple[Row, ...]
    exit_code: int
    """0 where all is done; else the documented code of the first failure, 130 after Ctrl-C."""


def find_recordings(folder: Path, out: Path, *, videos: bool = False) -> list[Path]:
    """Recordings below a folder, files and folders, by name; what lies below `out` and hidden things are left out.

    What cannot be read (a link to nowhere, no rights) may be one, so that it is not passed over in silence.

    Args:
        folder: where to look.
        out: left out.
        videos: ordinary video counts as well: its color is taken alone.

    Raises:
        SourceError: there is none.
    """
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=lambda error: found.append(Path(error.filename))):
        here = Path(place)
        inside = {*folders, *files}
        if here.resolve() == out.resolve():
            folders.clear()
        elif any(inside.issuperset(marks) for marks, _ in FOLDERS):
            found.append(here)
            folders.clear()
        else:
            found.extend(here / name for name in files if _is_recording(here / name, videos))
            folders[:] = [name for name in folders if not name.startswith(".")]
    if not found:
        advice = "" if videos else "; ordinary video counts with --color-only"
        raise SourceError(f"no recording below {folder}; expected files such as {', '.join(SUFFIXES)}{advice}")
    return sorted(found)


def _is_recording(file: Path, videos: bool) -> bool:
    if file.name.startswith("."):
        return False
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return False  # to open a pipe would wait for ever
        if file.suffix.lower() in SUFFIXES:
            return True
        with file.open("rb") as stream:
            begin = stream.read(HEAD_BYTES)
    except OSError:
        return True  # its row in the summary says why
    return any(begin.startswith(magic) for magic in READERS) or (videos and VIDEO.match(begin) is not None)


def content_hash(recording: Path) -> str:
    """SHA-256 of a file; of a folder, over the names and contents of its files.

    Raises:
        SourceError: it cannot be read.
    """
    total = hashlib.sha256()
    try:
        inside = _files_in(recording) if recording.is_dir() else [recording]
        for path in inside:
            total.update(path.relative_to(recording).as_posix().encode())
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    total.update(block)
    except OSError as error:
        raise SourceError(f"{recording} cannot be read: {error}; mend it, or move it away") from error
    return total.hexdigest()


def _files_in(folder: Path) -> list[Path]:
    os.scandir(folder).close()  # rglob passes over what may not be listed
    return sorted(path for path in folder.rglob("*") if path.is_file())


def settings_hash(config: Config) -> str:
    """Hash of all that decides results except the recording: settings, model, version."""
    neutral = config.model_copy(update={"capture": config.capture.model_copy(update={"camera": ""})})
    parts = (neutral.sha256(), load_model(config.engine.model).sha256, version("sfam-live"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def plan(folder: Path, out: Path, config: Config) -> list[Task]:
    """A task for each recording below `folder`; sessions go to folders of the recordings' names below `out`.

    Raises:
        SourceError: no recording. ModelError: the model cannot be used.
    """
    sinks = config.sinks.model_copy(update={"out": None})
    config = replay_config(config.model_copy(update={"sinks": sinks}), single_process=True)
    hashed = settings_hash(config)
    tasks = []
    for recording in find_recordings(folder, out, videos=config.capture.color_only):
        name = recording.relative_to(folder).as_posix() if recording != folder else recording.resolve().name
        capture = config.capture.model_copy(update={"camera": str(recording)})
        chosen = config.model_copy(update={"capture": capture})
        tasks.append(Task(recording, name, out / _folder_name(name), chosen, hashed))
    return tasks


def _folder_name(name: str) -> str:
    """`a__b.bag` of `a/b.bag`; a recording that is itself called so gets some digits more, in every run the same."""
    flat = name.replace("/", "__")
    if flat.replace("__", "/") == name:
        return flat
    return f"{flat}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def finished_row(task: Task) -> Row | None:
    """The row of an earlier run with the same settings and the same recording; None where it has to be run."""
    try:
        record = json.loads((task.folder / RECORD).read_text(encoding="utf-8"))
        known = {field.name for field in fields(Row)}
        row = Row(**{key: value for key, value in record["row"].items() if key in known})
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no record, or one of another version: run it
    if record.get("settings_hash") != task.settings_hash or not (task.folder / SESSION).exists():
        return None
    with suppress(SourceError):  # gone meanwhile: run it, so that its row says so
        if record.get("content_hash") == content_hash(task.recording):
            return replace(row, status="resumed")
    return None


def batch_role(task: Task, link: RoleLink) -> Mapping[str, Any]:
    """Process of one recording: replays it and, at its proper end only, writes the record that it is done.

    Raises:
        SourceError, ModelError, SinkError: as the parts do.
    """
    hashed = content_hash(task.recording)
    (task.folder / RECORD).unlink(missing_ok=True)

    def show(status: Mapping[str, Any]) -> None:
        link.report("status", {"frame": status["frame"], "total": status["total"]})

    totals = run_replay(Replay(task.config), task.folder, force=True, stop=link.stopping, show_status=show)
    if link.stopping():
        return {}
    row = asdict(_row(task, totals))
    record = {"row": row, "content_hash": hashed, "settings_hash": task.settings_hash}
    beside = task.folder / f".{RECORD}.new"
    beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(beside, task.folder / RECORD)
    link.tell("done", row)
    return row


def _row(task: Task, totals: Mapping[str, Any]) -> Row:
    session = read_session(task.folder)
    with_face = {row["frame"] for row in session.scores if row["success"] == "1"}
    kinds = [event.kind for event in session.events]
    return Row(
        recording=task.name,
        status="done",
        session=task.folder.name,
        frames=totals["offered"],
        analysed=totals["analysed"],
        dropped=sum(totals["dropped"].values()),
        face_share=round(len(with_face) / totals["analysed"], 4) if totals["analysed"] else 0.0,
        capture_s=totals["capture_s"],
        micro=kinds.count("micro"),
        macro=kinds.count("macro"),
    )


def run_batch(tasks: Sequence[Task], workers: int, tell: Tell = lambda _: None) -> BatchResult:
    """Run all tasks that are not finished, each in a process of its own, `workers` at a time.

    A recording that fails, or whose process is killed, is a row with its error; the others go on. Ctrl-C and SIGTERM
    end all in order; the same call goes on from there.
    """
    resumed = {task.name: row for task in tasks if (row := finished_row(task)) is not None}
    if resumed:
        tell(f"{len(resumed)} of {len(tasks)} recordings were finished before")
    progress = _Progress(len(tasks), len(resumed), tell)
    supervisor = Supervisor(
        [Role(task.name, batch_role, task, essential=False) for task in tasks if task.name not in resumed],
        on_message=progress.hear,
        at_once=workers,
    )
    results = {result.role: result for result in supervisor.run()}
    rows = [resumed.get(task.name) or _ended(task.name, results.get(task.name)) for task in tasks]
    code = INTERRUPTED if supervisor.interrupted else _code(results.values())
    return BatchResult(tuple(rows), code)


def _ended(name: str, result: RoleResult | None) -> Row:
    if result is None or (result.ok and not result.value):
        return Row(name, "not_run", error="interrupted")
    return Row(**result.value) if result.ok else Row(name, "failed", error=result.message)


def _code(results: Any) -> int:
    failed = [result for result in results if not result.ok]
    return next((exit_code(list(result.error_names)) or 1 for result in failed), OK)


class _Progress:
    """Tells each finished recording, and every few seconds how far the running ones are."""

    def __init__(self, total: int, finished: int, tell: Tell) -> None:
        self._total, self._finished, self._tell = total, finished, tell
        self._running: dict[str, str] = {}
        self._told_s = time.monotonic()

    def hear(self, name: str, kind: str, message: Any) -> None:
        """A message of a task's process."""
        if kind == "done":
            self._finished += 1
            self._running.pop(name, None)
            found = f"{message['frames']} frames, {message['micro']} micro, {message['macro']} macro"
            self._tell(f"[{self._finished}/{self._total}] {name}: {found}")
        elif kind == "status":
            share = f"{100 * (message['frame'] + 1) // message['total']} %" if message["total"] else message["frame"]
            self._running[name] = f"{name} {share}"
            if time.monotonic() - self._told_s >= PROGRESS_EVERY_S:
                self._told_s = time.monotonic()
                self._tell("running: " + ", ".join(self._running.values()))
