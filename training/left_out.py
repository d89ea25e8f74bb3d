"""What a data set holds beyond the clips that are scored: no figure knows of it, so the report says it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .casme3_annotation import read_annotation
from .clip_windows import ClipWindows
from .dataset import subject_key
from .feature_set import FINDINGS, SUMMARY


def left_out(data: Path, annotation: Path | None, clips: Sequence[ClipWindows]) -> str:
    """A sentence about annotated clips, rows and subjects that are missing; '' where none is.

    Args:
        data: feature folder, or the folder of the authors' processed files.
        annotation: folder of both tables; looked at beside processed files only.
        clips: what is scored.
    """
    if (data / SUMMARY).exists():
        said = _beside_features(data)
    else:
        said = _beside_processed(annotation, clips) if annotation is not None else []
    return f"Not in these figures: {'; '.join(said)}." if said else ""


def _beside_features(data: Path) -> list[str]:
    summary = json.loads((data / SUMMARY).read_text(encoding="utf-8"))
    failed, lost = summary["failed"], summary.get("subjects_without_clip", [])
    unusable, apex = summary.get("findings_not_used", 0), summary.get("without_apex", 0)
    expressions = summary.get("failed_expressions", "?")
    said = {
        f"{len(failed)} clips that could not be measured, with {expressions} annotated expressions ({SUMMARY} says "
        "why)": len(failed),
        f"subjects without any measured clip: {', '.join(lost)}": len(lost),
        f"{unusable} rows or clips of the data set that could not be used ({FINDINGS} names them)": unusable,
        f"in recognition alone {apex} annotated micro-expressions whose motion from onset to apex could not be "
        "measured": apex,
    }
    return [text for text, count in said.items() if count]


def _beside_processed(annotation: Path, clips: Sequence[ClipWindows]) -> list[str]:
    tables = read_annotation(annotation)
    held = {(subject_key(clip.subject), clip.video.lower()) for clip in clips if clip.length}
    missing = [rows for key, rows in tables.intervals.items() if key not in held]
    unusable = sum(not finding.kept for finding in tables.findings)
    said = {
        f"{len(missing)} annotated videos with {sum(map(len, missing))} expressions that the processed files do not "
        "hold": len(missing),
        f"{unusable} rows of the annotation tables that could not be used": unusable,
    }
    return [text for text, count in said.items() if count]
