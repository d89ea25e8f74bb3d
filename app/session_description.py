"""What a session says of itself, and which of its messages may leave."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from sfam.capture.frame import Intrinsics
from sfam.capture.source import SourceInfo
from sfam.engine.calibration_file import calibration_summary
from sfam.sinks.bus_address import is_private
from sfam.sinks.rerun_view import VIEWER
from sfam.sinks.session_info import SessionInfo
from sfam.sinks.wire import Kind

from .config import Config
from .event_times import is_live_session, sync_test
from .pipeline import Pipeline
from .session_plan import SessionPlan

KINDS_OF_TIER: dict[str, tuple[Kind, ...]] = {
    "results": (),
    "flow": ("flow",),
    "blurred": ("frame", "flow"),
    "full": ("frame", "flow"),
}
"""Messages with payload that each privacy tier lets out; frames of tier `blurred` are pixelated."""


def describe(plan: SessionPlan, info: SourceInfo, pipeline: Pipeline) -> SessionInfo:
    """All that stays the same during a session."""
    config = plan.config
    tested = sync_test(config, info)
    return SessionInfo(
        session=plan.session,
        camera=info.camera,
        classes=pipeline.model.classes,
        subject=config.app.subject,
        video=config.app.video or (info.camera if info.kind == "recording" else plan.session),
        source=config.capture.camera,
        threshold=pipeline.threshold,
        model=pipeline.model.description,
        model_sha256=pipeline.model.sha256,
        config_hash=config.sha256(),
        devices={
            "kind": info.kind,
            "fps": info.fps,
            "warnings": list(info.warnings),
            "color": _pinhole(info.calibration.color),
            "live": is_live_session(config, info),
            "sync_test": None if tested is None else asdict(tested),
            **info.details,
        },
        clock=plan.clock,
        privacy=config.sinks.privacy,
        retain_until=retain_until(config.sinks.retention_days, plan.clock.anchor_utc_ns),
        consent=config.sinks.consent,
        contact=config.sinks.contact,
        blind=config.sinks.blind,
        max_faces=config.stream.max_faces,
        calibration=None if pipeline.calibration is None else calibration_summary(pipeline.calibration),
    )


def payload_kinds(config: Config) -> tuple[Kind, ...]:
    """Pixels and flow leave by privacy tier. An overlay the operator asked for gets flow too, on this machine only; its
    pixels come from the ring and never leave by bus.

    In blind mode no flow leaves: enlarged motion is the result as a picture.
    """
    kinds: tuple[Kind, ...] = KINDS_OF_TIER[config.sinks.privacy]
    shown = config.sinks.overlay != "none" or config.sinks.rerun == VIEWER
    if shown and is_private(config.sinks.publish):
        kinds = tuple(sorted({*kinds, "flow"}))
    return tuple(kind for kind in kinds if kind != "flow" or not config.sinks.blind)


def retain_until(days: int | None, anchor_utc_ns: int) -> str | None:
    """The last day on which a session may be kept, as YYYY-MM-DD in UTC; None = no limit."""
    if days is None:
        return None
    return (datetime.fromtimestamp(anchor_utc_ns / 1e9, UTC).date() + timedelta(days=days)).isoformat()


def _pinhole(camera: Intrinsics) -> dict[str, float]:
    """The color camera, for exports that need it."""
    return {"fx": camera.fx, "fy": camera.fy, "ppx": camera.ppx, "ppy": camera.ppy}
