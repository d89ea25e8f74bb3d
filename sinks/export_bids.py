"""Export as a small BIDS dataset: one events.tsv with its sidecar, under the `beh` modality."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sfam.engine.events import Event

from .session_info import NOT_A_LIE_DETECTOR
from .session_reader import SessionRecord

BIDS_VERSION = "1.8.0"
NOT_AVAILABLE = "n/a"
DESCRIPTION, ABOUT = "dataset_description.json", "README"
DATASET_FILES = (DESCRIPTION, ABOUT)
"""Belong to the dataset, whoever is in it."""
README = f"""Facial expressions spotted by sfam-live in recordings of an RGB-D camera.

{NOT_A_LIE_DETECTOR} The classes are what a model makes of small movements of the skin; they say nothing about what
a person feels or knows. Which model, what it was trained on and where it fails stands in the session's own
session.json, which this export does not replace.

Onsets are seconds since the first stored frame of a session; durations run from the first to the last frame of the
movement. Events that were withdrawn are not listed. Those in the state provisional had not been decided when the
recording ended."""
COLUMNS: dict[str, dict[str, object]] = {
    "onset": {"Description": "Begin of the movement, from the first stored frame", "Units": "s"},
    "duration": {"Description": "From the first to the last frame of the movement", "Units": "s"},
    "trial_type": {"LongName": "Emotion class", "Description": "Most probable class of the model"},
    "expression": {
        "Description": "Kind of expression, by its duration",
        "Levels": {"micro": "micro-expression", "macro": "ordinary expression"},
    },
    "apex": {"Description": "Strongest moment, from the first stored frame", "Units": "s"},
    "score": {"Description": "Peak spotting score of the model, 0 to 1"},
    "state": {
        "Description": "How far the event was decided",
        "Levels": {"confirmed": "decided", "provisional": "the recording ended before it was decided"},
    },
    "flags": {"Description": "What may make the event doubtful, joined by ;"},
    "onset_frame": {"Description": "Frame number of the onset, from 0"},
    "offset_frame": {"Description": "Frame number of the last frame, from 0"},
    "track": {"Description": "Number of the face"},
    "trial": {"Description": "Trial that ran at the onset, as the stimulus program's markers say"},
    "condition": {"Description": "Condition of that trial"},
}


def export_bids(record: SessionRecord, out: Path) -> list[Path]:
    """Write a dataset of one subject and one task, as the session names them.

    Args:
        record: the session.
        out: root of the dataset; made when missing. A second session adds to it.
    """
    subject, task = _label(record.subject, "anonymous"), _label(record.video, "session")
    stem = out / f"sub-{subject}" / "beh" / f"sub-{subject}_task-{task}_events"
    stem.parent.mkdir(parents=True, exist_ok=True)
    rows = ["\t".join(COLUMNS), *("\t".join(_row(record, event)) for event in record.events)]
    model = record.summary["model"]
    sidecar = {
        **COLUMNS,
        "trial_type": {**COLUMNS["trial_type"], "Levels": {name: f"class {name}" for name in record.classes}},
        "GeneratedBy": {"Name": "sfam-live", "Version": record.summary["versions"].get("sfam-live", NOT_AVAILABLE)},
        "Model": {"Description": str(model.get("name", NOT_AVAILABLE))},
        "ClockError": {
            "Description": "Largest error of a capture time in a sync test of this camera; n/a where none was made",
            "Units": "us",
            "Value": (record.summary["devices"].get("sync_test") or {}).get("t_error_us", NOT_AVAILABLE),
        },
        "Notice": {"Description": NOT_A_LIE_DETECTOR},
    }
    description = {
        "Name": f"Micro-expressions of {task}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "License": NOT_AVAILABLE,
    }
    return [
        _write(out / DESCRIPTION, json.dumps(description, indent=2)),
        _write(out / ABOUT, README),
        _write(stem.with_suffix(".tsv"), "\n".join(rows)),
        _write(stem.with_suffix(".json"), json.dumps(sidecar, indent=2)),
    ]


def _row(record: SessionRecord, event: Event) -> list[str]:
    onset_s, offset_s = record.seconds(event.onset.t_capture_ns), record.seconds(event.offset.t_capture_ns)
    return [
        f"{onset_s:.6f}",
        f"{offset_s - onset_s:.6f}",
        event.emotion or NOT_AVAILABLE,
        event.kind,
        f"{record.seconds(event.apex.t_capture_ns):.6f}",
        f"{event.score:.6f}",
        event.state,
        ";".join(event.flags) or NOT_AVAILABLE,
        str(event.onset.frame),
        str(event.offset.frame),
        str(event.track_id),
        _cell(event.trial),
        _cell(event.condition),
    ]


def _cell(text: str) -> str:
    """A text of somebody else's in one cell of a table."""
    return " ".join(text.split()) or NOT_AVAILABLE


def _label(text: str, otherwise: str) -> str:
    """BIDS labels hold letters and digits only."""
    return re.sub(r"[^A-Za-z0-9]", "", text) or otherwise


def _write(path: Path, text: str) -> Path:
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
    return path
