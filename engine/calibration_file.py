"""A participant's calibration on disk: written by `sfam calibrate`, read by the session."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .calibration import Calibration, FalseAlarmRate
from .model import ModelArtifact, ModelError

FORMAT = "sfam.calibration/1"


class CalibrationError(ModelError):
    """A calibration is missing, damaged or of another model."""


def calibration_summary(calibration: Calibration) -> dict[str, Any]:
    """What a baseline says, as it stands in its file and in session.json."""
    rate = calibration.rate
    return {
        "threshold": calibration.threshold,
        "wanted_per_hour": calibration.wanted_per_hour,
        "holds": calibration.holds,
        "text": calibration.text,
        "baseline_s": round(rate.hours * 3600, 3),
        "alarms": rate.alarms,
        "confidence": rate.confidence,
        "per_hour": {"expected": rate.expected, "lower": rate.lower, "upper": rate.upper},
    }


def write_calibration(path: Path, calibration: Calibration, model: ModelArtifact, source: str, subject: str) -> None:
    """Write a calibration; it appears whole or not at all.

    Args:
        path: the JSON file.
        calibration: what the baseline gave.
        model: that judged the baseline; the file fits no other.
        source: camera or recording of the baseline.
        subject: whose baseline it is.
    """
    found = {
        "format": FORMAT,
        "subject": subject,
        "source": source,
        "model_id": model.model_id,
        "model_sha256": model.sha256,
        "decoding": model.decoding,
        **calibration_summary(calibration),
        "hours": calibration.rate.hours,
        "steps": [
            {"threshold": threshold, "alarm_scores": [round(score, 6) for score in scores]}
            for (threshold, _), scores in zip(calibration.steps, calibration.alarm_scores, strict=True)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8", newline="\n")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read_calibration(path: Path, model: ModelArtifact) -> Calibration:
    """Read what `write_calibration` wrote.

    Raises:
        CalibrationError: no such file, not a calibration, or one of another model.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']!r}; this version reads {FORMAT!r}")
        made_with = str(found["model_id"]), str(found["model_sha256"])
        steps = [(float(step["threshold"]), tuple(map(float, step["alarm_scores"]))) for step in found["steps"]]
        if not steps or sorted(steps) != steps:
            raise ValueError("its thresholds do not ascend")
        calibration = Calibration(
            threshold=float(found["threshold"]),
            rate=FalseAlarmRate(int(found["alarms"]), float(found["hours"]), float(found["confidence"])),
            wanted_per_hour=float(found["wanted_per_hour"]),
            steps=tuple((threshold, len(scores)) for threshold, scores in steps),
            alarm_scores=tuple(scores for _, scores in steps),
        )
    except FileNotFoundError:
        raise CalibrationError(f"no calibration {path}; make one with sfam calibrate --out {path}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CalibrationError(f"{path}: not a calibration this version understands: {error!r}") from error
    if made_with[1] != model.sha256:
        raise CalibrationError(
            f"{path} was made with model {made_with[0]}, but {model.model_id} is to judge: calibrate again with it"
        )
    return calibration
