"""Nouns to header fields and back; one pair of functions per kind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import ColorImage, RGBDFrame
from sfam.engine.events import Event, Moment, Score
from sfam.stream.analyzer import AnalyzerResult
from sfam.stream.face_track import FaceTrack
from sfam.stream.head_pose import HeadPose
from sfam.stream.scene_flow import CROP_PX, Crop, HeadMotion, NoiseFloor, SceneFlow

from .frame_result import FrameResult
from .incident import Incident
from .status import StageLatency, Status
from .wire import WireError, check_schema

Fields = dict[str, object]
Header = Mapping[str, Any]


def by_class(classes: Sequence[str], probabilities: Sequence[float]) -> dict[str, float]:
    """`{class: probability}` in the model's order; empty when there are none.

    Raises:
        WireError: when their numbers differ.
    """
    if not probabilities:
        return {}
    if len(classes) != len(probabilities):
        raise WireError(f"{len(probabilities)} probabilities for {len(classes)} classes {tuple(classes)}")
    return {name: round(float(value), 6) for name, value in zip(classes, probabilities, strict=True)}


def _known(value: float | None) -> float | None:
    return round(float(value), 6) if value is not None and math.isfinite(value) else None


def _noise_fields(noise: NoiseFloor) -> Fields:
    return {"u_px": _known(noise.u_px), "v_px": _known(noise.v_px), "w_mm": _known(noise.w_mm)}


def _motion_fields(motion: HeadMotion) -> Fields:
    return {
        "rotation_rad": _floats(motion.rotation_rad),
        "translation_mm": _floats(motion.translation_mm),
        "pivot_mm": _floats(motion.pivot_mm),
    }


def _pose_fields(pose: HeadPose) -> Fields:
    return {
        "translation_mm": [round(value, 1) for value in pose.translation_mm],
        "rotation_rad": [round(value, 4) for value in pose.rotation_rad],
    }


def _crop_fields(crop: Crop) -> Fields:
    return {"x": int(crop.x), "y": int(crop.y), "size": int(crop.size)}


def _moment_fields(moment: Moment) -> Fields:
    return asdict(moment)


def _floats(values: Sequence[float]) -> list[float | None]:
    return [_known(value) for value in values]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _motion(found: Header) -> HeadMotion:
    """The motion, about the camera where an older version did not say about what."""
    pivot = found.get("pivot_mm", HeadMotion().pivot_mm)
    return HeadMotion(tuple(found["rotation_rad"]), tuple(found["translation_mm"]), tuple(pivot))


def _noise(found: Header | None) -> NoiseFloor:
    return NoiseFloor(**{name: _number(value) for name, value in (found or {}).items()})


def score_fields(result: FrameResult, classes: Sequence[str]) -> Fields:
    """Header fields of a `score` message."""
    score = result.score
    return {
        "frame": result.frame,
        "face_id": result.face_id,
        "confidence": round(result.confidence, 6),
        "success": result.success,
        "cause": result.cause,
        "box": None if result.box is None else _floats(result.box),
        "spot": None if score is None else round(float(score.spot), 6),
        "emotion": {} if score is None else by_class(classes, score.emotion),
        "from_frame": None if score is None else score.from_frame,
        "t_from_ns": None if score is None else score.t_from_ns,
        "flags": [] if score is None else list(score.flags),
        "model_id": "" if score is None else score.model_id,
        "spread": None if score is None else _known(score.spread),
        "head_motion": None if result.head_motion is None else _motion_fields(result.head_motion),
        "noise": _noise_fields(result.noise),
        "residual_grey": _known(result.residual_grey),
        "depth_valid_share": _known(result.depth_valid_share),
        "missing_ns": result.missing_ns,
    }


def parse_score(header: Header) -> FrameResult:
    """The result behind a `score` header."""
    check_schema(header, "score")
    score = None
    if header["spot"] is not None:
        score = Score(
            frame=header["frame"],
            t_capture_ns=header["t_capture_ns"],
            spot=header["spot"],
            emotion=tuple(header["emotion"].values()),
            track_id=header["face_id"],
            from_frame=header["from_frame"],
            t_from_ns=header["t_from_ns"],
            flags=tuple(header["flags"]),
            model_id=header["model_id"],
            spread=header.get("spread"),
        )
    motion, box = header["head_motion"], header["box"]
    return FrameResult(
        frame=header["frame"],
        t_capture_ns=header["t_capture_ns"],
        t_device_ns=header["t_device_ns"],
        face_id=header["face_id"],
        confidence=header["confidence"],
        success=header["success"],
        cause=header["cause"],
        box=None if box is None else (box[0], box[1], box[2], box[3]),
        score=score,
        head_motion=None if motion is None else _motion(motion),
        noise=_noise(header["noise"]),
        residual_grey=_number(header["residual_grey"]),
        depth_valid_share=_number(header["depth_valid_share"]),
        missing_ns=header["missing_ns"],
    )


def event_fields(event: Event, classes: Sequence[str]) -> Fields:
    """Header fields of an `event` message and of a line of events.jsonl."""
    return {
        "id": event.id,
        "kind": event.kind,
        "state": event.state,
        "onset": _moment_fields(event.onset),
        "apex": _moment_fields(event.apex),
        "offset": _moment_fields(event.offset),
        "emotion": event.emotion,
        "probabilities": by_class(classes, event.probabilities),
        "score": round(float(event.score), 6),
        "decision_delay_ms": round(float(event.decision_delay_ms), 6),
        "track_id": event.track_id,
        "model_id": event.model_id,
        "flags": list(event.flags),
        "trial": event.trial,
        "condition": event.condition,
        "t_error_us": event.t_error_us,
        "spread": _known(event.spread),
        "false_alarms_per_hour": _known(event.false_alarms_per_hour),
        "false_alarms_per_hour_upper": _known(event.false_alarms_per_hour_upper),
    }


def event_from_fields(found: Header) -> Event:
    """An event from its fields, as they stand in a header or a line of events.jsonl."""
    return Event(
        id=found["id"],
        kind=found["kind"],
        state=found["state"],
        onset=Moment(**found["onset"]),
        apex=Moment(**found["apex"]),
        offset=Moment(**found["offset"]),
        emotion=found["emotion"],
        probabilities=tuple(found["probabilities"].values()),
        score=found["score"],
        decision_delay_ms=found["decision_delay_ms"],
        track_id=found["track_id"],
        model_id=found["model_id"],
        flags=tuple(found["flags"]),
        trial=found.get("trial", ""),
        condition=found.get("condition", ""),
        t_error_us=found.get("t_error_us"),
        spread=found.get("spread"),
        false_alarms_per_hour=found.get("false_alarms_per_hour"),
        false_alarms_per_hour_upper=found.get("false_alarms_per_hour_upper"),
    )


def parse_event(header: Header) -> Event:
    """The event behind an `event` header."""
    check_schema(header, "event")
    return event_from_fields(header)


def face_fields(face: FaceTrack, frame: int, pose: HeadPose | None = None) -> Fields:
    """Header fields of a `face` message."""
    return {
        "frame": frame,
        "face_id": face.track_id,
        "state": face.state,
        "box": [round(float(value), 2) for value in face.box],
        "landmarks_px": np.round(face.landmarks_px.astype(np.float64), 2).tolist(),
        "crop": _crop_fields(face.crop),
        "confidence": round(float(face.confidence), 6),
        "flags": list(face.flags),
        "head_pose": None if pose is None else _pose_fields(pose),
    }


def parse_face(header: Header) -> FaceTrack:
    """The face behind a `face` header."""
    check_schema(header, "face")
    box = header["box"]
    return FaceTrack(
        track_id=header["face_id"],
        state=header["state"],
        landmarks_px=np.array(header["landmarks_px"], dtype=np.float32).reshape(-1, 2),
        box=(box[0], box[1], box[2], box[3]),
        crop=Crop(**header["crop"]),
        confidence=header["confidence"],
        flags=tuple(header["flags"]),
    )


def flow_fields(flow: SceneFlow) -> Fields:
    """Header fields of a `flow` message."""
    return {
        "frame": flow.to_frame,
        "face_id": flow.track_id,
        "from_frame": flow.from_frame,
        "t_from_ns": flow.t_from_ns,
        "crop": _crop_fields(flow.crop),
        "head_motion": _motion_fields(flow.head_motion),
        "noise": _noise_fields(flow.noise),
        "residual_grey": _known(flow.residual_grey),
        "depth_valid_share": _known(flow.depth_valid_share),
        "encoding": "float16",
        "shape": [3, CROP_PX, CROP_PX],
        "channels": ["u_px", "v_px", "w_mm"],
    }


def flow_payload(flow: SceneFlow) -> bytes:
    """u, v (px of the crop) and w (mm) as (3, 128, 128) little-endian float16; w is NaN where not valid."""
    maps = np.stack([flow.u, flow.v, flow.w]).astype("<f2")
    maps[2, ~flow.valid] = np.nan
    return maps.tobytes()


def parse_flow(header: Header, payload: bytes) -> SceneFlow:
    """The scene flow behind a `flow` message, at float16 precision; w is 0 where not valid."""
    check_schema(header, "flow")
    maps = np.frombuffer(payload, dtype="<f2").reshape(header["shape"]).astype(np.float32)
    valid = np.isfinite(maps[2])
    maps[2, ~valid] = 0.0
    return SceneFlow(
        track_id=header["face_id"],
        from_frame=header["from_frame"],
        to_frame=header["frame"],
        t_from_ns=header["t_from_ns"],
        t_to_ns=header["t_capture_ns"],
        u=maps[0],
        v=maps[1],
        w=maps[2],
        valid=valid,
        crop=Crop(**header["crop"]),
        head_motion=_motion(header["head_motion"]),
        residual_grey=_number(header["residual_grey"]),
        depth_valid_share=_number(header["depth_valid_share"]),
        noise=_noise(header["noise"]),
    )


def frame_fields(frame: RGBDFrame) -> Fields:
    """Header fields of a `frame` message: the color image that was analysed."""
    height, width = frame.color.shape[:2]
    return {"frame": frame.sequence, "width": width, "height": height, "encoding": "jpeg"}


def frame_payload(color: ColorImage, quality: int = 85) -> bytes:
    """A color image, (H, W, 3) uint8 RGB, as JPEG."""
    written, jpeg = cv2.imencode(".jpg", color[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not written:
        raise WireError(f"image of shape {color.shape} cannot be written as JPEG")
    return jpeg.tobytes()


def parse_frame(header: Header, payload: bytes) -> NDArray[np.uint8]:
    """The color image behind a `frame` message, (H, W, 3) uint8 RGB."""
    check_schema(header, "frame")
    image = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise WireError(f"frame {header['frame']}: payload is no JPEG")
    return np.ascontiguousarray(image[:, :, ::-1]).astype(np.uint8, copy=False)


def analyzer_fields(result: AnalyzerResult) -> Fields:
    """Header fields of an `analyzer` message and of a line of analyzer_<name>.jsonl."""
    return {"frame": result.frame, "name": result.analyzer, "values": dict(result.values)}


def status_fields(status: Status) -> Fields:
    """Header fields of a `status` message."""
    return {**asdict(status), "incidents": [incident.fields() for incident in status.incidents]}


def parse_status(header: Header) -> Status:
    """The heartbeat behind a `status` header."""
    check_schema(header, "status")
    return Status(
        frame=header["frame"],
        fps=header["fps"],
        offered=header["offered"],
        analysed=header["analysed"],
        dropped=header["dropped"],
        lost_messages=header["lost_messages"],
        stages={name: StageLatency(**found) for name, found in header["stages"].items()},
        memory_mb=_number(header["memory_mb"]),
        noise=_noise(header["noise"]),
        device=header["device"],
        faces=header["faces"],
        incidents=tuple(Incident.from_fields(found) for found in header.get("incidents", ())),
        outages=header.get("outages", 0),
        hardware_resets=header.get("hardware_resets", 0),
    )
