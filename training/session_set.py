"""Our own session folders as a data set: recordings with intervals that people have corrected."""

from __future__ import annotations

from pathlib import Path

import yaml

from sfam.capture.recorded_parts import RECORDING, own_recording
from sfam.sinks.session_folder import CONFIG, SESSION
from sfam.sinks.session_reader import SessionRecord, read_session

from .corrections import read_corrections
from .dataset import Clip, DataSet, DataSetError, Finding, group_by_subject

NAME = "corrected sessions"
CORRECTIONS = ("corrections.csv", "corrections.eaf", "corrections.boris", "corrections.tsv", "*_review.csv")
"""The last is what report.html saves."""


def read_sessions(root: Path) -> DataSet:
    """Sessions below a folder whose corrections lie in them: `corrections.csv | .eaf | .boris | .tsv`, or the file
    that report.html saves.

    A session without corrections is left out and named: what a model spotted is no truth to train on. So is one with
    events of two faces at once: corrections do not say whose they are, and windows are of one face.

    The recording is `recording.mcap` in the folder with what a recorder that was started again wrote beside it, else
    the file that the session was made from, all of it (no `--from`).

    Raises:
        DataSetError: no session, or none that can be used.
    """
    folders = sorted(path.parent for path in root.rglob(SESSION))
    if not folders:
        raise DataSetError(f"{root}: no session folder below it; a session folder holds {SESSION}")
    clips: list[Clip] = []
    findings: list[Finding] = []
    for folder in folders:
        record = read_session(folder)
        given = [path for name in CORRECTIONS for path in sorted(folder.glob(name))]
        recording, faces = _recording(record), _faces_at_once(record)
        if len(given) != 1 or recording is None or len(faces) > 1:
            findings.append(Finding(folder.name, _why_not(given, recording, faces, record), False))
            continue
        if len({event.track_id for event in record.events}) > 1:
            findings.append(Finding(folder.name, "events of several faces, never two at once: taken for one", True))
        intervals, odd = read_corrections(given[0], record)
        findings += odd
        video, place = record.video or folder.name, folder.relative_to(root).as_posix()
        if any((one.subject, one.video) == (record.subject, video) for one in clips):
            findings.append(Finding(place, f"one more {video!r} of subject {record.subject!r}: called {place!r}", True))
            video = place
        clips.append(Clip(record.subject, video, recording, tuple(intervals)))
    if not clips:
        raise DataSetError(f"{root}: none of {len(folders)} sessions can be used; the first: {findings[0].what}")
    return DataSet(NAME, group_by_subject(clips), tuple(findings))


def _recording(record: SessionRecord) -> Path | None:
    inside, source = own_recording(record.path), Path(str(record.summary.get("source", "")))
    if inside is not None:
        return inside
    usable = source.is_absolute() and source.exists() and not _began_later(record.path)
    return source if usable else None


def _began_later(session: Path) -> bool:
    """Whether it was made from a later second of its file on: its frames are counted from there."""
    try:
        settings = yaml.safe_load((session / CONFIG).read_text(encoding="utf-8"))
        return bool(settings["capture"]["from_s"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return False  # written from the bus, say


def _faces_at_once(record: SessionRecord) -> list[str]:
    """The faces with events that were followed in one frame, of the frame with most."""
    with_events = {str(event.track_id) for event in record.events}
    together: dict[str, set[str]] = {}
    for row in record.scores:
        if row["success"] == "1" and row["face_id"] in with_events:
            together.setdefault(row["frame"], set()).add(row["face_id"])
    return max((sorted(faces) for faces in together.values()), key=len, default=[])


def _why_not(given: list[Path], recording: Path | None, faces: list[str], record: SessionRecord) -> str:
    if not given:
        return f"no corrections: put one of {', '.join(CORRECTIONS)} into the session folder"
    if len(given) > 1:
        return f"several corrections ({', '.join(path.name for path in given)}); keep one"
    if recording is None:
        source = record.summary.get("source")
        return f"no recording that its frames can be found in: no {RECORDING}, nor its source {source!r} from the start"
    return f"events of faces {', '.join(faces)} at once, and corrections do not say whose they are: record one face"
