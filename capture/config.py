"""Settings of capture."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CaptureConfig(BaseModel):
    """Where frames come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    camera: str = Field("demo", description="demo, realsense[:SERIAL], kinect, orbbec, or the path of a recording")
    from_s: float = Field(0.0, ge=0, description="recordings: skip this many seconds")
    to_s: float | None = Field(None, gt=0, description="recordings: stop at this second; null = to the end")
    demo_seed: int = Field(7, ge=0, description="demo camera: seed of motion and noise")
    color_stream: str | None = Field(None, description="recordings with several color streams: the one to use")
    depth_stream: str | None = Field(None, description="recordings with several depth streams: the one to use")
    depth_unit_m: float | None = Field(None, gt=0, description="metres per depth unit where a recording does not say")
