"""A neutral baseline of the participant becomes a threshold with a known rate of false alarms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sfam.capture.pacing import limited
from sfam.capture.source import open_source
from sfam.engine.calibration import Baseline, Calibration
from sfam.engine.calibration_file import write_calibration
from sfam.engine.model import ModelError

from .config import Config
from .pipeline import Pipeline

TOLD_EVERY_S = 10.0


def run_calibration(
    config: Config, seconds: float, wanted_per_hour: float, out: Path, say: Callable[[str], None] = lambda text: None
) -> Calibration:
    """Watch a participant who keeps a neutral face, and write what follows for later sessions.

    Every threshold is decoded as the session would do it, return check included.

    Args:
        config: camera or recording, model and the rest as in the session to come.
        seconds: how much of it to watch, in capture time; a recording may be shorter.
        wanted_per_hour: false alarms per hour to keep to.
        out: the JSON file for `engine.calibration`.
        say: told how far it is, and of the source's warnings.

    Raises:
        SourceError: the source cannot be opened or breaks off.
        ModelError: as `Pipeline`; or no face was seen.
    """
    settings = config.model_copy(update={"engine": config.engine.model_copy(update={"calibration": None})})
    pipeline = Pipeline(settings)
    try:
        baseline = Baseline(pipeline.model.spotting_spec())
        with open_source(config.capture) as source:
            for warning in source.info.warnings:
                say(f"warning: {warning}")
            told_ns = first_ns = None
            for frame in limited(source.frames(), seconds):
                result = pipeline.process(frame)
                for score, window in zip(result.scores, result.windows, strict=True):
                    baseline.push(score, window)
                first_ns = frame.t_capture_ns if first_ns is None else first_ns
                if frame.t_capture_ns - (told_ns or first_ns) >= TOLD_EVERY_S * 1e9:
                    told_ns = frame.t_capture_ns
                    say(f"{(told_ns - first_ns) / 1e9:.0f} s watched, {baseline.hours * 3600:.0f} s with a face")
        try:
            found = baseline.result(wanted_per_hour)
        except ValueError as error:
            raise ModelError(f"nothing to calibrate with: {error}; is the face in view of the camera?") from error
    finally:
        pipeline.close()
    write_calibration(out, found, pipeline.model, config.capture.camera, config.app.subject)
    return found
