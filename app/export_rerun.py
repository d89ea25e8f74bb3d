"""`sfam export --format rerun`: a session in space, its recording run through the analysis once more for the flow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sfam.capture.align import align_depth
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.recorded_parts import own_recording
from sfam.capture.source import open_source
from sfam.sinks.rerun_view import RerunView, Target
from sfam.sinks.results_mcap import PICTURE_TIERS
from sfam.sinks.session_reader import SessionRecord
from sfam.sinks.session_rows import event_rows, score_rows, utc_shift_ns
from sfam.sinks.wire_fields import frame_payload

from .config import Config, load_config
from .pipeline import Pipeline


def recorded_frames(record: SessionRecord) -> Iterator[RGBDFrame]:
    """Frames of the session's own recording; none where there is no recording or its tier forbids pictures."""
    path = own_recording(record.path)
    if path is None or record.summary["privacy"] not in PICTURE_TIERS:
        return
    with open_source(CaptureConfig(camera=str(path))) as source:
        yield from source.frames()


def export_rerun(record: SessionRecord, out: Path, rate_hz: float = 10.0) -> list[Path]:
    """Write `<session>.rrd`: scores and events, and of a recorded session picture, depth, points and flow.

    Args:
        record: the session.
        out: folder to write to.
        rate_hz: pictures, depth and flow a second at most.

    Raises:
        SinkError: rerun is not installed, or the file exists.
        SourceError: the recording cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{record.path.resolve().name}.rrd"
    shift_ns = utc_shift_ns(record)
    view = RerunView(record.summary, Target(str(path)), live=shift_ns is not None, rate_hz=rate_hz)
    try:
        for t_ns, fields in score_rows(record):
            view.score(t_ns + (shift_ns or 0), fields)
        for t_ns, fields in event_rows(record):
            view.event(t_ns + (shift_ns or 0), fields, shift_ns or 0)
        _log_frames(record, view, shift_ns or 0)
    finally:
        view.close()
    return [path]


def _log_frames(record: SessionRecord, view: RerunView, shift_ns: int) -> None:
    """Pictures and space; the flow is that of the session, for the analysis of a recording always gives the same."""
    pipeline: Pipeline | None = None
    try:
        for frame in recorded_frames(record):
            pipeline = pipeline or Pipeline(_settings(record))
            flows = pipeline.process(frame).flows
            t_ns = frame.t_capture_ns + shift_ns
            if not view.due("frame", t_ns):
                continue
            camera = frame.calibration.color
            view.pinhole(camera)
            view.picture(frame.sequence, t_ns, frame_payload(frame.color), camera.width, camera.height)
            depth = frame.depth
            if not frame.calibration.depth_aligned:
                depth = align_depth(depth, frame.calibration, frame.depth_scale_m)
            view.depth(frame.sequence, t_ns, depth, frame.depth_scale_m)
            depth_m = depth.astype(np.float32) * np.float32(frame.depth_scale_m)
            for flow in flows:
                view.flow(t_ns, flow, camera, depth_m)
    finally:
        if pipeline is not None:
            pipeline.close()


def _settings(record: SessionRecord) -> Config:
    """The settings that the session ran with."""
    return load_config(record.path / "config.yaml", {}, (), {})
