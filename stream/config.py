"""Settings of face tracking, flow and windows."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class StreamConfig(BaseModel):
    """How faces are followed and motion is measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    face_backend: Literal["dlib", "manual"] = Field("dlib", description="who finds the face")
    face_box: tuple[int, int, int, int] | None = Field(
        None, description="manual backend: x, y, width, height of the face in color pixels"
    )
    max_faces: int = Field(1, ge=1, le=8, description="faces followed at once")
    detect_delay_frames: int = Field(3, ge=0, le=30, description="a detection takes effect this many frames later")
    detect_every_s: float = Field(2.0, gt=0, description="while a face is tracked, check it this often")
    crop_dead_zone_px: int = Field(4, ge=0, description="the crop stays frozen while the face moves less than this")
    flow: Literal["iclk", "quality"] = Field("iclk", description="flow method")
    window_ms: float = Field(200.0, gt=0, le=1000, description="time between the two ends of a window")
    depth_mean_frames: Literal[1, 3, 5] = Field(1, description="depth frames averaged at both ends of a window")
    buffer_s: float = Field(4.5, gt=0, le=10, description="past frames kept for direct flow between them")
    head_motion: bool = Field(True, description="remove the rigid head motion from u, v and w")
    head_motion_flag_px: float = Field(
        8.0, gt=0, description="windows in which the head moves the face by more crop pixels than this are flagged"
    )
    opencv_threads: int = Field(1, ge=1, description="threads of OpenCV, alike in every mode so that replays agree")
