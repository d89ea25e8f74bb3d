"""Settings of capture."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class CaptureConfig(BaseModel):
    """Where frames come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    camera: str = Field(
        "demo",
        description="demo, realsense, kinect, orbbec or oak (:SERIAL picks one), webcam[:N], tcp://HOST:PORT of a "
        "camera host, or a recording",
    )
    from_s: float = Field(0.0, ge=0, description="recordings: skip this many seconds")
    to_s: float | None = Field(None, gt=0, description="recordings: stop at this second; null = to the end")
    demo_seed: int = Field(7, ge=0, description="demo camera: seed of motion and noise")
    color_stream: str | None = Field(None, description="recordings with several color streams: the one to use")
    depth_stream: str | None = Field(None, description="recordings with several depth streams: the one to use")
    color_only: bool = Field(
        False, description="take input without depth (ordinary video, webcam): w is zero and flagged no_depth"
    )
    depth_unit_m: float | None = Field(None, gt=0, description="metres per depth unit where a recording does not say")
    record: Literal["none", "all", "events"] = Field(
        "none", description="store recording.mcap in the session folder: everything, or clips around events"
    )
    record_color: Literal["lossless", "jpeg"] = Field("lossless", description="recordings written: color images")
    record_compression: Literal["zstd", "lz4"] = Field(
        "zstd", description="recordings written: zstd is smaller, lz4 takes less of a processor"
    )
    record_jpeg_quality: int = Field(95, ge=30, le=100, description="recordings written: quality of JPEG color")
    record_before_s: float = Field(1.0, ge=0, le=60, description="record events: seconds stored before an onset")
    record_after_s: float = Field(1.0, ge=0, le=60, description="record events: seconds stored after an offset")
    record_memory_mb: int = Field(512, ge=16, description="record events: MB of frames held until events are decided")
    serial_no: str | None = Field(None, description="cameras: serial number of the one to use; null = the only one")
    preset: str = Field("auto", description="cameras: face preset, auto = by model, none = leave the camera as it is")
    fps: int | None = Field(None, gt=0, description="cameras: frames a second; null = as the preset says, else 30")
    color_size: tuple[int, int] | None = Field(None, description="cameras: width, height in px; null = by preset")
    depth_size: tuple[int, int] | None = Field(None, description="cameras: width, height in px; null = by preset")
    freeze_exposure: bool = Field(
        False, description="cameras: fix exposure, gain and white balance at what they are after the warm-up"
    )
    warmup_frames: int = Field(
        30, ge=0, le=600, description="cameras: frames skipped at the start while exposure settles"
    )
    remote_key: str | None = Field(
        None, description="camera hosts with keys: this host's secret key file (sfam keys new)"
    )
    remote_server_key: str | None = Field(None, description="camera hosts with keys: their public file server.key")
    initial_reset: bool = Field(False, description="cameras: reset the device before the start")
    wait_for_device_timeout: float = Field(
        0.0, description="cameras: wait this many seconds for an absent one; below 0 = for ever"
    )
    stall_timeout: float = Field(
        2.0, ge=0.2, description="cameras: one that gives no pair for this many seconds counts as lost"
    )
    reconnect_timeout: float = Field(
        6.0, gt=0, description="cameras: longest pause in seconds between attempts to get a lost one back"
    )
    give_up_timeout: float = Field(
        300.0, ge=0, description="cameras: a session ends when a lost one stays away for this many seconds"
    )
