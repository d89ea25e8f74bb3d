"""What a session says of itself, and which of its messages may leave."""

from __future__ import annotations

from sfam.capture.frame import Intrinsics
from sfam.capture.source import SourceInfo
from sfam.engine.calibration_file import calibration_summary
from sfam.sinks.bus_address import is_private
from sfam.sinks.session_info import SessionInfo
from sfam.sinks.wire import Kind

from .config import Config
from .pipeline import Pipeline
from .session_plan import SessionPlan


def describe(plan: SessionPlan, info: SourceInfo, pipeline: Pipeline) -> SessionInfo:
    """All that stays the same during a session."""
    config = plan.config
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
            **info.details,
        },
        clock=plan.clock,
        privacy=config.sinks.privacy,
        blind=config.sinks.blind,
        calibration=None if pipeline.calibration is None else calibration_summary(pipeline.calibration),
    )


def payload_kinds(config: Config) -> tuple[Kind, ...]:
    """Pixels and flow leave by privacy tier; an overlay the operator asked for shows them on this machine only.

    In blind mode no flow leaves: enlarged motion is the result as a picture.
    """
    private = is_private(config.sinks.publish)
    kinds: tuple[Kind, ...] = ("flow",) if config.sinks.privacy == "flow" else ()
    if config.sinks.privacy == "full" or (config.sinks.overlay != "none" and private):
        kinds = ("frame", "flow")
    return tuple(kind for kind in kinds if kind != "flow" or not config.sinks.blind)


def _pinhole(camera: Intrinsics) -> dict[str, float]:
    """The color camera, for exports that need it."""
    return {"fx": camera.fx, "fy": camera.fy, "ppx": camera.ppx, "ppy": camera.ppy}
