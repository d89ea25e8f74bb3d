"""Settings of face tracking, flow and windows."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .face import FaceSettings


class StreamConfig(BaseModel):
    """How faces are followed and motion is measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    face_backend: Literal["dlib", "mediapipe", "manual"] = Field("dlib", description="who finds the face")
    face_model: str | None = Field(
        None, description="mediapipe backend: path of face_landmarker.task; null = fetched once and kept"
    )
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
    depth_noise_max_mm: float = Field(
        0.6,
        gt=0,
        description="w is zeroed and flagged noisy_depth while that of a resting face exceeds this (rms)",
    )
    """A micro-expression moves skin by 0.2-3 mm in depth, at its centre; averaged over the network's regions a typical
    one of 1 mm comes to 0.3-0.5 mm rms. Measured on a resting face at 0.6 m: 0.22-0.25 mm with white noise of 1 mm,
    0.44 mm with 2 mm, but 0.5, 0.7 and 0.85 mm where 1 mm of noise is correlated over 1, 1.5 and 2 depth pixels, as
    stereo matching leaves it: there w would tell the network of motion that is not there.
    """
    opencv_threads: int = Field(1, ge=1, description="threads of OpenCV, alike in every mode so that replays agree")

    @property
    def face(self) -> FaceSettings:
        """Those of the face detector."""
        return FaceSettings(self.face_backend, self.face_model, self.face_box, self.max_faces, self.opencv_threads)
