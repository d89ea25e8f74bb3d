"""Settings of everything that leaves."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SinksConfig(BaseModel):
    """Where results go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    publish: str = Field("tcp://127.0.0.1:5571", description="ZeroMQ address of the bus, or none")
    insecure: bool = Field(False, description="allow a bus address other than loopback without keys")
    keys: str | None = Field(
        None, description="key folder of the bus (sfam keys new): encrypts, lets only listed keys in"
    )
    high_water_mark: int = Field(
        1000, ge=1, description="messages kept per subscriber; beyond it they are lost and show"
    )
    out: str | None = Field(None, description="session folder; null = sessions/<date_time>")
    overlay: Literal["window", "web", "none"] = Field("none", description="what to show on this machine")
    privacy: Literal["results", "flow", "blurred", "full"] = Field(
        "results",
        description="what may be stored or leave: results; flow = motion too; blurred = pixelated pictures too; full",
    )
    clips: bool = Field(
        True, description="at tier flow and above: a clip of motion and scores of each event; at full of pictures too"
    )
    clip_memory_mb: int = Field(512, ge=16, description="tier full: MB of frames held until events are decided")
    retention_days: int | None = Field(
        None, ge=0, description="days after which the session is to be erased (sfam erase --expired); null = no limit"
    )
    consent: str = Field("", description="note on the participant's consent for session.json, such as a form's number")
    contact: str = Field("", description="whom participants can ask, for sfam notice and session.json")
    landmarks: bool = Field(False, description="store the 68 landmarks of every row, for the OpenFace export")
    jpeg_quality: int = Field(85, ge=30, le=100, description="quality of frame messages")
    blind: bool = Field(
        False, description="keep scores, labels and events off every screen and off the bus; files keep them"
    )
    web_address: str = Field(
        "127.0.0.1:5580",
        pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\[\]]+):\d{1,5}$",
        description="web overlay: host:port to serve on",
    )
    web_also: tuple[str, ...] = Field((), description="web overlay: bus addresses of further sessions, shown as tabs")
    metrics_port: int | None = Field(None, ge=0, le=65535, description="Prometheus metrics on this port; null = none")
    lsl: bool = Field(False, description="scores and events as Lab Streaming Layer streams")
    mcap: str | None = Field(None, description="MCAP file for Foxglove: scores, events, pictures by tier; null = none")
    rerun: str | None = Field(None, description="Rerun: a .rrd file, or viewer to open its viewer; null = none")
    rerun_rate_hz: float = Field(10.0, gt=0, description="Rerun: pictures and flow a second at most")
    rerun_memory: str = Field("1GiB", description="Rerun: memory of the viewer, beyond which the oldest goes")
    frame_rate_hz: float = Field(15.0, gt=0, description="frame and flow messages a second at most")
